"""File."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

from drydock.api.directory import SECOND, Stat, stat_in
from drydock.api.registry import SELF, resolves
from drydock.edit import Editor, edit, parse_owner
from drydock.errors import InvalidArgumentError, PathNotFoundError
from drydock.export import export_file, host_path
from drydock.graph import key_of
from drydock.tree import SCRATCH, FileRef, file_digest, file_in, view

if TYPE_CHECKING:
    from collections.abc import Callable

    from drydock.session import Session


@resolves("Query.file")
async def file(session: Session, _query: None, *, name: str, contents: str, permissions: int) -> FileRef:
    if "/" in name:
        raise InvalidArgumentError(f"file name {name!r}: a name holds no slash")
    return await new_file(session, name, contents.encode("utf-8", "surrogateescape"), permissions)


async def new_file(session: Session, name: str, contents: bytes, permissions: int = 0o644) -> FileRef:
    """Return a file with the given bytes, by itself in a directory."""

    def change(editor: Editor) -> None:
        editor.write(name, contents, None, permissions)

    op = ("new-file", name, contents.hex(), permissions)
    tree = await edit(session.store, SCRATCH, op, change, by_content=True)
    return await session.store.run(file_in, session.store, tree, name)


async def read_bytes(session: Session, file: FileRef) -> bytes:
    """Return a file's bytes."""

    def read() -> bytes:
        with view(session.store, file.tree) as root, open(root + file.path, "rb") as handle:
            return handle.read()

    return await session.store.run(read)


@resolves("File.sync")
def sync(_session: Session, _file: FileRef) -> object:
    return SELF


@resolves("File.name")
def name(_session: Session, file: FileRef) -> str:
    return file.name


@resolves("File.size")
async def size(session: Session, file: FileRef) -> int:
    return (await stat(session, file)).size


@resolves("File.stat")
async def stat(session: Session, file: FileRef) -> Stat:
    found = await session.store.run(stat_in, session.store, _whole(file).tree, file.path, follow=True)
    if found is None:
        raise PathNotFoundError(file.path)
    return found


def _whole(file: FileRef) -> FileRef:
    """Return the file seen from the root of its layers, where its path starts."""
    return replace(file, tree=replace(file.tree, path="/"))


@resolves("File.contents")
async def contents(
    session: Session, file: FileRef, *, offset_lines: int | None = None, limit_lines: int | None = None
) -> str:
    text = (await read_bytes(session, file)).decode("utf-8", "replace")
    if offset_lines is None and limit_lines is None:
        return text
    start = offset_lines or 0
    end = None if limit_lines is None else start + limit_lines
    return "".join(text.splitlines(keepends=True)[start:end])


@resolves("File.digest")
async def digest(session: Session, file: FileRef, *, exclude_metadata: bool) -> str:
    def read() -> str:
        with view(session.store, file.tree) as root:
            real = root + file.path
            content = file_digest(real)
            if exclude_metadata:
                return content
            info = os.stat(real)
            return key_of(content, info.st_mode, info.st_uid, info.st_gid)

    return f"sha256:{await session.store.run(read)}"


@resolves("File.export")
async def export(session: Session, file: FileRef, *, path: str, allow_parent_dir_path: bool) -> str:
    target = host_path(session.workdir, path)
    return await session.store.run(export_file, session.store, file, target, allow_directory=allow_parent_dir_path)


@resolves("File.withName")
async def with_name(session: Session, file: FileRef, *, name: str) -> FileRef:
    return await _changed(session, file, ("name", name), name, None)


@resolves("File.withTimestamps")
async def with_timestamps(session: Session, file: FileRef, *, timestamp: int) -> FileRef:
    def change(editor: Editor) -> None:
        editor.set_times(file.name, timestamp * SECOND)

    return await _changed(session, file, ("timestamps", timestamp), file.name, change, by_content=False)


@resolves("File.chown")
async def chown(session: Session, file: FileRef, *, owner: str) -> FileRef:
    numbers = parse_owner(owner)
    if numbers is None:
        raise InvalidArgumentError("chown: an owner is needed, such as 1000:1000")

    def change(editor: Editor) -> None:
        editor.set_owner(file.name, numbers)

    return await _changed(session, file, ("chown", numbers.uid, numbers.gid), file.name, change)


@resolves("File.withReplaced")
async def with_replaced(
    session: Session,
    file: FileRef,
    *,
    search: str,
    replacement: str,
    all: bool,  # noqa: A002 - the API's name
    first_from: int | None = None,
) -> FileRef:
    text = (await read_bytes(session, file)).decode("utf-8", "surrogateescape")
    if all:
        text = text.replace(search, replacement)
    else:
        lines = text.splitlines(keepends=True)
        start = len("".join(lines[: max(0, (first_from or 1) - 1)]))
        found = text.count(search, start)
        if found == 0:
            raise InvalidArgumentError(f"withReplaced: {search!r} is not in {file.name}")
        if found > 1 and first_from is None:
            raise InvalidArgumentError(
                f"withReplaced: {search!r} is {found} times in {file.name}; use all or firstFrom"
            )
        text = text[:start] + text[start:].replace(search, replacement, 1)
    data = text.encode("utf-8", "surrogateescape")
    mode = (await stat(session, file)).permissions

    def change(editor: Editor) -> None:
        editor.write(file.name, data, None, mode)

    return await _changed(session, file, ("replaced", search, replacement, all, first_from), file.name, change)


async def _changed(
    session: Session,
    file: FileRef,
    op: tuple[object, ...],
    name: str,
    change: Callable[[Editor], None] | None,
    *,
    by_content: bool = True,
) -> FileRef:
    """Return a copy of a file, alone in a directory, with one change."""

    def copy_and_change(editor: Editor) -> None:
        with view(session.store, file.tree) as root:
            editor.copy_file(root + file.path, name, None, None)
        if change:
            change(editor)

    tree = await edit(
        session.store,
        SCRATCH,
        ("file", file.key, *op),
        copy_and_change,
        by_content=by_content and file.tree.by_content,
    )
    return await session.store.run(file_in, session.store, tree, name)
