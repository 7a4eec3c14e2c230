"""cosign.pub: the public key with which releases are verified."""

import base64
import binascii
import hashlib
import re

from pipeline.core.errors import InvalidInputError

PUBLIC_KEY = "cosign.pub"
_PEM = re.compile(r"\s*-----BEGIN PUBLIC KEY-----\s+([A-Za-z0-9+/=\s]+)-----END PUBLIC KEY-----\s*")


def check_no_key(existing: str) -> None:
    """Refuse to make a key pair for a source that has a public key.

    Raises:
        InvalidInputError: if there is one.
    """
    if existing:
        raise InvalidInputError(
            f"key-pair: the source has a {PUBLIC_KEY} already; signatures of another key would be refused",
            hint="sign with its key; to replace it, remove the file first",
        )


def key_uri(public_key: str) -> str:
    """Return a URN for a public key: the SHA-256 of its DER form, as `openssl pkey -pubin -outform DER` writes it.

    Raises:
        InvalidInputError: if it is not a public key in PEM.
    """
    match = _PEM.fullmatch(public_key)
    try:
        der = base64.b64decode("".join(match[1].split()), validate=True) if match else b""
    except binascii.Error:
        der = b""
    if not der:
        raise InvalidInputError(
            "the public key is not in PEM",
            hint=f"give the {PUBLIC_KEY} that `key-pair` or `cosign generate-key-pair` writes",
        )
    return f"urn:slipway:key:sha256:{hashlib.sha256(der).hexdigest()}"
