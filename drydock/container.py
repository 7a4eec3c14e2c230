"""A container as a value: configuration that is known, and a file system that is made when a leaf asks for it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from drydock.edit import Owner
from drydock.errors import InvalidArgumentError
from drydock.graph import Shared, settled
from drydock.image import Config
from drydock.tree import SCRATCH, FileRef, Tree, join, view
from drydock.users import owner_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from drydock.graph import Node
    from drydock.sandbox import Output
    from drydock.store import Store


@dataclass(frozen=True)
class Filesystem:
    """What a container's files are at one point of its history."""

    root: Tree
    mounted: Mapping[str, Tree | FileRef] = field(default_factory=dict)
    """By mount point: directories and files as the commands so far left them."""
    last: Output | None = None
    """What the last command said."""


EMPTY = settled(Filesystem(SCRATCH))


@dataclass(frozen=True)
class MountPoint:
    """One mount. What a tree mount holds stands in `Filesystem.mounted`."""

    target: str
    kind: str
    """tree, cache, temp, secret or socket"""
    source: Node | None = None
    owner: str = ""
    mode: int = 0
    size: int = 0
    sharing: str = ""
    seed: Node | None = None
    """A directory that a cache volume starts with."""
    read_only: bool = False


@dataclass(frozen=True)
class Container:
    """The value of the API's Container."""

    config: Config = field(default_factory=Config)
    files: Shared[Filesystem] = EMPTY
    mounts: tuple[MountPoint, ...] = ()
    secret_env: tuple[tuple[str, Node], ...] = ()
    volatile_env: tuple[tuple[str, str], ...] = ()
    bindings: tuple[tuple[str, Node], ...] = ()
    auths: tuple[tuple[str, str, Node], ...] = ()
    annotations: tuple[tuple[str, str], ...] = ()
    image_ref: Shared[str] | None = None
    base_layers: tuple[str, ...] = ()
    """Layers that came with the image, whose packed form is kept as it came."""
    explicit_args: bool = False
    """Default arguments were set after the image was made; a service then does without the entrypoint."""

    def with_config(self, **changes: object) -> Container:
        """Return the container with members of its configuration changed."""
        return replace(self, config=replace(self.config, **changes))  # type: ignore[arg-type]

    def with_files(self, make: Callable[[Filesystem], Awaitable[Filesystem]]) -> Container:
        """Return the container with a step added to the making of its files."""
        before = self.files

        async def step() -> Filesystem:
            return await make(await before())

        return replace(self, files=Shared(step), image_ref=None)

    def path(self, path: str, *, expand: bool = False) -> str:
        """Return an absolute path: relative ones start from the working directory."""
        return join(self.config.workdir or "/", self.expand(path) if expand else path)

    def expand(self, text: str) -> str:
        """Replace `$NAME` and `${NAME}` by the container's variables; an unset one is empty."""
        hidden = {name for name, _ in self.secret_env}
        env = dict(self.config.env)

        def value(match: re.Match[str]) -> str:
            name = match[1] or match[2]
            if name in hidden:
                raise InvalidArgumentError(f"expand cannot be used with the secret variable {name!r}")
            return env.get(name, "")

        return re.sub(r"\$(?:\{([A-Za-z_][A-Za-z0-9_]*)\}|([A-Za-z_][A-Za-z0-9_]*))", value, text)

    def mount_over(self, path: str) -> MountPoint | None:
        """Return the innermost mount of files that a path lies in; secrets and sockets exist for commands only."""
        files = [m for m in self.mounts if m.kind in ("tree", "cache", "temp")]
        over = [m for m in files if path == m.target or path.startswith(m.target.rstrip("/") + "/")]
        return max(over, key=lambda m: len(m.target), default=None)


async def owner_in(store: Store, root: Tree, owner: str) -> Owner | None:
    """Return the numbers of an owner, whose names are those of the container's /etc/passwd; None for ""."""
    if not owner:
        return None

    def look() -> Owner:
        with view(store, root) as seen:
            return Owner(*owner_of(seen, owner))

    return await store.run(look)
