"""Image references, `host[:port]/path[:tag][@sha256:…]`: stages pass digests, tags are for people."""

import dataclasses
import re

from pipeline.core.errors import InvalidInputError

_HOST = r"(?:[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)*)(?::[0-9]{1,5})?"
_PATH = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*"
_TAG = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}"
_DIGEST = r"sha256:[0-9a-f]{64}"
_REPOSITORY = re.compile(rf"(?P<host>{_HOST})/(?P<path>{_PATH})")
_PINNED = re.compile(rf"(?P<host>{_HOST})/(?P<path>{_PATH})(?::(?P<tag>{_TAG}))?@(?P<digest>{_DIGEST})")
_PLAIN_HTTP_HOSTS = ("localhost", "127.0.0.1")


@dataclasses.dataclass(frozen=True, slots=True)
class Repository:
    """The repository of a service's images, such as `ghcr.io/org/app`."""

    host: str
    path: str

    @classmethod
    def parse(cls, address: str) -> "Repository":
        """Parse `host[:port]/path`, without tag or digest.

        Raises:
            InvalidInputError: if the address has another form.
        """
        match = _REPOSITORY.fullmatch(address)
        if not match or not _is_host(match["host"]):
            raise InvalidInputError(
                f"registry {address!r} is not a repository address",
                hint="give host/path without tag or digest, such as ghcr.io/org/app or localhost:5000/app",
            )
        return cls(match["host"], match["path"])

    def __str__(self) -> str:
        """Return `host/path`."""
        return f"{self.host}/{self.path}"

    @property
    def scheme(self) -> str:
        """`http` on loopback, as in the engine; `https` everywhere else."""
        return "http" if self.host.partition(":")[0] in _PLAIN_HTTP_HOSTS else "https"


@dataclasses.dataclass(frozen=True, slots=True)
class DigestReference:
    """An image by digest, the only kind of reference that is deployed."""

    repository: Repository
    digest: str

    @classmethod
    def parse(cls, reference: str) -> "DigestReference":
        """Parse `host/path[:tag]@sha256:…`; the tag is dropped, because the digest identifies the image.

        Raises:
            InvalidInputError: if the reference has no digest or another form.
        """
        match = _PINNED.fullmatch(reference)
        if not match or not _is_host(match["host"]):
            raise InvalidInputError(
                f"reference {reference!r} is not an image by digest",
                hint="give host/path@sha256:<64 hex digits>; a tag can move, and is never deployed",
            )
        return cls(Repository(match["host"], match["path"]), match["digest"])

    def __str__(self) -> str:
        """Return `host/path@sha256:…`."""
        return f"{self.repository}@{self.digest}"


def check_tag(tag: str) -> str:
    """Return a tag that registries accept.

    Raises:
        InvalidInputError: if they do not.
    """
    if not re.fullmatch(_TAG, tag):
        raise InvalidInputError(
            f"tag {tag!r} is not valid", hint="use up to 128 letters, digits, dots, dashes and underscores"
        )
    return tag


def check_name(kind: str, name: str) -> str:
    """Return a name that is a DNS label, as Kubernetes requires: at most 63 lower-case letters, digits and dashes.

    Args:
        kind: what has the name, such as namespace.
        name: the name.

    Raises:
        InvalidInputError: if it is not.
    """
    if not re.fullmatch(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", name):
        raise InvalidInputError(
            f"{kind} {name!r} is not a valid Kubernetes name",
            hint="use up to 63 lower-case letters, digits and dashes, with a letter or digit at both ends",
        )
    return name


def _is_host(host: str) -> bool:
    """Whether it is a host, such as `ghcr.io`, not the first part of a path on Docker Hub (`org/app`)."""
    return "." in host or ":" in host or host == "localhost"
