"""Who signs releases, and whose signature is asked for before one is deployed."""

import base64
import binascii
import enum
import hashlib
import re
from typing import Annotated
from urllib.parse import urlsplit

import dagger
from dagger import Doc, enum_type

from pipeline.core.errors import InvalidInputError
from pipeline.core.sdk import field, object_type
from pipeline.source.project import check_regular_file

PUBLIC_KEY = "cosign.pub"
GITHUB_ISSUER = "https://token.actions.githubusercontent.com"
MAIN = "refs/heads/main"
_PEM = re.compile(r"\s*-----BEGIN PUBLIC KEY-----\s+([A-Za-z0-9+/=\s]+)-----END PUBLIC KEY-----\s*")
_REF = re.compile(r"refs/[^\s~^:?*\[\\]+")
_ADDRESS = re.compile(r"https?://[^\s/@?#]+(?:/[^\s@?#]*)?")


@enum_type
class SbomFormat(enum.Enum):
    """In which form the list of what is in the image is attached to it."""

    CYCLONEDX = "cyclonedx"
    """CycloneDX, as JSON."""

    SPDX = "spdx"
    """SPDX 2.3, as JSON."""


@object_type
class Signer:
    """Who signs: a key pair, or an identity that a certificate is given for (keyless)."""

    key: Annotated[dagger.Secret | None, Doc("Private key, as cosign makes it.")] = field(default=None)
    password: Annotated[dagger.Secret | None, Doc("Password of the key.")] = field(default=None)
    identity_token: Annotated[dagger.Secret | None, Doc("OIDC token with the audience `sigstore`.")] = field(
        default=None
    )
    request_url: Annotated[str, Doc("Where GitHub gives a job its token.")] = field(default="")
    request_token: Annotated[dagger.Secret | None, Doc("What GitHub asks for in return.")] = field(default=None)
    signing_config: Annotated[dagger.File | None, Doc("Services of a Sigstore of one's own.")] = field(default=None)
    sbom: Annotated[SbomFormat, Doc("Form of the SBOM.")] = field(default=SbomFormat.CYCLONEDX)

    @property
    def keyless(self) -> bool:
        """Whether an identity signs, and no key."""
        return self.key is None


@object_type
class VerificationPolicy:
    """Whose signature a release needs: one key's, or one identity's; and of which service it must be."""

    public_key: Annotated[str, Doc("Public key, PEM, or empty.")] = field(default="")
    certificate_identity: Annotated[str, Doc("Identity in the certificate, or empty.")] = field(default="")
    certificate_oidc_issuer: Annotated[str, Doc("Who vouches for that identity.")] = field(default=GITHUB_ISSUER)
    trusted_root: Annotated[dagger.File | None, Doc("Of a Sigstore of one's own.")] = field(default=None)
    ref: Annotated[str, Doc("What that identity must have run for, where it is one of GitHub's; any if empty.")] = (
        field(default=MAIN)
    )
    repository: Annotated[str, Doc("Address of the repository that releases are built from.")] = field(default="")
    path: Annotated[str, Doc("The service's folder in it.")] = field(default="")

    @property
    def asks(self) -> bool:
        """Whether anybody's signature is asked for."""
        return bool(self.public_key or self.certificate_identity)

    @property
    def builder(self) -> str:
        """The builder that provenance must name: the identity that signs it, or the key."""
        return self.certificate_identity or key_name(self.public_key)

    @property
    def whom(self) -> str:
        """Whose signature is asked for, in words."""
        return self.certificate_identity or f"the key {key_name(self.public_key).rpartition(':')[2][:16]}"


@object_type
class Signatures:
    """Both, on their way through the chain."""

    signer: Annotated[Signer | None, Doc("Who signs what is published; nobody if empty.")] = field(default=None)
    trust: Annotated[VerificationPolicy, Doc("Whose signature is asked for.")] = field(default=VerificationPolicy)


def key_name(public_key: str) -> str:
    """Return a name for a public key: a URN with the SHA-256 of its DER form, as `openssl pkey -pubin` gives it.

    Raises:
        InvalidInputError: if it is no public key in PEM.
    """
    match = _PEM.fullmatch(public_key)
    try:
        der = base64.b64decode("".join(match[1].split()), validate=True) if match else b""
    except binascii.Error:
        der = b""
    if not der:
        raise InvalidInputError(
            "the public key is not of the accepted form",
            hint=f"give the {PUBLIC_KEY} that `key-pair` or `cosign generate-key-pair` writes",
        )
    return f"urn:slipway:key:sha256:{hashlib.sha256(der).hexdigest()}"


def check_signer(signer: Signer) -> Signer:
    """Return it.

    Raises:
        InvalidInputError: unless exactly one way to sign is given, and whole.
    """
    if bool(signer.request_url) != (signer.request_token is not None):
        raise InvalidInputError("with-signer: --request-url and --request-token come gather", hint="give both")
    ways = [signer.key, signer.identity_token, signer.request_token]
    if sum(way is not None for way in ways) != 1:
        raise InvalidInputError(
            "with-signer: there must be one way to sign",
            hint="--key with --password, or --identity-token, or --request-url with --request-token",
        )
    if signer.password and not signer.key:
        raise InvalidInputError("with-signer: --password is of a --key, and there is none", hint="leave it out")
    return signer


def check_policy(trust: VerificationPolicy) -> VerificationPolicy:
    """Return it.

    Raises:
        InvalidInputError: if a key and an identity are given, or one that is malformed.
    """
    if trust.public_key and trust.certificate_identity:
        raise InvalidInputError("with-trust: both a key and an identity are given", hint="leave one out")
    if trust.public_key:
        key_name(trust.public_key)
    for name, value in (
        ("signed-by", trust.certificate_identity),
        ("certificate_oidc_issuer", trust.certificate_oidc_issuer),
    ):
        if value and not (value.isprintable() and value == value.strip() and not value.startswith("-")):
            raise InvalidInputError(f"with-trust: --{name} {value!r} is not of the accepted form", hint="one line")
    if trust.ref and not _REF.fullmatch(trust.ref):
        raise InvalidInputError(f"with-trust: --ref {trust.ref!r} is not of the accepted form", hint=f"such as {MAIN}")
    if trust.repository and not _ADDRESS.fullmatch(trust.repository):
        raise InvalidInputError(
            f"with-trust: --repository {trust.repository!r} is not of the accepted form",
            hint="such as https://github.com/org/app",
        )
    return trust


def check_signable(signer: Signer | None, trust: VerificationPolicy) -> None:
    """Refuse, before anything expensive, to ship to a cluster what could not be deployed there.

    Raises:
        InvalidInputError: if nothing would be signed, or nobody is trusted.
    """
    if not trust.asks or not signer:
        missing = "nobody signs" if trust.asks else "nobody is trusted to sign releases"
        raise InvalidInputError(
            f"ship: {missing}, and what is not signed is not deployed",
            hint="`with-signer`, and cosign.pub or `with-trust` (docs/signing.md); for the first day, --allow-unsigned",
        )


def github_repository(trust: VerificationPolicy) -> str:
    """Return `owner/name` where GitHub vouches for the identity, else an empty string."""
    return urlsplit(trust.repository).path.strip("/") if trust.certificate_oidc_issuer == GITHUB_ISSUER else ""


async def read_public_key(source: dagger.Directory, path: str) -> str:
    """Return the public key that lies in the service's folder or at the root, or an empty string.

    Raises:
        InvalidInputError: if it is no regular file.
    """
    for folder in (source.directory(path), source):
        if await folder.exists(PUBLIC_KEY, do_not_follow_symlinks=True):
            await check_regular_file(folder, PUBLIC_KEY)
            return await folder.file(PUBLIC_KEY).contents()
    return ""
