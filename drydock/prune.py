"""Listing and pruning the cache folder."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import time
from typing import TYPE_CHECKING

from drydock.errors import CacheInUseError
from drydock.store import LAYOUT, cache_folder, remove_abandoned

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator
    from pathlib import Path

DAY = 86400
UNIT = 1024


def main(arguments: argparse.Namespace) -> int:
    """Run `cache list` or `cache prune`; return the exit code."""
    folder = cache_folder()
    if arguments.action == "list":
        show(folder)
    else:
        before = size_of(folder)
        if arguments.all:
            remove_all(folder)
        else:
            prune(folder / LAYOUT, keep_seconds=arguments.keep_days * DAY)
        print(f"{folder}: {readable(before - size_of(folder))} freed, {readable(size_of(folder))} kept")
    return 0


def show(folder: Path) -> None:
    """Print what is kept, by kind."""
    print(f"{folder}: {readable(size_of(folder))}")
    for kind in ("layers", "blobs", "volumes", "ops", "tmp"):
        path = folder / LAYOUT / kind
        if path.exists():
            entries = sum(1 for _ in _entries(path, kind))
            print(f"  {kind:8} {readable(size_of(path)):>10}  {entries} entries")


def _entries(path: Path, kind: str) -> Iterator[Path]:
    return path.glob("*/*") if kind in ("ops", "blobs") else path.iterdir()


def remove_all(folder: Path) -> None:
    """Remove everything, cache volumes and sealing key included.

    Raises
    ------
    CacheInUseError
        A session runs.
    """
    root = folder / LAYOUT
    if root.exists():
        with _alone(root):
            shutil.rmtree(root)


def prune(root: Path, *, keep_seconds: float) -> None:
    """Remove records that were not used lately, and the layers, blobs and leftovers that no record names any more.

    Cache volumes stay: only their users know their worth.

    Raises
    ------
    CacheInUseError
        A session runs.
    """
    if not root.exists():
        return
    with _alone(root):
        remove_abandoned(root / "tmp")
        oldest = time.time() - keep_seconds
        layers: set[str] = set()
        blobs: set[str] = set()
        for path in [*(root / "ops").glob("*/*.json")]:
            if path.stat().st_mtime < oldest:
                path.unlink()
                continue
            found = json.loads(path.read_bytes())
            layers |= _layers_in(found)
            blobs |= {found["digest"].removeprefix("sha256:")} if "diff_id" in found else set()
        for kind, kept in (("layers", layers), ("blobs/sha256", blobs)):
            for path in (root / kind).iterdir():
                if path.name not in kept:
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
        for path in (root / "locks").iterdir():
            path.unlink()


def _layers_in(record: dict[str, object]) -> set[str]:
    """Return the ids of all layers that a record names, at whatever depth."""
    found: set[str] = set()
    for name, value in record.items():
        if name == "layers" and isinstance(value, list):
            found |= set(value)
        elif name == "layer" and isinstance(value, str):
            found.add(value)
        elif isinstance(value, dict):
            found |= _layers_in(value)
    return found


class _alone:  # noqa: N801 - reads as a word in `with _alone(root)`
    """Holds the cache folder against sessions, which hold it against pruning."""

    def __init__(self, root: Path) -> None:
        self._file = (root / "in-use").open("a")

    def __enter__(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.close()
            raise CacheInUseError("the cache folder is in use by a running session; end it, then prune again") from None

    def __exit__(self, *_: object) -> None:
        self._file.close()


def size_of(folder: Path) -> int:
    """Return the bytes that a folder takes on disk; what is linked twice counts once."""
    seen: set[int] = set()
    total = 0
    for base, _, names in os.walk(folder):
        for name in names:
            info = os.lstat(os.path.join(base, name))
            if info.st_ino not in seen:
                seen.add(info.st_ino)
                total += info.st_blocks * 512
    return total


def readable(size: float) -> str:
    """Return a size as a person writes it."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(size) < UNIT or unit == "GiB":
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= UNIT
    return ""
