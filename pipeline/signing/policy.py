"""The signer of releases, and the policy by which a release is verified before it is deployed."""

import enum
import re
from typing import Annotated
from urllib.parse import urlsplit

import dagger
from dagger import Doc, enum_type

from pipeline.core.errors import InvalidInputError
from pipeline.core.sdk import field, object_type
from pipeline.signing.keys import key_uri

GITHUB_ISSUER = "https://token.actions.githubusercontent.com"
MAIN = "refs/heads/main"
_REF = re.compile(r"refs/[^\s~^:?*\[\\]+")
_ADDRESS = re.compile(r"https?://[^\s/@?#]+(?:/[^\s@?#]*)?")
_KEY_ID_DIGITS = 16


@enum_type
class SbomFormat(enum.Enum):
    """Format of the SBOM that is attached to the image."""

    CYCLONEDX = "cyclonedx"
    """CycloneDX, as JSON."""

    SPDX = "spdx"
    """SPDX 2.3, as JSON."""


@object_type
class Signer:
    """What signs a release: a key pair, or an OIDC identity to which Sigstore issues a certificate (keyless)."""

    key: Annotated[dagger.Secret | None, Doc("Private key, in cosign's format.")] = field(default=None)
    password: Annotated[dagger.Secret | None, Doc("Password of the key.")] = field(default=None)
    identity_token: Annotated[dagger.Secret | None, Doc("OIDC token for the audience `sigstore`.")] = field(
        default=None
    )
    request_url: Annotated[str, Doc("URL from which a GitHub job requests its OIDC token.")] = field(default="")
    request_token: Annotated[dagger.Secret | None, Doc("Bearer token for that URL.")] = field(default=None)
    signing_config: Annotated[dagger.File | None, Doc("Signing configuration of a private Sigstore.")] = field(
        default=None
    )
    sbom: Annotated[SbomFormat, Doc("Format of the SBOM.")] = field(default=SbomFormat.CYCLONEDX)

    @property
    def keyless(self) -> bool:
        """Whether an identity signs, not a key."""
        return self.key is None


@object_type
class VerificationPolicy:
    """Which signature and provenance a release needs before it is deployed."""

    public_key: Annotated[str, Doc("Public key in PEM, or empty.")] = field(default="")
    certificate_identity: Annotated[str, Doc("Identity in the signer's certificate, or empty.")] = field(default="")
    certificate_oidc_issuer: Annotated[str, Doc("OIDC issuer of that identity.")] = field(default=GITHUB_ISSUER)
    trusted_root: Annotated[dagger.File | None, Doc("Trusted root of a private Sigstore.")] = field(default=None)
    ref: Annotated[str, Doc("Git ref for which GitHub must have run the workflow; any if empty.")] = field(default=MAIN)
    repository: Annotated[str, Doc("Address of the repository from which releases are built.")] = field(default="")
    path: Annotated[str, Doc("The service's folder in it.")] = field(default="")
    allow_unsigned: Annotated[
        bool, Doc("Allow deploying an unsigned image. Logged as a warning and recorded in the history.")
    ] = field(default=False)

    @property
    def configured(self) -> bool:
        """Whether the policy names a key or an identity."""
        return bool(self.public_key or self.certificate_identity)

    @property
    def builder(self) -> str:
        """The builder id that provenance must have: the identity, or the URN of the key."""
        return self.certificate_identity or key_uri(self.public_key)

    @property
    def signer_name(self) -> str:
        """The required signer, for messages: the identity, or the first digits of the key's SHA-256."""
        if self.certificate_identity:
            return self.certificate_identity
        return f"the key {key_uri(self.public_key).rpartition(':')[2][:_KEY_ID_DIGITS]}"


def check_signer(signer: Signer) -> Signer:
    """Return a signer that has exactly one complete way to sign.

    Raises:
        InvalidInputError: if it has none, several, or half of one.
    """
    if bool(signer.request_url) != (signer.request_token is not None):
        raise InvalidInputError(
            "with-signer: --request-url and --request-token must be given together", hint="give both"
        )
    ways = [signer.key, signer.identity_token, signer.request_token]
    if sum(way is not None for way in ways) != 1:
        raise InvalidInputError(
            "with-signer: exactly one way to sign is required",
            hint="--key with --password, or --identity-token, or --request-url with --request-token",
        )
    if signer.password and not signer.key:
        raise InvalidInputError("with-signer: --password is given without --key", hint="leave it out")
    return signer


def check_policy(policy: VerificationPolicy) -> VerificationPolicy:
    """Return a policy that names a key or an identity, or neither, each well-formed.

    Raises:
        InvalidInputError: if it names both, or a field is malformed.
    """
    if policy.public_key and policy.certificate_identity:
        raise InvalidInputError("with-verification: both a key and an identity are given", hint="leave one out")
    if policy.public_key:
        key_uri(policy.public_key)
    for option, value in (
        ("certificate-identity", policy.certificate_identity),
        ("certificate-oidc-issuer", policy.certificate_oidc_issuer),
    ):
        if value and not (value.isprintable() and value == value.strip() and not value.startswith("-")):
            raise InvalidInputError(
                f"with-verification: --{option} {value!r} is malformed",
                hint="give one line of printable text, without space around it or a dash before it",
            )
    if policy.ref and not _REF.fullmatch(policy.ref):
        raise InvalidInputError(f"with-verification: --ref {policy.ref!r} is not a Git ref", hint=f"such as {MAIN}")
    if policy.repository and not _ADDRESS.fullmatch(policy.repository):
        raise InvalidInputError(
            f"with-verification: --repository {policy.repository!r} is not an http address without credentials",
            hint="such as https://github.com/org/app",
        )
    return policy


def check_signing(signer: Signer, policy: VerificationPolicy) -> None:
    """Check that the provenance of a new release can name its builder and repository.

    Raises:
        InvalidInputError: if the policy lacks either.
    """
    if signer.keyless and not policy.certificate_identity:
        raise InvalidInputError(
            "cannot sign: a keyless signature needs the signer's identity, and none is given",
            hint="`with-verification --certificate-identity …`, such as "
            "https://github.com/org/app/.github/workflows/ship.yml@refs/heads/main",
        )
    if not policy.repository:
        raise InvalidInputError(
            "cannot sign: provenance needs the address of the repository, and it is unknown",
            hint="add a remote `origin` to the source's Git, or call `with-verification --repository https://…`",
        )


def check_signable(signer: Signer | None, policy: VerificationPolicy) -> None:
    """Check, before anything expensive, that a release will pass the verification of a deployment to a cluster.

    Raises:
        InvalidInputError: if nothing would be signed or verified, and the policy does not allow unsigned images.
    """
    if policy.allow_unsigned or (policy.configured and signer):
        return
    missing = "signer" if policy.configured else "verification policy"
    raise InvalidInputError(
        f"ship: no {missing} is configured; unsigned images cannot be deployed",
        hint="call `with-signer`, and commit cosign.pub or call `with-verification` (docs/signing.md); "
        "--allow-unsigned deploys without",
    )


def github_repository(policy: VerificationPolicy) -> str:
    """Return the repository as `owner/name` if the identity's issuer is GitHub, else an empty string."""
    return urlsplit(policy.repository).path.strip("/") if policy.certificate_oidc_issuer == GITHUB_ISSUER else ""
