"""File trees: chains of layers, seen through overlayfs, and paths inside them."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from drydock import mounts
from drydock.errors import PathNotFoundError
from drydock.graph import key_of
from drydock.patterns import IgnoreRule, Patterns, ignored, parse_gitignore

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from drydock.store import Store

MAX_LINKS = 40
EPOCH = 0


@dataclass(frozen=True)
class Tree:
    """A directory as a value.

    Attributes
    ----------
    layers
        Layer ids, lowest first; none for an empty directory.
    path
        The directory meant, inside the layers; absolute, no symbolic links on the way.
    key
        What it is called in the keys of operations.
    by_content
        The key is a digest of the content, so that two ways to the same files meet; else of the operation.
    """

    layers: tuple[str, ...]
    path: str
    key: str
    by_content: bool = False


SCRATCH = Tree((), "/", key_of("scratch"), by_content=True)


@dataclass(frozen=True)
class FileRef:
    """A file as a value: its place in a tree, and its key."""

    tree: Tree
    path: str
    key: str

    @property
    def name(self) -> str:
        """The last part of the path."""
        return os.path.basename(self.path)


@contextlib.contextmanager
def view(store: Store, tree: Tree) -> Iterator[str]:
    """Show a tree's layers read-only; yields the root of the layers, not `tree.path`. Runs in a worker thread."""
    if len(tree.layers) == 1:
        yield str(store.layers / tree.layers[0])
        return
    point = str(store.temporary("view"))
    if tree.layers:
        mounts.mount("overlay", point, "overlay", mounts.MS_RDONLY, mounts.overlay_options([*reversed(tree.layers)]))
    try:
        yield point
    finally:
        if tree.layers:
            mounts.umount(point)
        os.rmdir(point)


def resolve(root: str, path: str, *, follow_last: bool = True) -> str:
    """Return the real path under `root` of a path inside it, with links followed as a process in there would.

    Parts that do not exist are kept as they are; the result may not exist.
    """
    pending = [part for part in path.split("/") if part not in ("", ".")][::-1]
    done: list[str] = []
    links = 0
    while pending:
        part = pending.pop()
        if part == "..":
            if done:
                done.pop()
            continue
        here = "/".join([root.rstrip("/"), *done, part])
        try:
            is_link = (follow_last or pending) and stat.S_ISLNK(os.lstat(here).st_mode)
        except OSError:
            is_link = False
        if not is_link:
            done.append(part)
            continue
        links += 1
        if links > MAX_LINKS:
            raise PathNotFoundError(path, os.strerror(errno.ELOOP))
        target = os.readlink(here)
        if target.startswith("/"):
            done.clear()
        pending.extend([p for p in target.split("/") if p not in ("", ".")][::-1])
    return "/".join([root.rstrip("/"), *done]) or "/"


def real_path(root: str, tree: Tree, path: str, *, follow_last: bool = True) -> str:
    """Return where a path of a directory is, in a view of it; links lead through all of the layers, as in a chroot."""
    return resolve(root, tree.path.rstrip("/") + join("/", path), follow_last=follow_last)


def inside(root: str, real: str) -> str:
    """Return the absolute path inside `root` of what `resolve` returned."""
    return real[len(root.rstrip("/")) :] or "/"


def join(base: str, path: str) -> str:
    """Return an absolute, normal path: `path` as seen from `base`."""
    return os.path.normpath(os.path.join("/", base, path)).replace("//", "/")


def subtree(store: Store, tree: Tree, path: str) -> Tree:
    """Return a directory inside a tree."""
    with view(store, tree) as root:
        real = real_path(root, tree, path)
        if not os.path.exists(real):
            raise PathNotFoundError(path)
        if not os.path.isdir(real):
            raise PathNotFoundError(path, "not a directory")
        place = inside(root, real)
        if place == tree.path:
            return tree
        if tree.by_content:
            return Tree(tree.layers, place, digest(real), by_content=True)
    return replace(tree, path=place, key=key_of("subtree", tree.key, inside(tree.path, place)))


def file_in(store: Store, tree: Tree, path: str) -> FileRef:
    """Return a file inside a tree."""
    with view(store, tree) as root:
        real = real_path(root, tree, path)
        if not os.path.exists(real):
            raise PathNotFoundError(path)
        if os.path.isdir(real):
            raise PathNotFoundError(path, "is a directory, not a file")
        name = os.path.basename(path.rstrip("/"))
        place = inside(root, real)
        key = (
            key_of("file", name, file_digest(real))
            if tree.by_content
            else key_of("file", tree.key, inside(tree.path, place))
        )
    return FileRef(tree, place, key)


@dataclass(frozen=True)
class Selection:
    """Which entries of a directory are meant: include and exclude patterns, .gitignore files."""

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    gitignore: bool = False

    @property
    def everything(self) -> bool:
        """Nothing is left out."""
        return not (self.include or self.exclude or self.gitignore)

    def walk(self, root: str, rules: Sequence[IgnoreRule] = ()) -> Iterator[tuple[str, os.stat_result]]:
        """Yield (relative path, lstat) of what is meant, sorted, directories before what they hold.

        `rules` are those of .gitignore files above `root`, written for paths relative to it.
        """
        include, exclude = Patterns(self.include), Patterns(self.exclude)
        pending: list[tuple[str, os.stat_result]] = []
        for path, info, children_only in _walk(root, "", include, exclude, list(rules), gitignore=self.gitignore):
            while pending and not path.startswith(f"{pending[-1][0]}/"):
                pending.pop()
            if children_only:
                pending.append((path, info))
                continue
            yield from pending
            pending.clear()
            yield path, info


def _walk(  # noqa: PLR0913 - private recursion
    root: str, base: str, include: Patterns, exclude: Patterns, rules: list[IgnoreRule], *, gitignore: bool
) -> Iterator[tuple[str, os.stat_result, bool]]:
    """Yield (path, lstat, only meant if something below it is)."""
    if gitignore:
        with contextlib.suppress(FileNotFoundError, IsADirectoryError, NotADirectoryError):
            text = Path(root, base, ".gitignore").read_text("utf-8", "replace")
            rules = [*rules, *parse_gitignore(text, base)]
    with os.scandir(os.path.join(root, base)) as found:
        entries = sorted(found, key=lambda e: e.name)
    for entry in entries:
        path = f"{base}/{entry.name}" if base else entry.name
        is_dir = entry.is_dir(follow_symlinks=False)
        if stat.S_ISSOCK(entry.stat(follow_symlinks=False).st_mode):
            continue  # means nothing without the process that listens
        if rules and ignored(rules, path, is_dir=is_dir):
            continue
        left_out = bool(exclude) and exclude.match(path)
        if left_out and not (is_dir and exclude.can_take_back):
            continue
        wanted = not left_out and (not include or include.match(path))
        if wanted or is_dir:
            yield path, entry.stat(follow_symlinks=False), not wanted
        if is_dir:
            yield from _walk(root, path, include, exclude, rules, gitignore=gitignore)


def file_digest(path: str) -> str:
    """Return the sha256 of a file's bytes, in hex."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def entry_line(path: str, real: str, info: os.stat_result, *, owners: bool = True) -> bytes:
    """Return what a digest of a tree says of one entry: all but its times."""
    kind = stat.S_IFMT(info.st_mode)
    if kind == stat.S_IFREG:
        detail = file_digest(real)
    elif kind == stat.S_IFLNK:
        detail = os.readlink(real)
    else:
        detail = str(info.st_rdev)
    owner = f"{info.st_uid}:{info.st_gid}" if owners else ""
    mode = 0 if kind == stat.S_IFLNK else info.st_mode
    return os.fsencode(f"{path}\0{kind}\0{mode:o}\0{owner}\0{detail}\n")


def digest(
    root: str, selection: Selection | None = None, *, owners: bool = True, rules: Sequence[IgnoreRule] = ()
) -> str:
    """Return the digest of a directory's content: names, kinds, modes, owners, bytes; not its times."""
    total = hashlib.sha256(b"tree\n")
    for path, info in (selection or Selection()).walk(root, rules):
        total.update(entry_line(path, os.path.join(root, path), info, owners=owners))
    return total.hexdigest()
