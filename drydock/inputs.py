"""What a command's result depends on, beside its own arguments and the files below it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from drydock.container import Container, Filesystem


async def inputs(ctr: Container, files: Filesystem) -> list[object]:
    """Return the keys of variables, secrets (sealed), mounts and services; volatile variables are left out."""
    found: list[object] = [list(ctr.config.env)]
    for name, secret in sorted(ctr.secret_env, key=lambda pair: pair[0]):
        found.append(["secret", name, (await secret.value()).seal])
    for mount in ctr.mounts:
        entry = [mount.target, mount.kind, mount.owner, mount.mode, mount.size, mount.sharing, mount.read_only]
        if mount.kind == "tree":
            entry.append(files.mounted[mount.target].key)
        elif mount.kind == "secret" and mount.source:
            entry.append((await mount.source.value()).seal)
        elif mount.kind == "cache" and mount.source:
            entry.append((await mount.source.value()).key)
        found.append(entry)
    for alias, service in ctr.bindings:
        found.append(["service", alias, await (await service.value()).key()])
    return found
