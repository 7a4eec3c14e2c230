"""Cosign's command lines, and parsers of its output.

Cosign stores Sigstore bundles that refer to the image's digest: OCI referrers, or a tag in older registries.
Source: docs.sigstore.dev, `sign`, `attest`, `verify` and `verify-attestation` of cosign, 3.1.
"""

import base64
import json
from collections.abc import Iterator, Sequence
from typing import Any

from pipeline.core.documents import mapping
from pipeline.core.errors import StageFailedError
from pipeline.signing.policy import GITHUB_ISSUER, Signer, VerificationPolicy, github_repository

# Exit code of a verification that finds no signature at all, as opposed to one that does not match.
NO_SIGNATURE = 10

KEY = "/run/secrets/cosign.key"
PUBLIC_KEY_PATH = "/slipway/cosign.pub"
TOKEN = "/run/secrets/identity-token"  # noqa: S105 - where the engine mounts it, not what it is
SIGNING_CONFIG = "/slipway/signing-config.json"
TRUSTED_ROOT = "/slipway/trusted-root.json"
# With a key, cosign neither queries Sigstore's public services nor publishes to them.
NO_SERVICES = '{"mediaType":"application/vnd.dev.sigstore.signingconfig.v0.2+json","rekorTlogConfig":{},"tsaConfig":{}}'
NO_ROOTS = '{"mediaType":"application/vnd.dev.sigstore.trustedroot+json;version=0.1"}'

SIGNATURE = "https://sigstore.dev/cosign/sign/v1"
PROVENANCE = "https://slsa.dev/provenance/v1"
SBOMS = {"cyclonedx": "https://cyclonedx.org/bom", "spdx": "https://spdx.dev/Document"}
# What reading JSON of another form raises.
_MALFORMED = (ValueError, LookupError, TypeError, AttributeError, RecursionError)
_TYPES = {"cyclonedx": "cyclonedx", "spdx": "spdxjson", "provenance": "slsaprovenance1"}


def sign_argv(reference: str, signer: Signer, *, http: bool) -> list[str]:
    """Sign a digest."""
    return ["cosign", "sign", *_signing(signer, http=http), reference]


def attest_argv(reference: str, signer: Signer, kind: str, predicate: str, *, http: bool) -> list[str]:
    """Sign an attestation of a digest, and attach it.

    Args:
        reference: host/path@sha256:…
        signer: the signer.
        kind: cyclonedx, spdx or provenance.
        predicate: path of the file with the predicate.
        http: whether the registry speaks plain HTTP.
    """
    attestation = ["--type", _TYPES[kind], "--predicate", predicate]
    return ["cosign", "attest", *_signing(signer, http=http), *attestation, reference]


def verify_argv(reference: str, policy: VerificationPolicy, commit: str, *, http: bool) -> list[str]:
    """Verify all signatures and attestations of a digest, and print their statements."""
    return ["cosign", "verify", *_verifying(policy, commit, http=http), reference]


def provenance_argv(reference: str, policy: VerificationPolicy, commit: str, *, http: bool) -> list[str]:
    """Verify the provenance of a digest, and print its envelopes."""
    argv = ["cosign", "verify-attestation", *_verifying(policy, commit, http=http)]
    return [*argv, "--type", _TYPES["provenance"], reference]


def public_key_argv() -> list[str]:
    """Print the public key of the signing key."""
    return ["cosign", "public-key", "--key", KEY]


def key_pair_argv(prefix: str) -> list[str]:
    """Generate a key pair, `prefix`.key and `prefix`.pub; the password is in COSIGN_PASSWORD."""
    return ["cosign", "generate-key-pair", "--output-key-prefix", prefix]


def parse_types(text: str) -> set[str]:
    """Return the predicate types of all verified statements, from the output of `verify`.

    Cosign accepts any statement of the required signer as a signature; only its type tells what it states.

    Raises:
        StageFailedError: if the output has another form.
    """
    try:
        return {str(statement["critical"]["type"]) for statement in json.loads(text)}
    except _MALFORMED as error:
        raise StageFailedError(f"cannot parse cosign's output: {error!r}", output=text[-2000:]) from error


def parse_predicates(text: str) -> list[dict[str, Any]]:
    """Return the predicates of the verified statements, from the output of `verify-attestation`.

    That output is a DSSE envelope per line.

    Raises:
        StageFailedError: if the output has another form.
    """
    try:
        return list(_predicates(text))
    except _MALFORMED as error:
        raise StageFailedError(f"cannot parse cosign's output: {error!r}", output=text[-2000:]) from error


def _predicates(text: str) -> Iterator[dict[str, Any]]:
    for line in text.splitlines():
        if line.strip():
            statement = json.loads(base64.b64decode(json.loads(line)["payload"], validate=True))
            yield mapping(statement["predicate"])


def _signing(signer: Signer, *, http: bool) -> Sequence[str]:
    argv = ["--yes", *_registry(http=http)]
    if signer.key or signer.signing_config:
        argv += ["--signing-config", SIGNING_CONFIG]
    if signer.key:
        return [*argv, "--trusted-root", TRUSTED_ROOT, "--key", KEY]
    if signer.identity_token:
        return [*argv, "--identity-token", TOKEN]
    return [*argv, "--oidc-provider", "github-actions"]


def _verifying(policy: VerificationPolicy, commit: str, *, http: bool) -> Sequence[str]:
    argv = list(_registry(http=http))
    if policy.public_key or policy.trusted_root:
        argv += ["--trusted-root", TRUSTED_ROOT]
    if policy.public_key:
        return [*argv, "--key", PUBLIC_KEY_PATH, "--insecure-ignore-tlog=true"]
    argv += [
        "--certificate-identity",
        policy.certificate_identity,
        "--certificate-oidc-issuer",
        policy.certificate_oidc_issuer,
    ]
    if policy.certificate_oidc_issuer == GITHUB_ISSUER:
        argv += ["--certificate-github-workflow-repository", github_repository(policy)]
        argv += ["--certificate-github-workflow-sha", commit]
        # The identity of a reusable workflow does not include the branch of its caller.
        argv += ["--certificate-github-workflow-ref", policy.ref] if policy.ref else []
    return argv


def _registry(*, http: bool) -> Sequence[str]:
    return ["--allow-http-registry"] if http else []
