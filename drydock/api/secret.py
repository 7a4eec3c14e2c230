"""Secret, and cache volumes, whose only member is their key."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from drydock.api.registry import resolves, resolves_attributes
from drydock.plaintext import read_uri

if TYPE_CHECKING:
    from drydock.graph import Node
    from drydock.session import Session


@dataclass(frozen=True)
class Secret:
    """A secret's plaintext, and what stands for it in cache keys."""

    name: str
    uri: str
    plaintext: str
    seal: str

    def __repr__(self) -> str:
        """Name the secret, never show it."""
        return f"Secret({self.name!r})"


resolves_attributes("Secret", "name", "uri", "plaintext")


@resolves("Query.setSecret")
def set_secret(session: Session, _query: None, *, name: str, plaintext: str) -> Secret:
    session.scrub.add(plaintext)
    return Secret(name, "", plaintext, session.store.seal(plaintext))


@resolves("Query.secret")
async def secret(session: Session, _query: None, *, uri: str, cache_key: str | None = None) -> Secret:
    plaintext = await read_uri(uri, session.workdir)
    session.scrub.add(plaintext)
    seal = f"cache-key:{cache_key}" if cache_key else session.store.seal(plaintext)
    return Secret(uri, uri, plaintext, seal)


@dataclass(frozen=True)
class CacheVolume:
    """A folder that outlives containers; the same key is the same folder."""

    key: str
    source: Node | None = None
    sharing: str = "SHARED"
    owner: str = ""


@resolves("Query.cacheVolume")
def cache_volume(
    _session: Session, _query: None, *, key: str, source: Node | None = None, sharing: str, owner: str
) -> CacheVolume:
    return CacheVolume(key, source, sharing, owner)
