"""Container: its files."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from drydock.api import directory as dirs
from drydock.api.registry import resolves
from drydock.container import Container, Filesystem, owner_in
from drydock.edit import Editor, target_path
from drydock.errors import InvalidArgumentError
from drydock.graph import settled
from drydock.tree import FileRef, Selection, Tree, file_in, subtree

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from drydock.api.directory import Stat
    from drydock.graph import Node
    from drydock.session import Session


async def place(ctr: Container, files: Filesystem, path: str) -> tuple[Tree, str]:
    """Return the tree that a path of the container lies in, and the path there: mounts are looked into."""
    mount = ctr.mount_over(path)
    if mount is None:
        return files.root, path
    held = files.mounted.get(mount.target)
    if held is None:
        raise InvalidArgumentError(f"{path}: lies in a {mount.kind} mount, which has no files outside of a command")
    if isinstance(held, FileRef):
        return replace(held.tree, path="/"), held.path
    return held, path.removeprefix(mount.target.rstrip("/")) or "/"


def changed(ctr: Container, path: str, change: Callable[[Filesystem, Tree, str], Awaitable[Tree]]) -> Container:
    """Return the container with a change to the tree that a path lies in: the root's, or that of a mount."""

    async def step(files: Filesystem) -> Filesystem:
        tree, inner = await place(ctr, files, path)
        result = await change(files, tree, inner)
        mount = ctr.mount_over(path)
        if mount is None:
            return replace(files, root=result)
        held = files.mounted[mount.target]
        new = replace(held, tree=result, key=result.key) if isinstance(held, FileRef) else result
        return replace(files, mounted={**files.mounted, mount.target: new})

    return ctr.with_files(step)


# Reading


@resolves("Container.rootfs")
async def rootfs(_session: Session, ctr: Container) -> Tree:
    return (await ctr.files()).root


@resolves("Container.withRootfs")
def with_rootfs(_session: Session, ctr: Container, *, directory: Node) -> Container:
    async def step(files: Filesystem) -> Filesystem:
        return replace(files, root=await directory.value())

    return replace(ctr.with_files(step), base_layers=())


@resolves("Container.directory")
async def directory(session: Session, ctr: Container, *, path: str, expand: bool) -> Tree:
    tree, inner = await place(ctr, await ctr.files(), ctr.path(path, expand=expand))
    return await session.store.run(subtree, session.store, tree, inner)


@resolves("Container.file")
async def file(session: Session, ctr: Container, *, path: str, expand: bool) -> FileRef:
    tree, inner = await place(ctr, await ctr.files(), ctr.path(path, expand=expand))
    return await session.store.run(file_in, session.store, tree, inner)


@resolves("Container.exists")
async def exists(
    session: Session,
    ctr: Container,
    *,
    path: str,
    expected_type: str | None = None,
    do_not_follow_symlinks: bool,
    expand: bool,
) -> bool:
    tree, inner = await place(ctr, await ctr.files(), ctr.path(path, expand=expand))
    return await dirs.exists(
        session, tree, path=inner, expected_type=expected_type, do_not_follow_symlinks=do_not_follow_symlinks
    )


@resolves("Container.stat")
async def stat(session: Session, ctr: Container, *, path: str, do_not_follow_symlinks: bool) -> Stat:
    tree, inner = await place(ctr, await ctr.files(), ctr.path(path))
    return await dirs.stat(session, tree, path=inner, do_not_follow_symlinks=do_not_follow_symlinks)


# Changing


@resolves("Container.withDirectory")
def with_directory(
    session: Session,
    ctr: Container,
    *,
    path: str,
    source: Node,
    exclude: list[str],
    include: list[str],
    gitignore: bool,
    owner: str,
    expand: bool,
    permissions: int | None = None,
) -> Container:
    selection = Selection(tuple(include), tuple(exclude), gitignore)

    async def change(files: Filesystem, tree: Tree, inner: str) -> Tree:
        numbers = await owner_in(session.store, files.root, owner)
        found = await source.value()
        return await dirs.copied(
            session, tree, inner, found, selection, numbers, permissions, by_content=tree is not files.root
        )

    return changed(ctr, ctr.path(path, expand=expand), change)


@resolves("Container.withFile")
def with_file(
    session: Session,
    ctr: Container,
    *,
    path: str,
    source: Node,
    permissions: int | None = None,
    owner: str,
    expand: bool,
) -> Container:
    is_directory = path.endswith("/") or path in ("", ".")

    async def change(files: Filesystem, tree: Tree, inner: str) -> Tree:
        numbers = await owner_in(session.store, files.root, owner)
        target = f"{inner.rstrip('/')}/" if is_directory else inner
        found = await source.value()
        return await dirs.copied_file(
            session, tree, target, found, numbers, permissions, by_content=tree is not files.root
        )

    return changed(ctr, ctr.path(path, expand=expand), change)


@resolves("Container.withFiles")
def with_files(
    session: Session,
    ctr: Container,
    *,
    path: str,
    sources: list[Node],
    permissions: int | None = None,
    owner: str,
    expand: bool,
) -> Container:
    for source in sources:
        ctr = with_file(
            session, ctr, path=f"{path}/", source=source, permissions=permissions, owner=owner, expand=expand
        )
    return ctr


@resolves("Container.withNewFile")
def with_new_file(
    session: Session,
    ctr: Container,
    *,
    path: str,
    contents: str,
    permissions: int,
    owner: str,
    expand: bool,
) -> Container:
    data = contents.encode("utf-8", "surrogateescape")

    async def change(files: Filesystem, tree: Tree, inner: str) -> Tree:
        numbers = await owner_in(session.store, files.root, owner)

        def write(editor: Editor) -> None:
            editor.write(target_path(inner, ""), data, numbers, permissions)

        op = ("new-file", inner, contents, permissions, (numbers.uid, numbers.gid) if numbers else None)
        return await dirs.changed(session, tree, op, write, by_content=tree is not files.root)

    return changed(ctr, ctr.path(path, expand=expand), change)


@resolves("Container.withSymlink")
def with_symlink(session: Session, ctr: Container, *, target: str, link_name: str, expand: bool) -> Container:
    target = ctr.expand(target) if expand else target

    async def change(files: Filesystem, tree: Tree, inner: str) -> Tree:
        def link(editor: Editor) -> None:
            editor.symlink(target, inner)

        op = ("symlink", target, inner)
        return await dirs.changed(session, tree, op, link, by_content=tree is not files.root)

    return changed(ctr, ctr.path(link_name, expand=expand), change)


@resolves("Container.withoutFile")
@resolves("Container.withoutDirectory")
def without(session: Session, ctr: Container, *, path: str, expand: bool) -> Container:
    async def change(files: Filesystem, tree: Tree, inner: str) -> Tree:
        return await dirs.without(session, tree, [inner], by_content=tree is not files.root)

    return changed(ctr, ctr.path(path, expand=expand), change)


@resolves("Container.withoutFiles")
def without_files(session: Session, ctr: Container, *, paths: list[str], expand: bool) -> Container:
    for path in paths:
        ctr = without(session, ctr, path=path, expand=expand)
    return ctr


def with_tree(ctr: Container, root: Tree) -> Container:
    """Return the container with a root file system that is there already."""
    return replace(ctr, files=settled(Filesystem(root)))
