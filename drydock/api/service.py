"""Service, and the binding of containers to services."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from drydock.api.registry import SELF, resolves
from drydock.errors import InvalidArgumentError
from drydock.graph import key_of
from drydock.service import Service

if TYPE_CHECKING:
    from drydock.container import Container
    from drydock.graph import Node
    from drydock.image import Port
    from drydock.relay import Forward
    from drydock.services import AnyService
    from drydock.session import Session


@resolves("Container.asService")
def as_service(
    session: Session,
    ctr: Container,
    *,
    args: list[str],
    use_entrypoint: bool,
    experimental_privileged_nesting: bool,
    insecure_root_capabilities: bool,
    expand: bool,
    no_init: bool,
) -> Service:
    del experimental_privileged_nesting  # refused before
    config = ctr.config
    given = tuple(ctr.expand(arg) if expand else arg for arg in args)
    entrypoint = use_entrypoint or (not given and not ctr.explicit_args)
    argv = ((*config.entrypoint,) if entrypoint else ()) + (given or config.cmd)
    if not argv:
        raise InvalidArgumentError("asService: no command; give args, or a container with default arguments")
    digest = key_of("service", session.unique())
    return Service(ctr, argv, no_init, insecure_root_capabilities, digest=digest)


@resolves("Container.withServiceBinding")
def with_service_binding(_session: Session, ctr: Container, *, alias: str, service: Node) -> Container:
    others = tuple(pair for pair in ctr.bindings if pair[0] != alias)
    return replace(ctr, bindings=(*others, (alias, service)))


@resolves("Service.withHostname")
def with_hostname(_session: Session, service: AnyService, *, hostname: str) -> AnyService:
    return service.with_hostname(hostname)


@resolves("Service.hostname")
def hostname(_session: Session, service: AnyService) -> str:
    return service.hostname


@resolves("Service.ports")
def ports(_session: Session, service: AnyService) -> list[Port | Forward]:
    return list(service.ports)


@resolves("Service.endpoint")
def endpoint(_session: Session, service: AnyService, *, port: int | None = None, scheme: str) -> str:
    exposed = service.ports
    if port is None and not exposed:
        raise InvalidArgumentError("endpoint: the service exposes no port; name one")
    address = f"{service.hostname}:{port if port is not None else exposed[0].port}"
    return f"{scheme}://{address}" if scheme else address


@resolves("Service.start")
async def start(session: Session, service: AnyService) -> object:
    await session.services.acquire(service)
    return SELF


@resolves("Service.stop")
async def stop(session: Session, service: AnyService, *, kill: bool) -> object:
    await session.services.stop(service, kill=kill)
    return SELF


@resolves("Service.sync")
async def sync(_session: Session, service: AnyService) -> object:
    await service.ready()
    return SELF
