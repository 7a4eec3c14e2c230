"""The resolvers: one module per object type, each field a function named by `@resolves("Type.field")`."""

from drydock.api import (  # noqa: F401 - importing a module registers its resolvers
    address,
    changeset,
    container_config,
    container_exec,
    container_files,
    container_image,
    container_mounts,
    directory,
    file,
    git,
    host,
    query,
    secret,
    service,
    values,
)
from drydock.api.registry import RESOLVERS

__all__ = ["RESOLVERS"]
