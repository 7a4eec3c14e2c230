"""Cosign: its command lines, and what it says.

Everything is kept as Sigstore bundles that refer to the image's digest (OCI referrers; a tag in older registries).
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
UNSIGNED = 10

KEY = "/run/secrets/cosign.key"
PUBLIC_KEY = "/slipway/cosign.pub"
TOKEN = "/run/secrets/identity-token"  # noqa: S105 - where the engine mounts it, not what it is
SIGNING_CONFIG = "/slipway/signing-config.json"
TRUSTED_ROOT = "/slipway/trusted-root.json"
# With a key nothing is asked of Sigstore's public services, and nothing told to them.
NO_SERVICES = '{"mediaType":"application/vnd.dev.sigstore.signingconfig.v0.2+json","rekorTlogConfig":{},"tsaConfig":{}}'
NO_ROOTS = '{"mediaType":"application/vnd.dev.sigstore.trustedroot+json;version=0.1"}'

SIGNATURE = "https://sigstore.dev/cosign/sign/v1"
PROVENANCE = "https://slsa.dev/provenance/v1"
SBOMS = {"cyclonedx": "https://cyclonedx.org/bom", "spdx": "https://spdx.dev/Document"}
_TYPES = {"cyclonedx": "cyclonedx", "spdx": "spdxjson", "provenance": "slsaprovenance1"}


def sign_argv(reference: str, signer: Signer, *, http: bool) -> list[str]:
    """Sign a digest."""
    return ["cosign", "sign", *_signing(signer, http=http), reference]


def attest_argv(reference: str, signer: Signer, kind: str, predicate: str, *, http: bool) -> list[str]:
    """Sign a statement about a digest, and attach it.

    Args:
        reference: host/path@sha256:…
        signer: who signs.
        kind: cyclonedx, spdx or provenance.
        predicate: path of the file with what is stated.
        http: whether the registry speaks plain HTTP.
    """
    stated = ["--type", _TYPES[kind], "--predicate", predicate]
    return ["cosign", "attest", *_signing(signer, http=http), *stated, reference]


def verify_argv(reference: str, trust: VerificationPolicy, commit: str, *, http: bool) -> list[str]:
    """Verify everything that is attached to a digest."""
    return ["cosign", "verify", *_verifying(trust, commit, http=http), reference]


def provenance_argv(reference: str, trust: VerificationPolicy, commit: str, *, http: bool) -> list[str]:
    """Verify the provenance of a digest, and print it."""
    argv = ["cosign", "verify-attestation", *_verifying(trust, commit, http=http)]
    return [*argv, "--type", _TYPES["provenance"], reference]


def public_key_argv() -> list[str]:
    """Print the public key of the private one that signs."""
    return ["cosign", "public-key", "--key", KEY]


def key_pair_argv(prefix: str) -> list[str]:
    """Make a key pair: `prefix`.key and `prefix`.pub. The password is in COSIGN_PASSWORD."""
    return ["cosign", "generate-key-pair", "--output-key-prefix", prefix]


def parse_types(text: str) -> set[str]:
    """Return the types of all statements that were verified, as `verify` prints them.

    Cosign takes any statement of the right signer for a signature; its type tells them apart.

    Raises:
        StageFailedError: if the answer has another form.
    """
    try:
        return {str(found["critical"]["type"]) for found in json.loads(text)}
    except (ValueError, KeyError, TypeError) as error:
        raise StageFailedError(f"cosign's answer cannot be read: {error!r}", output=text[-2000:]) from error


def parse_predicates(text: str) -> list[dict[str, Any]]:
    """Return what the verified statements state, as `verify-attestation` prints them: a DSSE envelope a line.

    Raises:
        StageFailedError: if the answer has another form.
    """
    try:
        return list(_predicates(text))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StageFailedError(f"cosign's answer cannot be read: {error!r}", output=text[-2000:]) from error


def _predicates(text: str) -> Iterator[dict[str, Any]]:
    for line in text.splitlines():
        if line.strip():
            statement = json.loads(base64.b64decode(json.loads(line)["payload"], validate=True))
            predicate = statement["predicate"]
            yield mapping(predicate)


def _signing(signer: Signer, *, http: bool) -> Sequence[str]:
    argv = ["--yes", *_registry(http=http)]
    if signer.key or signer.signing_config:
        argv += ["--signing-config", SIGNING_CONFIG]
    if signer.key:
        return [*argv, "--trusted-root", TRUSTED_ROOT, "--key", KEY]
    if signer.identity_token:
        return [*argv, "--identity-token", TOKEN]
    return [*argv, "--oidc-provider", "github-actions"]


def _verifying(trust: VerificationPolicy, commit: str, *, http: bool) -> Sequence[str]:
    argv = list(_registry(http=http))
    if trust.public_key or trust.trusted_root:
        argv += ["--trusted-root", TRUSTED_ROOT]
    if trust.public_key:
        return [*argv, "--key", PUBLIC_KEY, "--insecure-ignore-tlog=true"]
    argv += [
        "--certificate-identity",
        trust.certificate_identity,
        "--certificate-oidc-certificate_oidc_issuer",
        trust.certificate_oidc_issuer,
    ]
    if trust.certificate_oidc_issuer == GITHUB_ISSUER:
        argv += ["--certificate-github-workflow-repository", github_repository(trust)]
        argv += ["--certificate-github-workflow-sha", commit]
        # Of a reusable workflow the identity does not tell which branch called it.
        argv += ["--certificate-github-workflow-ref", trust.ref] if trust.ref else []
    return argv


def _registry(*, http: bool) -> Sequence[str]:
    return ["--allow-http-registry"] if http else []
