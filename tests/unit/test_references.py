import pytest

from pipeline.core.errors import InvalidInputError
from pipeline.oci.references import DigestReference, Repository, check_tag

DIGEST = "sha256:" + "a" * 64


@pytest.mark.parametrize("address", ["ghcr.io/org/app", "localhost:5000/app", "registry.example.com:8443/a/b-c/d_e.f"])
def test_a_repository_address_is_kept_as_it_is(address: str):
    assert str(Repository.parse(address)) == address


@pytest.mark.parametrize(
    "address",
    [
        "",
        "app",
        "org/app",
        "ghcr.io",
        "ghcr.io/",
        "ghcr.io/Org/app",
        "ghcr.io/org/app:1",
        f"ghcr.io/org/app@{DIGEST}",
        "https://ghcr.io/org/app",
        "ghcr.io/org/app\n",
        "ghcr.io/org/../app",
        "user:pw@ghcr.io/org/app",
        "ghcr.io/org/app; rm -rf /",
        "-ghcr.io/app",
    ],
)
def test_any_other_address_is_refused_by_an_error_that_quotes_it(address: str):
    with pytest.raises(InvalidInputError) as caught:
        Repository.parse(address)
    assert repr(address) in caught.value.problem
    assert "ghcr.io/org/app" in caught.value.hint


def test_only_loopback_is_reached_without_tls():
    assert Repository.parse("localhost:5000/app").scheme == "http"
    assert Repository.parse("127.0.0.1:5000/app").scheme == "http"
    assert Repository.parse("localhost.example.com/app").scheme == "https"
    assert Repository.parse("ghcr.io/app").scheme == "https"


def test_a_tag_beside_a_digest_is_dropped():
    assert str(DigestReference.parse(f"ghcr.io/org/app:v1@{DIGEST}")) == f"ghcr.io/org/app@{DIGEST}"


@pytest.mark.parametrize(
    "reference",
    [
        "ghcr.io/org/app:v1",
        "ghcr.io/org/app",
        "ghcr.io/org/app@sha256:" + "A" * 64,
        "ghcr.io/org/app@sha256:" + "a" * 63,
        f"ghcr.io/org/app@{DIGEST}\n",
        f"org/app@{DIGEST}",
    ],
)
def test_a_reference_that_is_not_a_digest_is_refused(reference: str):
    with pytest.raises(InvalidInputError) as caught:
        DigestReference.parse(reference)
    assert repr(reference) in str(caught.value)


@pytest.mark.parametrize("tag", ["v1", "0123456789ab", "0123456789ab-dirty", "_x", "a" * 128])
def test_a_valid_tag_is_kept(tag: str):
    assert check_tag(tag) == tag


@pytest.mark.parametrize("tag", ["", "-x", "a b", "a" * 129, "v1\n", "feature/x", "ü"])
def test_an_invalid_tag_is_refused(tag: str):
    with pytest.raises(InvalidInputError):
        check_tag(tag)
