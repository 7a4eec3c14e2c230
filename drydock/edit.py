"""Changing a file tree: one change is one new layer.

What the engine itself writes gets the source's times, or the epoch, and directories that a change merely passes through
keep theirs: the same change of the same tree gives the same layer.
"""

from __future__ import annotations

import os
import shutil
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from drydock import mounts
from drydock.errors import InvalidArgumentError, PathNotFoundError
from drydock.graph import key_of
from drydock.tree import EPOCH, Selection, Tree, digest, inside, join, resolve, view

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from drydock.patterns import IgnoreRule
    from drydock.store import Store

MAX_LAYERS = 100
OPAQUE = "trusted.overlay.opaque"


@dataclass(frozen=True)
class Owner:
    """A numeric user and group."""

    uid: int
    gid: int


class Editor:
    """A tree that is open for one change. Paths are relative to the tree's directory and cannot leave it."""

    def __init__(self, root: str, base: str) -> None:
        self.base = root + base.rstrip("/")
        self._root = root
        self._inside = base.rstrip("/")
        self._times: dict[str, int] = {}
        self.set_any_time = False

    def place(self, path: str, *, follow_last: bool = True) -> str:
        """Return the real path of a path in the tree."""
        return resolve(self._root, self._inside + join("/", path), follow_last=follow_last)

    def make_directory(self, path: str, owner: Owner | None = None, mode: int = 0o755) -> str:
        """Make a directory and those above it, where they are missing; return its real path."""
        real = self.place(path)
        missing = []
        here = real
        while not os.path.isdir(here):
            if os.path.lexists(here):
                raise PathNotFoundError(inside(self._root, here), "not a directory")
            missing.append(here)
            here = os.path.dirname(here)
        for part in reversed(missing):
            os.mkdir(part)
            os.chmod(part, mode if part == real else 0o755)
            if owner:
                os.chown(part, owner.uid, owner.gid)
            self.keep_time(part, EPOCH)
        return real

    def keep_time(self, real: str, time_ns: int) -> None:
        """Remember a directory's time, to be set when nothing more is written into it."""
        self._times[inside(self._root, real)] = time_ns

    def copy_directory(  # noqa: PLR0913, PLR0917 - one copy
        self,
        source: str,
        path: str,
        selection: Selection,
        owner: Owner | None,
        mode: int | None,
        rules: Sequence[IgnoreRule] = (),
    ) -> None:
        """Copy what a directory holds into a directory of the tree; files replace files, directories merge."""
        target = self.make_directory(path, owner)
        info = os.stat(source)
        if not any(os.scandir(target)):
            self._finish(target, info, owner, mode)
        for relative, entry in selection.walk(source, rules):
            self._copy_entry(os.path.join(source, relative), os.path.join(target, relative), entry, owner, mode)

    def copy_file(self, source: str, path: str, owner: Owner | None, mode: int | None) -> None:
        """Copy one file to a path of the tree."""
        self.make_directory(os.path.dirname(path), owner)
        real = self.place(path)
        self._copy_entry(source, real, os.lstat(source), owner, mode)

    def write(self, path: str, contents: bytes, owner: Owner | None, mode: int) -> None:
        """Write a file."""
        self.make_directory(os.path.dirname(path), owner)
        real = self.place(path)
        if os.path.isdir(real):
            raise PathNotFoundError(path, "is a directory, not a file")
        with open(real, "wb") as handle:
            handle.write(contents)
        os.chmod(real, mode)
        if owner:
            os.chown(real, owner.uid, owner.gid)
        os.utime(real, ns=(EPOCH, EPOCH))

    def remove(self, path: str) -> None:
        """Remove a file or a directory with all it holds, where it is."""
        real = self.place(path, follow_last=False)
        if real.rstrip("/") == self.base:
            for name in os.listdir(real):
                self.remove(name)
        elif os.path.isdir(real) and not os.path.islink(real):
            shutil.rmtree(real)
        elif os.path.lexists(real):
            os.unlink(real)

    def symlink(self, target: str, path: str) -> None:
        """Make a symbolic link."""
        self.make_directory(os.path.dirname(path))
        real = self.place(path, follow_last=False)
        os.symlink(target, real)
        os.utime(real, ns=(EPOCH, EPOCH), follow_symlinks=False)

    def set_times(self, path: str, time_ns: int) -> None:
        """Set the time of a path and of all below it."""
        self.set_any_time = True
        top = self.place(path)
        if os.path.isdir(top):
            for relative, info in Selection().walk(top):
                real = os.path.join(top, relative)
                os.utime(real, ns=(time_ns, time_ns), follow_symlinks=False)
                if stat.S_ISDIR(info.st_mode):
                    self.keep_time(real, time_ns)
            self.keep_time(top, time_ns)
        os.utime(top, ns=(time_ns, time_ns))

    def set_owner(self, path: str, owner: Owner) -> None:
        """Set the owner of a path and of all below it."""
        top = self.place(path)
        if not os.path.lexists(top):
            raise PathNotFoundError(path)
        os.chown(top, owner.uid, owner.gid)
        if os.path.isdir(top):
            for relative, _ in Selection().walk(top):
                os.chown(os.path.join(top, relative), owner.uid, owner.gid, follow_symlinks=False)

    def _copy_entry(
        self, source: str, target: str, info: os.stat_result, owner: Owner | None, mode: int | None
    ) -> None:
        kind = stat.S_IFMT(info.st_mode)
        if kind == stat.S_IFDIR:
            _make_way(target, want_directory=True)
            if not os.path.isdir(target):
                os.mkdir(target)
        else:
            _make_way(target, want_directory=False)
            if kind == stat.S_IFREG:
                shutil.copyfile(source, target)
            elif kind == stat.S_IFLNK:
                os.symlink(os.readlink(source), target)
            else:
                os.mknod(target, info.st_mode, info.st_rdev)
        self._finish(target, info, owner, mode)

    def _finish(self, target: str, info: os.stat_result, owner: Owner | None, mode: int | None) -> None:
        uid, gid = (owner.uid, owner.gid) if owner else (info.st_uid, info.st_gid)
        os.chown(target, uid, gid, follow_symlinks=False)
        if not stat.S_ISLNK(info.st_mode):
            os.chmod(target, stat.S_IMODE(info.st_mode) if mode is None else mode)
        if stat.S_ISDIR(info.st_mode):
            self.keep_time(target, info.st_mtime_ns)
        else:
            os.utime(target, ns=(info.st_mtime_ns, info.st_mtime_ns), follow_symlinks=False)

    def finish(self, layer: Path) -> None:
        """Set the times of the layer's directories; called when the tree is no longer mounted."""
        for path, time_ns in sorted(self._times.items(), reverse=True):
            real = str(layer) + path
            if os.path.isdir(real) and not os.path.islink(real):
                os.utime(real, ns=(time_ns, time_ns))


def _make_way(target: str, *, want_directory: bool) -> None:
    """Remove what stands where a file is to be copied; a directory is refused, as `cp` does."""
    if not os.path.lexists(target):
        return
    is_directory = os.path.isdir(target) and not os.path.islink(target)
    if is_directory and not want_directory:
        raise InvalidArgumentError(f"cannot copy a file over the directory {target.rpartition('/')[2]}")
    if not is_directory:
        os.unlink(target)


def seed_upper(upper: Path, lower: str) -> None:
    """Give an overlay's upper directory the attributes of the directory it covers: they become the root's."""
    info = os.stat(lower)
    os.chown(upper, info.st_uid, info.st_gid)
    os.chmod(upper, stat.S_IMODE(info.st_mode))
    os.utime(upper, ns=(info.st_mtime_ns, info.st_mtime_ns))


def settle(upper: str, lower: str) -> bool:
    """Tidy a layer against what it covers; say whether it holds a change at all.

    Directories that were only passed through get their times back, and are dropped where the layer says nothing new of
    them. `lower` is the merged view of the layers below; it may lack the directory.
    """
    changed = False
    for name in os.listdir(upper):
        above, below = os.path.join(upper, name), os.path.join(lower, name)
        info = os.lstat(above)
        passed_through = stat.S_ISDIR(info.st_mode) and _is_directory(below) and not _is_opaque(above)
        if passed_through and not settle(above, below) and _same_directory(info, os.lstat(below)):
            os.rmdir(above)
        else:
            changed = True
    if _is_directory(lower):
        time_ns = os.lstat(lower).st_mtime_ns
        os.utime(upper, ns=(time_ns, time_ns))
    return changed


def _is_directory(path: str) -> bool:
    return os.path.isdir(path) and not os.path.islink(path)


def _is_opaque(path: str) -> bool:
    return OPAQUE in os.listxattr(path)


def _same_directory(a: os.stat_result, b: os.stat_result) -> bool:
    return (a.st_mode, a.st_uid, a.st_gid) == (b.st_mode, b.st_uid, b.st_gid)


def new_layer(store: Store, tree: Tree, change: Callable[[Editor], None], *, keep_times: bool = False) -> Path | None:
    """Make the layer that a change leaves; None where it changes nothing. Runs in a worker thread.

    With `keep_times`, directories keep the times that the change gave them.
    """
    upper = store.temporary("layer")
    if not tree.layers:
        os.utime(upper, ns=(EPOCH, EPOCH))
        editor = Editor(str(upper), tree.path)
        editor.keep_time(str(upper), EPOCH)
        change(editor)
        editor.finish(upper)
        return upper
    work, point = store.temporary("work"), str(store.temporary("edit"))
    with view(store, tree) as lower:
        seed_upper(upper, lower)
        options = mounts.overlay_options([*reversed(tree.layers)], str(upper), str(work))
        mounts.mount("overlay", point, "overlay", 0, options)
        try:
            editor = Editor(point, tree.path)
            change(editor)
        finally:
            mounts.umount(point)
            shutil.rmtree(work, ignore_errors=True)
            os.rmdir(point)
        changed = (
            keep_times
            or editor.set_any_time
            or settle(str(upper), lower)
            or not _same_directory(os.stat(lower), os.stat(upper))
        )
    editor.finish(upper)
    return upper if changed else None


async def edit(
    store: Store, tree: Tree, op: tuple[object, ...], change: Callable[[Editor], None], *, by_content: bool = False
) -> Tree:
    """Return a tree with one change applied; from the cache where the same change of the same tree was made before.

    `op` is name and arguments of the change, with the keys of its other inputs. With `by_content`, the result is named
    by its content; for small trees only, because all of it is read.
    """
    key = key_of("edit", tree.key, *op)
    if found := store.record(key):
        return tree_of(found)
    async with store.lock(key):
        if found := store.record(key):
            return tree_of(found)
        base = await squashed(store, tree)
        if layer := await store.run(new_layer, store, base, change):
            result = Tree((*base.layers, store.keep_layer(layer)), tree.path, key)
        else:
            result = Tree(tree.layers, tree.path, tree.key)
        if by_content:
            result = Tree(result.layers, tree.path, await store.run(_content_key, store, result), by_content=True)
        store.save(key, record_of(result))
    return result


def _content_key(store: Store, tree: Tree) -> str:
    with view(store, tree) as root:
        return digest(root + tree.path.rstrip("/"))


async def squashed(store: Store, tree: Tree) -> Tree:
    """Return a tree of few layers: a long chain is copied into one, because overlayfs has a limit."""
    if len(tree.layers) < MAX_LAYERS:
        return tree
    key = key_of("squash", tree.layers)
    async with store.lock(key):
        if found := store.record(key):
            return Tree(tuple(found["layers"]), tree.path, tree.key, by_content=tree.by_content)
        layer = store.keep_layer(await store.run(_copy_whole, store, tree))
        store.save(key, {"layers": [layer]})
    return Tree((layer,), tree.path, tree.key, by_content=tree.by_content)


def _copy_whole(store: Store, tree: Tree) -> Path:
    target = store.temporary("layer")
    editor = Editor(str(target), "/")
    with view(store, tree) as root:
        seed_upper(target, root)
        editor.copy_directory(root, "/", Selection(), None, None)
    editor.finish(target)
    return target


def tree_of(record: dict[str, object]) -> Tree:
    """Read what `record_of` wrote."""
    layers = record["layers"]
    if not isinstance(layers, list):
        raise TypeError(layers)
    return Tree(tuple(layers), str(record["path"]), str(record["key"]), by_content=bool(record["by_content"]))


def record_of(tree: Tree) -> dict[str, object]:
    """Return a tree as a cache record."""
    return {"layers": list(tree.layers), "path": tree.path, "key": tree.key, "by_content": tree.by_content}


def parse_owner(owner: str) -> Owner | None:
    """Read a numeric `uid[:gid]`; "" is None. The group defaults to the same number as the user."""
    if not owner:
        return None
    user, _, group = owner.partition(":")
    if not user.isdecimal() or not (group or "0").isdecimal():
        raise InvalidArgumentError(f"owner {owner!r}: a directory knows no names; write numbers, such as 1000:1000")
    return Owner(int(user), int(group or user))


def target_path(path: str, name: str) -> str:
    """Return where a file goes: a path that ends in `/` is a directory that keeps the file's name."""
    return join("/", f"{path}{name}" if path.endswith("/") or path in ("", ".") else path)
