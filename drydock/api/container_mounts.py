"""Container: what is mounted while commands run, and never part of the image."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from drydock.api import directory as dirs
from drydock.api.registry import resolves
from drydock.container import Container, Filesystem, MountPoint, owner_in
from drydock.tree import FileRef, Tree

if TYPE_CHECKING:
    from drydock.edit import Editor
    from drydock.graph import Node
    from drydock.session import Session


def mounted(ctr: Container, mount: MountPoint) -> Container:
    """Return the container with a mount added, in place of one at the same path."""
    others = tuple(m for m in ctr.mounts if m.target != mount.target)
    return dataclasses.replace(ctr, mounts=(*others, mount))


def with_held(ctr: Container, mount: MountPoint, held: object) -> Container:
    """Return the container with a mounted tree; `held` makes it from the files so far."""

    async def step(files: Filesystem) -> Filesystem:
        return dataclasses.replace(files, mounted={**files.mounted, mount.target: await held(files)})  # type: ignore[operator]

    image_ref = ctr.image_ref
    return dataclasses.replace(mounted(ctr.with_files(step), mount), image_ref=image_ref)


@resolves("Container.mounts")
def mounts(_session: Session, ctr: Container) -> list[str]:
    return [mount.target for mount in ctr.mounts]


@resolves("Container.withMountedDirectory")
def with_mounted_directory(
    session: Session, ctr: Container, *, path: str, source: Node, owner: str, read_only: bool, expand: bool
) -> Container:
    async def held(files: Filesystem) -> Tree:
        tree: Tree = await source.value()
        numbers = await owner_in(session.store, files.root, owner)
        if numbers is None:
            return tree

        def change(editor: Editor) -> None:
            editor.set_owner("/", numbers)

        return await dirs.changed(session, tree, ("chown", "/", numbers.uid, numbers.gid), change)

    target = ctr.path(path, expand=expand)
    return with_held(ctr, MountPoint(target, "tree", read_only=read_only), held)


@resolves("Container.withMountedFile")
def with_mounted_file(
    session: Session, ctr: Container, *, path: str, source: Node, owner: str, expand: bool
) -> Container:
    async def held(files: Filesystem) -> FileRef:
        file: FileRef = await source.value()
        numbers = await owner_in(session.store, files.root, owner)
        if numbers is None:
            return file
        place = dataclasses.replace(file.tree, path="/")

        def change(editor: Editor) -> None:
            editor.set_owner(file.path, numbers)

        op = ("chown-file", file.path, file.key, numbers.uid, numbers.gid)
        tree = await dirs.changed(session, place, op, change, by_content=False)
        return FileRef(tree, file.path, tree.key)

    return with_held(ctr, MountPoint(ctr.path(path, expand=expand), "tree"), held)


@resolves("Container.withMountedCache")
def with_mounted_cache(
    _session: Session,
    ctr: Container,
    *,
    path: str,
    cache: Node,
    source: Node | None = None,
    sharing: str,
    owner: str,
    expand: bool,
) -> Container:
    volume = MountPoint(ctr.path(path, expand=expand), "cache", cache, owner, sharing=sharing)
    return mounted(ctr, dataclasses.replace(volume, seed=source))


@resolves("Container.withMountedTemp")
def with_mounted_temp(
    _session: Session, ctr: Container, *, path: str, size: int | None = None, expand: bool
) -> Container:
    return mounted(ctr, MountPoint(ctr.path(path, expand=expand), "temp", size=size or 0))


@resolves("Container.withMountedSecret")
def with_mounted_secret(
    _session: Session, ctr: Container, *, path: str, source: Node, owner: str, mode: int, expand: bool
) -> Container:
    return mounted(ctr, MountPoint(ctr.path(path, expand=expand), "secret", source, owner, mode))


@resolves("Container.withUnixSocket")
def with_unix_socket(
    _session: Session, ctr: Container, *, path: str, source: Node, owner: str, expand: bool
) -> Container:
    return mounted(ctr, MountPoint(ctr.path(path, expand=expand), "socket", source, owner))


@resolves("Container.withoutMount")
@resolves("Container.withoutUnixSocket")
def without_mount(_session: Session, ctr: Container, *, path: str, expand: bool) -> Container:
    target = ctr.path(path, expand=expand)
    return dataclasses.replace(ctr, mounts=tuple(m for m in ctr.mounts if m.target != target))
