"""The root of the API."""

from __future__ import annotations

from importlib.metadata import version as version_of
from typing import TYPE_CHECKING

from drydock.api.container_config import PLATFORM
from drydock.api.registry import resolves
from drydock.container import Container
from drydock.errors import NotSupportedError

if TYPE_CHECKING:
    from drydock.session import Session


@resolves("Query.version")
def version(_session: Session, _query: None) -> str:
    return f"v{version_of('dagger-io')}"


@resolves("Query.defaultPlatform")
def default_platform(_session: Session, _query: None) -> str:
    return PLATFORM


@resolves("Query.container")
def container(_session: Session, _query: None, *, platform: str | None = None) -> Container:
    if platform not in (None, "", PLATFORM):
        raise NotSupportedError(f"Query.container(platform: {platform}); only {PLATFORM} is run here")
    return Container()
