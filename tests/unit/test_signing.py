"""What cosign is asked for, and whose signature counts: no engine, no cosign."""

import base64
import json

import pytest

from pipeline.core.errors import InvalidInputError, StageFailedError
from pipeline.signing import cosign, provenance
from pipeline.signing.policy import GITHUB_ISSUER, Signer, VerificationPolicy, check_policy, check_signer
from pipeline.signing.provenance import Origin

REFERENCE = f"ghcr.io/org/app@sha256:{'a' * 64}"
SHA = "b" * 40
REPOSITORY = "https://github.com/org/app"
WORKFLOW = f"{REPOSITORY}/.github/workflows/ship.yml@refs/heads/main"
KEY = "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQ==\n-----END PUBLIC KEY-----\n"
ORIGIN = Origin(REPOSITORY, SHA, "app", WORKFLOW)


class Stub:
    """Stands for a secret or file, of which only the presence matters here."""


def value(argv: list[str], flag: str) -> str:
    return argv[argv.index(flag) + 1]


def test_of_a_github_workflow_the_certificate_must_name_workflow_repository_branch_and_commit():
    argv = cosign.verify_argv(
        REFERENCE, VerificationPolicy(certificate_identity=WORKFLOW, repository=REPOSITORY), SHA, http=False
    )
    assert value(argv, "--certificate-identity") == WORKFLOW
    assert value(argv, "--certificate-oidc-certificate_oidc_issuer") == GITHUB_ISSUER
    assert value(argv, "--certificate-github-workflow-repository") == "org/app"
    assert value(argv, "--certificate-github-workflow-ref") == "refs/heads/main"
    assert value(argv, "--certificate-github-workflow-sha") == SHA
    assert argv[-1] == REFERENCE
    assert not [flag for flag in argv if "insecure" in flag or ("http" in flag and flag.startswith("--"))]


def test_any_branch_counts_only_where_that_is_said():
    argv = cosign.verify_argv(
        REFERENCE, VerificationPolicy(certificate_identity=WORKFLOW, repository=REPOSITORY, ref=""), SHA, http=False
    )
    assert "--certificate-github-workflow-ref" not in argv
    assert "--certificate-github-workflow-sha" in argv


def test_of_another_issuer_only_the_identity_is_asked_for():
    trust = VerificationPolicy(
        certificate_identity="https://gitlab.com/org/app",
        certificate_oidc_issuer="https://gitlab.com",
        repository=REPOSITORY,
    )
    argv = cosign.provenance_argv(REFERENCE, trust, SHA, http=False)
    assert value(argv, "--certificate-oidc-certificate_oidc_issuer") == "https://gitlab.com"
    assert not [flag for flag in argv if "github" in flag]


def test_with_a_key_nothing_is_asked_of_public_services():
    argv = cosign.verify_argv(REFERENCE, VerificationPolicy(public_key=KEY, repository=REPOSITORY), SHA, http=True)
    assert value(argv, "--key") == cosign.PUBLIC_KEY
    assert value(argv, "--trusted-root") == cosign.TRUSTED_ROOT
    assert "--allow-http-registry" in argv
    assert not [flag for flag in argv if flag.startswith("--certificate")]


@pytest.mark.parametrize(
    ("signer", "flags"),
    [
        (Signer(key=Stub()), ["--signing-config", "--trusted-root", "--key"]),
        (Signer(identity_token=Stub()), ["--identity-token"]),
        (Signer(identity_token=Stub(), signing_config=Stub()), ["--signing-config", "--identity-token"]),
        (Signer(request_url="https://x", request_token=Stub()), ["--oidc-provider"]),
    ],
)
def test_each_way_to_sign_has_its_own_flags(signer: Signer, flags: list[str]):
    argv = cosign.sign_argv(REFERENCE, signer, http=False)
    assert [flag for flag in argv if flag.startswith("--") and flag != "--yes"] == flags


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "one way to sign"),
        ({"key": Stub(), "identity_token": Stub()}, "one way to sign"),
        ({"request_url": "https://x"}, "come gather"),
        ({"request_token": Stub()}, "come gather"),
        ({"identity_token": Stub(), "password": Stub()}, "is of a --key"),
    ],
)
def test_half_a_signer_or_two_are_refused(given: dict[str, object], words: str):
    with pytest.raises(InvalidInputError, match=words):
        check_signer(Signer(**given))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"public_key": KEY, "certificate_identity": WORKFLOW}, "both a key and an identity"),
        ({"public_key": "ssh-ed25519 AAAA"}, "public key"),
        ({"public_key": KEY.replace("MFkw", "****")}, "public key"),
        ({"certificate_identity": "-x"}, "--signed-by"),
        ({"certificate_identity": "a\nb"}, "--signed-by"),
        ({"certificate_oidc_issuer": " x"}, "--certificate_oidc_issuer"),
        ({"ref": "main"}, "--ref"),
        ({"ref": "refs/heads/a b"}, "--ref"),
        ({"repository": "git@github.com:org/app"}, "--repository"),
        ({"repository": "https://me@github.com/org/app"}, "--repository"),
    ],
)
def test_malformed_trust_is_refused(given: dict[str, str], words: str):
    with pytest.raises(InvalidInputError, match=words):
        check_policy(VerificationPolicy(**given))


def test_provenance_says_all_that_is_asked_of_it():
    told = provenance.predicate(
        ORIGIN, bases=["node:24"], platforms=["linux/amd64"], run="1", at="2026-11-25T00:00:00Z"
    )
    assert provenance.differences(told, ORIGIN) == []


@pytest.mark.parametrize(
    ("other", "name"),
    [
        (Origin("https://github.com/org/other", SHA, "app", WORKFLOW), "repository"),
        (Origin(REPOSITORY, "c" * 40, "app", WORKFLOW), "commit"),
        (Origin(REPOSITORY, SHA, "admin", WORKFLOW), "service"),
        (Origin(REPOSITORY, SHA, "app", "https://github.com/org/app/.github/workflows/x.yml"), "built by"),
    ],
)
def test_provenance_of_anything_else_differs_by_name(other: Origin, name: str):
    told = provenance.predicate(other, bases=[], platforms=[], run="1", at="")
    [difference] = provenance.differences(told, ORIGIN)
    assert difference.startswith(f"{name}: ")


@pytest.mark.parametrize("told", [{}, {"buildDefinition": []}, {"buildDefinition": {"externalParameters": "x"}}])
def test_provenance_of_another_form_differs_in_everything(told: dict[str, object]):
    assert len(provenance.differences(told, ORIGIN)) == 5


def test_answers_of_another_form_are_no_verdict():
    for text in ("", "[{}]", '[{"critical": 1}]'):
        with pytest.raises(StageFailedError, match="cosign's answer cannot be read"):
            cosign.parse_types(text)
    for text in ("x", "{}", '{"payload": "!"}', json.dumps({"payload": base64.b64encode(b"[]").decode()})):
        with pytest.raises(StageFailedError, match="cosign's answer cannot be read"):
            cosign.parse_predicates(text)
