"""What is taken out of a finished tree: nothing of the host, of the making or of the time it was made may stay."""

from __future__ import annotations

import os
import shutil
from stat import S_ISREG
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# Emptied: what is made anew at run time, what differs from one making to the next, and what nobody reads here.
EMPTIED = ("dev", "tmp", "usr/share/info", "usr/share/locale", "usr/share/man", "var/cache/ldconfig", "var/tmp")
# Emptied of files; their folders are expected by the programs that write there.
EMPTIED_OF_FILES = ("run", "var/cache/apt", "var/cache/debconf", "var/lib/apt/lists", "var/log")
REMOVED = (
    "etc/.pwd.lock",
    "etc/apt/apt.conf.d/99mmdebstrap",
    "etc/apt/auth.conf.d",
    "etc/dpkg/dpkg.cfg.d/99mmdebstrap",
    "etc/group-",
    "etc/gshadow-",
    "etc/hostname",
    "etc/machine-id",
    "etc/passwd-",
    "etc/resolv.conf",
    "etc/shadow-",
    "etc/subgid-",
    "etc/subuid-",
    "var/lib/dbus/machine-id",
    "var/lib/dpkg/available-old",
    "var/lib/dpkg/status-old",
)


def slim(root: Path, *, since: float) -> None:
    """Clean the tree, and give everything written after `since` (the making's start) one time that says nothing."""
    for name in EMPTIED:
        folder = root / name
        for entry in folder.iterdir() if folder.is_dir() else ():
            _remove(entry)
    for name in EMPTIED_OF_FILES:
        for entry in (root / name).rglob("*"):
            if entry.is_symlink() or not entry.is_dir():
                entry.unlink()
    for name in REMOVED:
        _remove(root / name)
    for document in (root / "usr/share/doc").glob("*/*"):
        if document.name != "copyright":
            _remove(document)
    # The kernel's clock for files runs a few milliseconds behind the one that gave `since`.
    _flatten_times(root, int(since))


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _flatten_times(root: Path, since: float) -> None:
    """Set the times of what was written just now to the newest time of a file that came out of a package."""
    stats = {path: os.lstat(path) for path in _walk(str(root))}
    packaged = (int(found.st_mtime) for found in stats.values() if S_ISREG(found.st_mode) and found.st_mtime < since)
    newest = max(packaged, default=0)
    for path, found in stats.items():
        if found.st_mtime >= since:
            os.utime(path, (newest, newest), follow_symlinks=False)


def _walk(root: str) -> Iterator[str]:
    yield root
    for folder, folders, files in os.walk(root):
        for name in (*folders, *files):
            yield f"{folder}/{name}"
