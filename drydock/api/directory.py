"""Directory."""

from __future__ import annotations

import os
import stat as st
from dataclasses import dataclass
from typing import TYPE_CHECKING

from drydock.api.registry import SELF, resolves
from drydock.edit import Editor, Owner, edit, parse_owner, target_path
from drydock.errors import DrydockError, InvalidArgumentError, PathNotFoundError
from drydock.export import export_directory, host_path
from drydock.patterns import Patterns
from drydock.tree import SCRATCH, FileRef, Selection, Tree, digest, file_in, join, real_path, subtree, view

if TYPE_CHECKING:
    from collections.abc import Callable

    from drydock.graph import Node
    from drydock.session import Session
    from drydock.store import Store

KINDS = {st.S_IFREG: "REGULAR_TYPE", st.S_IFDIR: "DIRECTORY_TYPE", st.S_IFLNK: "SYMLINK_TYPE"}
SECOND = 1_000_000_000


@dataclass(frozen=True)
class Stat:
    """What the API says of one path. `permissions` are the nine bits, `size` is in bytes."""

    name: str
    size: int
    permissions: int
    file_type: str


@resolves("Query.directory")
def directory(_session: Session, _query: None) -> Tree:
    return SCRATCH


# Reading


@resolves("Directory.sync")
def sync(_session: Session, _tree: Tree) -> object:
    return SELF


@resolves("Directory.name")
def name(_session: Session, tree: Tree) -> str:
    return f"{os.path.basename(tree.path)}/"


@resolves("Directory.entries")
async def entries(session: Session, tree: Tree, *, path: str | None = None) -> list[str]:
    def read() -> list[str]:
        with view(session.store, tree) as root:
            real = real_path(root, tree, path or "/")
            if not os.path.isdir(real):
                raise PathNotFoundError(path or "/", "no such directory")
            with os.scandir(real) as found:
                return sorted(f"{e.name}/" if e.is_dir(follow_symlinks=False) else e.name for e in found)

    return await session.store.run(read)


@resolves("Directory.glob")
async def glob(session: Session, tree: Tree, *, pattern: str) -> list[str]:
    matcher = Patterns([pattern])

    def read() -> list[str]:
        with view(session.store, tree) as root:
            return [
                f"{path}/" if st.S_ISDIR(info.st_mode) else path
                for path, info in Selection().walk(root + tree.path)
                if matcher.match_itself(path)
            ]

    return await session.store.run(read)


@resolves("Directory.digest")
async def content_digest(session: Session, tree: Tree) -> str:
    def read() -> str:
        with view(session.store, tree) as root:
            return digest(root + tree.path)

    return f"sha256:{await session.store.run(read)}"


@resolves("Directory.directory")
async def inner_directory(session: Session, tree: Tree, *, path: str) -> Tree:
    return await session.store.run(subtree, session.store, tree, path)


@resolves("Directory.file")
async def file(session: Session, tree: Tree, *, path: str) -> FileRef:
    return await session.store.run(file_in, session.store, tree, path)


@resolves("Directory.exists")
async def exists(
    session: Session,
    tree: Tree,
    *,
    path: str,
    expected_type: str | None = None,
    do_not_follow_symlinks: bool,
) -> bool:
    follow = not do_not_follow_symlinks and expected_type != "SYMLINK_TYPE"
    found = await session.store.run(stat_in, session.store, tree, path, follow=follow)
    return found is not None and expected_type in (None, found.file_type)


@resolves("Directory.stat")
async def stat(session: Session, tree: Tree, *, path: str, do_not_follow_symlinks: bool) -> Stat:
    found = await session.store.run(stat_in, session.store, tree, path, follow=not do_not_follow_symlinks)
    if found is None:
        raise PathNotFoundError(path)
    return found


def stat_in(store: Store, tree: Tree, path: str, *, follow: bool) -> Stat | None:
    """Return what stands at a path of a directory; None if nothing does. Runs in a worker thread."""
    with view(store, tree) as root:
        real = real_path(root, tree, path, follow_last=follow)
        try:
            info = os.lstat(real)
        except (FileNotFoundError, NotADirectoryError):
            return None
    kind = KINDS.get(st.S_IFMT(info.st_mode), "UNKNOWN")
    return Stat(os.path.basename(path.rstrip("/")), info.st_size, st.S_IMODE(info.st_mode) & 0o777, kind)


@resolves("Directory.findUp")
async def find_up(session: Session, tree: Tree, *, name: str, start: str) -> str | None:
    here = join("/", start)
    while True:
        candidate = join(here, name)
        if await session.store.run(stat_in, session.store, tree, candidate, follow=True):
            return candidate.removeprefix("/")
        if here == "/":
            return None
        here = os.path.dirname(here)


@resolves("Directory.export")
async def export(session: Session, tree: Tree, *, path: str, wipe: bool) -> str:
    target = host_path(session.workdir, path)
    await session.store.run(export_directory, session.store, tree, target, wipe=wipe)
    return target


# Changing


@resolves("Directory.withNewFile")
async def with_new_file(session: Session, tree: Tree, *, path: str, contents: str, permissions: int) -> Tree:
    data = contents.encode("utf-8", "surrogateescape")

    def change(editor: Editor) -> None:
        editor.write(path, data, None, permissions)

    return await changed(session, tree, ("new-file", path, contents, permissions), change)


@resolves("Directory.withNewDirectory")
async def with_new_directory(session: Session, tree: Tree, *, path: str, permissions: int) -> Tree:
    def change(editor: Editor) -> None:
        editor.make_directory(path, mode=permissions)

    return await changed(session, tree, ("new-directory", path, permissions), change)


@resolves("Directory.withDirectory")
async def with_directory(
    session: Session,
    tree: Tree,
    *,
    path: str,
    source: Node,
    exclude: list[str],
    include: list[str],
    gitignore: bool,
    owner: str,
    permissions: int | None = None,
) -> Tree:
    selection = Selection(tuple(include), tuple(exclude), gitignore)
    return await copied(session, tree, path, await source.value(), selection, parse_owner(owner), permissions)


async def copied(
    session: Session,
    tree: Tree,
    path: str,
    source: Tree,
    selection: Selection,
    owner: Owner | None,
    permissions: int | None,
    *,
    by_content: bool = True,
) -> Tree:
    """Return a directory with another one copied into it."""
    plain = selection.everything and owner is None and permissions is None
    if by_content and tree == SCRATCH and plain and join("/", path) == "/":
        return source

    def change(editor: Editor) -> None:
        with view(session.store, source) as root:
            editor.copy_directory(root + source.path.rstrip("/"), path, selection, owner, permissions)

    op = ("directory", path, source.key, selection.include, selection.exclude, selection.gitignore)
    numbers = (owner.uid, owner.gid) if owner else None
    return await changed(
        session, tree, (*op, numbers, permissions), change, by_content=by_content and source.by_content
    )


@resolves("Directory.withFile")
async def with_file(
    session: Session, tree: Tree, *, path: str, source: Node, permissions: int | None = None, owner: str
) -> Tree:
    return await copied_file(session, tree, path, await source.value(), parse_owner(owner), permissions)


async def copied_file(
    session: Session,
    tree: Tree,
    path: str,
    source: FileRef,
    owner: Owner | None,
    permissions: int | None,
    *,
    by_content: bool = True,
) -> Tree:
    """Return a directory with a file copied into it."""
    target = target_path(path, source.name)

    def change(editor: Editor) -> None:
        with view(session.store, source.tree) as root:
            editor.copy_file(root + source.path, target, owner, permissions)

    op = ("file", target, source.key, (owner.uid, owner.gid) if owner else None, permissions)
    return await changed(session, tree, op, change, by_content=by_content and source.tree.by_content)


@resolves("Directory.withFiles")
async def with_files(
    session: Session, tree: Tree, *, path: str, sources: list[Node], permissions: int | None = None
) -> Tree:
    for source in sources:
        tree = await copied_file(session, tree, f"{path}/", await source.value(), None, permissions)
    return tree


@resolves("Directory.withoutDirectory")
async def without_directory(session: Session, tree: Tree, *, path: str) -> Tree:
    return await without(session, tree, [path])


@resolves("Directory.withoutFile")
async def without_file(session: Session, tree: Tree, *, path: str) -> Tree:
    return await without(session, tree, [path])


@resolves("Directory.withoutFiles")
async def without_files(session: Session, tree: Tree, *, paths: list[str]) -> Tree:
    return await without(session, tree, paths)


async def without(session: Session, tree: Tree, paths: list[str], *, by_content: bool = True) -> Tree:
    """Return a directory without some paths."""

    def change(editor: Editor) -> None:
        for path in paths:
            editor.remove(path)

    return await changed(session, tree, ("without", paths), change, by_content=by_content)


@resolves("Directory.filter")
async def filter_(session: Session, tree: Tree, *, exclude: list[str], include: list[str], gitignore: bool) -> Tree:
    selection = Selection(tuple(include), tuple(exclude), gitignore)
    return await copied(session, SCRATCH, "/", tree, selection, None, None)


@resolves("Directory.withSymlink")
async def with_symlink(session: Session, tree: Tree, *, target: str, link_name: str) -> Tree:
    def change(editor: Editor) -> None:
        editor.symlink(target, link_name)

    return await changed(session, tree, ("symlink", target, link_name), change)


@resolves("Directory.withTimestamps")
async def with_timestamps(session: Session, tree: Tree, *, timestamp: int) -> Tree:
    def change(editor: Editor) -> None:
        editor.set_times("/", timestamp * SECOND)

    # Never by content: times are no part of it, so the result would meet the same files with other times.
    return await changed(session, tree, ("timestamps", timestamp), change, by_content=False)


@resolves("Directory.chown")
async def chown(session: Session, tree: Tree, *, path: str, owner: str) -> Tree:
    numbers = parse_owner(owner)
    if numbers is None:
        raise InvalidArgumentError("chown: an owner is needed, such as 1000:1000")

    def change(editor: Editor) -> None:
        editor.set_owner(path, numbers)

    return await changed(session, tree, ("chown", path, numbers.uid, numbers.gid), change)


@resolves("Directory.withError")
def with_error(_session: Session, tree: Tree, *, err: str) -> Tree:
    if err:
        raise DrydockError(err)
    return tree


async def changed(
    session: Session,
    tree: Tree,
    op: tuple[object, ...],
    change: Callable[[Editor], None],
    *,
    by_content: bool = True,
) -> Tree:
    """Return a directory with one change; named by its content if it was so before and the change allows it."""
    return await edit(session.store, tree, op, change, by_content=by_content and tree.by_content)
