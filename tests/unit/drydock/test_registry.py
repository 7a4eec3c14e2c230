"""References, credentials, and the command lines of skopeo."""

import base64
import json

import pytest

from drydock.errors import InvalidArgumentError, RegistryError
from drydock.registry import Reference, auth_json, inspect_argv, pull_argv, push_argv, skopeo_argv, unreachable, words

DIGEST = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("text", "host", "pinned"),
    [
        ("node", "docker.io", "node:latest"),
        ("node:24-alpine", "docker.io", "node:24-alpine"),
        (f"node:24@{DIGEST}", "docker.io", f"node@{DIGEST}"),
        ("ghcr.io/org/app:v1", "ghcr.io", "ghcr.io/org/app:v1"),
        ("localhost:5000/app", "localhost:5000", "localhost:5000/app:latest"),
        ("org/app", "docker.io", "org/app:latest"),
    ],
)
def test_a_reference_has_a_host_and_what_skopeo_takes(text: str, host: str, pinned: str):
    reference = Reference.parse(text)
    assert (reference.host, reference.pinned) == (host, pinned)


@pytest.mark.parametrize("text", ["", "UPPER", "a b", "host/app:", "app@sha256:abc", "app:v1\n", "-x", "http://h/app"])
def test_a_malformed_reference_is_refused_by_name(text: str):
    with pytest.raises(InvalidArgumentError, match="malformed"):
        Reference.parse(text)


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("localhost:5000/a", True),
        ("127.0.0.1:5000/a", True),
        ("localhost/a", True),
        ("localhost.evil.example/a", False),
        ("example.com:5000/a", False),
        ("a", False),
    ],
)
def test_plain_http_is_for_loopback_only(text: str, plain: bool):  # noqa: FBT001
    reference = Reference.parse(text)
    assert reference.plain_http is plain
    for argv in (inspect_argv(reference, "f"), pull_argv(reference, "d", "f"), push_argv("d", reference, "f")):
        assert any("tls-verify=false" in argument for argument in argv) is plain


def test_bytes_are_pushed_and_pulled_unchanged():
    reference = Reference.parse("example.com/app:v1")
    assert push_argv("/d", reference, "/a") == [
        "copy", "--dest-authfile=/a", "--preserve-digests", "dir:/d", "docker://example.com/app:v1",
    ]  # fmt: skip
    assert "--preserve-digests" in pull_argv(reference, "/d", "/a")


def test_skopeo_runs_in_the_network_of_a_service_and_dies_with_the_engine():
    assert skopeo_argv(["x"], "/ns")[:5] == ["setpriv", "--pdeathsig", "KILL", "nsenter", "--net=/ns"]
    assert "nsenter" not in skopeo_argv(["x"])


def test_credentials_are_by_registry_host():
    auths = json.loads(auth_json([("ghcr.io/org/app:v1", "u", "p:w"), ("index.docker.io", "d", "e")]))["auths"]
    assert base64.b64decode(auths["ghcr.io"]["auth"]) == b"u:p:w"
    assert set(auths) == {"ghcr.io", "docker.io"}


def test_skopeos_words_are_taken_out_of_its_log_line():
    line = 'time="2026-01-01T00:00:00Z" level=fatal msg="reading manifest v1 in \\"h/a\\": unauthorized"'
    assert words(line) == 'reading manifest v1 in "h/a": unauthorized'
    assert words("panic: x") == "panic: x"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("pinging container registry h: Get: dial tcp: lookup h on 1.1.1.1:53: no such host", True),
        ("pinging container registry h: Get: dial tcp 1.1.1.1:443: connect: connection refused", True),
        ("reading manifest v1 in h/a: manifest unknown", False),
        ("pinging container registry h: received unexpected HTTP status: 500 Internal Server Error", False),
        ("reading manifest: unauthorized: authentication required", False),
    ],
)
def test_a_registry_that_refuses_is_not_one_that_cannot_be_reached(text: str, expected: bool):  # noqa: FBT001
    assert unreachable(RegistryError(text)) is expected
