"""Address: a string that becomes an object, as on the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from drydock.api import container_image, host, secret
from drydock.api.registry import resolves
from drydock.container import Container
from drydock.errors import InvalidArgumentError

if TYPE_CHECKING:
    from drydock.api.secret import Secret
    from drydock.relay import HostService
    from drydock.session import Session
    from drydock.tree import FileRef, Tree


@resolves("Query.address")
def address(_session: Session, _query: None, *, value: str) -> str:
    return value


@resolves("Address.value")
def value(_session: Session, address: str) -> str:
    return address


@resolves("Address.directory")
async def directory(
    session: Session, address: str, *, exclude: list[str], include: list[str], gitignore: bool, no_cache: bool
) -> Tree:
    return await host.directory(
        session, None, path=address, exclude=exclude, include=include, no_cache=no_cache, gitignore=gitignore
    )


@resolves("Address.file")
async def file(
    session: Session, address: str, *, exclude: list[str], include: list[str], gitignore: bool, no_cache: bool
) -> FileRef:
    del exclude, include, gitignore  # one file is meant
    return await host.file(session, None, path=address, no_cache=no_cache)


@resolves("Address.secret")
async def secret_(session: Session, address: str) -> Secret:
    return await secret.secret(session, None, uri=address)


@resolves("Address.service")
def service(session: Session, address: str) -> HostService:
    scheme, _, rest = address.partition("://")
    name, _, port = rest.rpartition(":")
    if not name or not port.isdigit():
        raise InvalidArgumentError(f"service address {address!r} is not of the form tcp://host:port")
    return host.service(session, None, ports=[{"backend": int(port), "protocol": scheme.upper()}], host=name)


@resolves("Address.container")
async def container(session: Session, address: str) -> Container:
    return await container_image.from_(session, Container(), address=address)
