"""The difference between two directories."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass

from drydock.tree import Selection, entry_line


@dataclass(frozen=True)
class Difference:
    """Relative paths, sorted; a directory's end in a slash. What is below a removed directory is not listed."""

    added: tuple[str, ...]
    modified: tuple[str, ...]
    removed: tuple[str, ...]

    @property
    def empty(self) -> bool:
        """The two hold the same."""
        return not (self.added or self.modified or self.removed)


def compare(before: str, after: str) -> Difference:
    """Compare two directories by names, kinds, modes and bytes; not by owners and times."""
    old, new = dict(Selection().walk(before)), dict(Selection().walk(after))
    removed: list[str] = []
    for path, info in old.items():
        if path not in new and not (removed and removed[-1].endswith("/") and path.startswith(removed[-1])):
            removed.append(_written(path, info))
    modified = [
        path
        for path, info in new.items()
        if path in old and not stat.S_ISDIR(info.st_mode) and _changed(path, before, old[path], after, info)
    ]
    added = [_written(path, info) for path, info in new.items() if path not in old]
    return Difference(tuple(sorted(added)), tuple(sorted(modified)), tuple(sorted(removed)))


def _written(path: str, info: os.stat_result) -> str:
    return f"{path}/" if stat.S_ISDIR(info.st_mode) else path


def _changed(path: str, before: str, old: os.stat_result, after: str, new: os.stat_result) -> bool:
    if (old.st_mode, old.st_size) != (new.st_mode, new.st_size):
        return True
    was = entry_line(path, os.path.join(before, path), old, owners=False)
    return was != entry_line(path, os.path.join(after, path), new, owners=False)
