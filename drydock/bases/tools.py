"""Running the host's tools for a recipe: isolated, and with their own words when they fail."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

from drydock.errors import HostToolError, ImageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

LAST_LINES = 15


def isolated(argv: Sequence[str]) -> list[str]:
    """Return the argv that runs `argv` with mounts and processes of its own.

    When the engine dies, even by SIGKILL, everything started here dies with it and its mounts vanish.
    """
    contained = ["unshare", "--mount", "--pid", "--fork", "--kill-child", *argv]
    return ["setpriv", "--pdeathsig", "KILL", *contained]


def with_mounts(root: Path, argv: Sequence[str]) -> list[str]:
    """Return the argv that runs `argv` with /proc and /dev mounted in `root`; only for use inside `isolated`."""
    script = 'mount -t proc proc "$1/proc" && mount --bind /dev "$1/dev" && shift && exec "$@"'
    return ["sh", "-c", script, "sh", str(root), *argv]


def inside(root: Path, argv: Sequence[str]) -> list[str]:
    """Return the argv that runs `argv` in the tree `root` as if it were the machine's."""
    return isolated(with_mounts(root, ["chroot", str(root), *argv]))


def run(argv: Sequence[str], *, doing: str, env: Mapping[str, str] | None = None) -> str:
    """Run a tool to its end and return its standard output; `doing` opens the error, such as "making debian"."""
    try:
        done = subprocess.run(
            argv, check=False, stdin=subprocess.DEVNULL, capture_output=True, text=True, env=env, errors="replace"
        )
    except FileNotFoundError as error:
        raise HostToolError(error.filename, error.filename) from None
    if done.returncode:
        lines = (done.stderr.strip() or done.stdout.strip()).splitlines()[-LAST_LINES:]
        raise ImageError("\n  ".join([f"{doing} failed (exit code {done.returncode}):", *lines]))
    return done.stdout


def require(tool: str, package: str) -> None:
    """Raise a `HostToolError` unless `tool` is installed."""
    if shutil.which(tool) is None:
        raise HostToolError(tool, package)
