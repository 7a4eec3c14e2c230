"""Writing to the host."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from drydock.edit import Editor, Owner
from drydock.errors import PathNotFoundError
from drydock.tree import FileRef, Selection, Tree, view

if TYPE_CHECKING:
    from drydock.store import Store


def host_path(workdir: Path, path: str) -> str:
    """Return an absolute path of the host; relative ones start from the session's working directory."""
    return os.path.normpath(workdir / Path(path).expanduser())


def _me() -> Owner:
    return Owner(os.getuid(), os.getgid())


def export_directory(store: Store, tree: Tree, target: str, *, wipe: bool = False) -> None:
    """Write a directory's content into a host directory; with `wipe`, what else is in there goes."""
    if os.path.lexists(target) and not os.path.isdir(target):
        raise PathNotFoundError(target, "not a directory")
    os.makedirs(target, exist_ok=True)
    with view(store, tree) as root:
        source = root + tree.path.rstrip("/")
        if wipe:
            wanted = {path for path, _ in Selection().walk(source)}
            for path, _ in [*Selection().walk(target)][::-1]:
                if path not in wanted:
                    remove(os.path.join(target, path))
        editor = Editor("", os.path.realpath(target))
        editor.copy_directory(source, "/", Selection(), _me(), None)
        editor.finish(Path("/"))


def remove(path: str) -> None:
    """Remove a file or a directory with all it holds, where it is."""
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    elif os.path.lexists(path):
        os.unlink(path)


def export_file(store: Store, file: FileRef, target: str, *, allow_directory: bool) -> str:
    """Write a file to the host and return its path; a directory as target needs `allow_directory`."""
    if os.path.isdir(target):
        if not allow_directory:
            raise PathNotFoundError(target, "is a directory; name a file, or set allowParentDirPath")
        target = os.path.join(target, file.name)
    os.makedirs(os.path.dirname(target), exist_ok=True)
    with view(store, file.tree) as root:
        place_file(root + file.path, target)
    return target


def place_file(source: str, target: str) -> None:
    """Put a copy of a file in its place at once, so that nobody reads half of it."""
    handle, temporary = tempfile.mkstemp(dir=os.path.dirname(target))
    os.close(handle)
    shutil.copyfile(source, temporary)
    shutil.copystat(source, temporary)
    os.replace(temporary, target)
