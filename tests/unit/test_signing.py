"""Cosign's command lines, signer, policy and provenance: pure functions, without engine and cosign."""

import base64
import dataclasses
import json
from typing import Any

import pytest

from pipeline.core.errors import InvalidInputError, StageFailedError
from pipeline.signing import cosign, provenance
from pipeline.signing.policy import (
    GITHUB_ISSUER,
    Signer,
    VerificationPolicy,
    check_policy,
    check_signable,
    check_signer,
    check_signing,
)
from pipeline.signing.provenance import Origin

REFERENCE = f"ghcr.io/org/app@sha256:{'a' * 64}"
SHA = "b" * 40
REPOSITORY = "https://github.com/org/app"
WORKFLOW = f"{REPOSITORY}/.github/workflows/ship.yml@refs/heads/main"
KEY = "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQ==\n-----END PUBLIC KEY-----\n"
ORIGIN = Origin(REPOSITORY, SHA, "app", WORKFLOW)


def stub() -> Any:
    """Return a secret or file of which only the presence matters here."""
    return object()


def value(argv: list[str], flag: str) -> str:
    return argv[argv.index(flag) + 1]


def test_of_a_github_workflow_the_certificate_must_name_workflow_repository_branch_and_commit():
    argv = cosign.verify_argv(
        REFERENCE, VerificationPolicy(certificate_identity=WORKFLOW, repository=REPOSITORY), SHA, http=False
    )
    assert value(argv, "--certificate-identity") == WORKFLOW
    assert value(argv, "--certificate-oidc-issuer") == GITHUB_ISSUER
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
    policy = VerificationPolicy(
        certificate_identity="https://gitlab.com/org/app",
        certificate_oidc_issuer="https://gitlab.com",
        repository=REPOSITORY,
    )
    argv = cosign.provenance_argv(REFERENCE, policy, SHA, http=False)
    assert value(argv, "--certificate-oidc-issuer") == "https://gitlab.com"
    assert not [flag for flag in argv if "github" in flag]


def test_with_a_key_nothing_is_asked_of_public_services():
    argv = cosign.verify_argv(REFERENCE, VerificationPolicy(public_key=KEY, repository=REPOSITORY), SHA, http=True)
    assert value(argv, "--key") == cosign.PUBLIC_KEY_PATH
    assert value(argv, "--trusted-root") == cosign.TRUSTED_ROOT
    assert "--allow-http-registry" in argv
    assert not [flag for flag in argv if flag.startswith("--certificate")]


@pytest.mark.parametrize(
    ("signer", "flags"),
    [
        (Signer(key=stub()), ["--signing-config", "--trusted-root", "--key"]),
        (Signer(identity_token=stub()), ["--identity-token"]),
        (Signer(identity_token=stub(), signing_config=stub()), ["--signing-config", "--identity-token"]),
        (Signer(request_url="https://x", request_token=stub()), ["--oidc-provider"]),
    ],
)
def test_each_way_to_sign_has_its_own_flags(signer: Signer, flags: list[str]):
    argv = cosign.sign_argv(REFERENCE, signer, http=False)
    assert [flag for flag in argv if flag.startswith("--") and flag != "--yes"] == flags


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({}, "exactly one way to sign"),
        ({"key": stub(), "identity_token": stub()}, "exactly one way to sign"),
        ({"request_url": "https://x"}, "must be given together"),
        ({"request_token": stub()}, "must be given together"),
        ({"identity_token": stub(), "password": stub()}, "without --key"),
    ],
)
def test_half_a_signer_or_two_are_refused(fields: dict[str, Any], problem: str):
    with pytest.raises(InvalidInputError, match=problem):
        check_signer(Signer(**fields))


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"public_key": KEY, "certificate_identity": WORKFLOW}, "both a key and an identity"),
        ({"public_key": "ssh-ed25519 AAAA"}, "not in PEM"),
        ({"public_key": KEY.replace("MFkw", "****")}, "not in PEM"),
        ({"certificate_identity": "-x"}, "--certificate-identity"),
        ({"certificate_identity": "a\nb"}, "--certificate-identity"),
        ({"certificate_oidc_issuer": " x"}, "--certificate-oidc-issuer"),
        ({"ref": "main"}, "--ref"),
        ({"ref": "refs/heads/a b"}, "--ref"),
        ({"repository": "git@github.com:org/app"}, "--repository"),
        ({"repository": "https://me@github.com/org/app"}, "--repository"),
    ],
)
def test_a_malformed_policy_is_refused(fields: dict[str, Any], problem: str):
    with pytest.raises(InvalidInputError, match=problem):
        check_policy(VerificationPolicy(**fields))


def test_a_keyless_signer_needs_an_identity_and_every_signer_a_repository():
    with pytest.raises(InvalidInputError, match="needs the signer's identity"):
        check_signing(Signer(identity_token=stub()), VerificationPolicy(repository=REPOSITORY))
    with pytest.raises(InvalidInputError, match="needs the address of the repository"):
        check_signing(Signer(key=stub()), VerificationPolicy(public_key=KEY))
    check_signing(Signer(key=stub()), VerificationPolicy(repository=REPOSITORY))
    check_signing(Signer(identity_token=stub()), VerificationPolicy(certificate_identity=WORKFLOW, repository="x"))


@pytest.mark.parametrize(
    ("signer", "policy", "missing"),
    [
        (None, VerificationPolicy(public_key=KEY), "no signer is configured"),
        (Signer(key=stub()), VerificationPolicy(), "no verification policy is configured"),
        (None, VerificationPolicy(), "no verification policy is configured"),
    ],
)
def test_a_cluster_gets_an_unsigned_image_only_where_the_policy_allows_it(
    signer: Signer | None, policy: VerificationPolicy, missing: str
):
    with pytest.raises(InvalidInputError, match=missing) as caught:
        check_signable(signer, policy)
    assert "--allow-unsigned" in caught.value.hint
    check_signable(signer, dataclasses.replace(policy, allow_unsigned=True))
    check_signable(Signer(key=stub()), VerificationPolicy(public_key=KEY))


def test_new_provenance_has_every_field_that_is_verified():
    predicate = provenance.predicate(
        ORIGIN, bases=["node:24"], platforms=["linux/amd64"], run="1", at="2026-11-25T00:00:00Z"
    )
    assert provenance.differences(predicate, ORIGIN) == []


@pytest.mark.parametrize(
    ("other", "name"),
    [
        (Origin("https://github.com/org/other", SHA, "app", WORKFLOW), "repository"),
        (Origin(REPOSITORY, "c" * 40, "app", WORKFLOW), "commit"),
        (Origin(REPOSITORY, SHA, "admin", WORKFLOW), "service"),
        (Origin(REPOSITORY, SHA, "app", "https://github.com/org/app/.github/workflows/x.yml"), "builder"),
    ],
)
def test_provenance_of_anything_else_differs_by_name(other: Origin, name: str):
    predicate = provenance.predicate(other, bases=[], platforms=[], run="1", at="")
    [difference] = provenance.differences(predicate, ORIGIN)
    assert difference.startswith(f"{name}: ")


@pytest.mark.parametrize("predicate", [{}, {"buildDefinition": []}, {"buildDefinition": {"externalParameters": "x"}}])
def test_provenance_of_another_form_differs_in_everything(predicate: dict[str, object]):
    assert len(provenance.differences(predicate, ORIGIN)) == 5


def test_output_of_another_form_is_an_error_and_never_a_verification():
    for text in ("", "[{}]", '[{"critical": 1}]'):
        with pytest.raises(StageFailedError, match="cannot parse cosign's output"):
            cosign.parse_types(text)
    for text in ("x", "{}", '{"payload": "!"}', json.dumps({"payload": base64.b64encode(b"[]").decode()})):
        with pytest.raises(StageFailedError, match="cannot parse cosign's output"):
            cosign.parse_predicates(text)
