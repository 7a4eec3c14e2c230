"""What is to be run: a command, and what is mounted around it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from drydock.graph import key_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from drydock.tree import FileRef, Tree


@dataclass(frozen=True)
class TreeMount:
    """A directory or a file, writable; what a command changes in it stays for later commands, not in the image."""

    target: str
    source: Tree | FileRef
    read_only: bool = False


@dataclass(frozen=True)
class BindMount:
    """A host path that is shown as it is: a cache volume, /etc/hosts, a socket."""

    target: str
    source: str
    read_only: bool = False


@dataclass(frozen=True)
class TempMount:
    """Memory that ends with the command; size in bytes, 0 for the kernel's default."""

    target: str
    size: int = 0


@dataclass(frozen=True)
class SecretMount:
    """A secret as a file in memory. `owner` is looked up in the container."""

    target: str
    contents: str
    owner: str
    mode: int


Mount = TreeMount | BindMount | TempMount | SecretMount


@dataclass(frozen=True)
class Process:
    """What to run, as whom, and where."""

    args: tuple[str, ...]
    env: Mapping[str, str]
    user: str = ""
    workdir: str = "/"
    stdin: str = ""
    redirect_stdin: str = ""
    redirect_stdout: str = ""
    redirect_stderr: str = ""
    no_init: bool = False
    all_capabilities: bool = False
    netns: str = ""
    hostname: str = "drydock"
    mounts: tuple[Mount, ...] = ()

    def key(self) -> tuple[object, ...]:
        """Return what of a process enters the key of an exec; environment and mounts are keyed by their makers."""
        return (
            self.args,
            self.user,
            self.workdir,
            key_of(self.stdin),
            self.redirect_stdin,
            self.redirect_stdout,
            self.redirect_stderr,
            self.no_init,
            self.all_capabilities,
        )
