"""Changeset: what happened between two directories."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from drydock.api import directory as dirs
from drydock.api.registry import SELF, resolves
from drydock.diff import Difference, compare
from drydock.export import export_directory, host_path, remove
from drydock.tree import SCRATCH, Selection, Tree, view

if TYPE_CHECKING:
    from drydock.edit import Editor
    from drydock.graph import Node
    from drydock.session import Session


@dataclass(frozen=True)
class Changeset:
    """The older and the newer directory."""

    before: Tree
    after: Tree


@resolves("Query.changeset")
def changeset(_session: Session, _query: None) -> Changeset:
    return Changeset(SCRATCH, SCRATCH)


@resolves("Directory.changes")
async def changes(_session: Session, tree: Tree, *, from_: Node) -> Changeset:
    return Changeset(await from_.value(), tree)


async def difference(session: Session, value: Changeset) -> Difference:
    """Compare the two directories."""

    def run() -> Difference:
        with view(session.store, value.before) as old, view(session.store, value.after) as new:
            return compare(old + value.before.path.rstrip("/"), new + value.after.path.rstrip("/"))

    return await session.store.run(run)


@resolves("Changeset.sync")
def sync(_session: Session, _value: Changeset) -> object:
    return SELF


@resolves("Changeset.before")
def before(_session: Session, value: Changeset) -> Tree:
    return value.before


@resolves("Changeset.after")
def after(_session: Session, value: Changeset) -> Tree:
    return value.after


@resolves("Changeset.addedPaths")
async def added_paths(session: Session, value: Changeset) -> list[str]:
    return list((await difference(session, value)).added)


@resolves("Changeset.modifiedPaths")
async def modified_paths(session: Session, value: Changeset) -> list[str]:
    return list((await difference(session, value)).modified)


@resolves("Changeset.removedPaths")
async def removed_paths(session: Session, value: Changeset) -> list[str]:
    return list((await difference(session, value)).removed)


@resolves("Changeset.isEmpty")
async def is_empty(session: Session, value: Changeset) -> bool:
    return (await difference(session, value)).empty


@resolves("Changeset.layer")
async def layer(session: Session, value: Changeset) -> Tree:
    return await _applied(session, SCRATCH, value, remove_too=False)


@resolves("Directory.diff")
async def diff(session: Session, tree: Tree, *, other: Node) -> Tree:
    return await _applied(session, SCRATCH, Changeset(tree, await other.value()), remove_too=False)


@resolves("Directory.withChanges")
async def with_changes(session: Session, tree: Tree, *, changes: Node) -> Tree:
    return await _applied(session, tree, await changes.value(), remove_too=True)


async def _applied(session: Session, tree: Tree, value: Changeset, *, remove_too: bool) -> Tree:
    """Return a directory with what a changeset added and modified, and without what it removed."""
    found = await difference(session, value)

    def change(editor: Editor) -> None:
        if remove_too:
            for path in found.removed:
                editor.remove(path)
        with view(session.store, value.after) as root:
            source = root + value.after.path.rstrip("/")
            for path in (*found.added, *found.modified):
                if path.endswith("/"):
                    editor.make_directory(path)
                    editor.copy_directory(os.path.join(source, path), path, Selection(), None, None)
                else:
                    editor.copy_file(os.path.join(source, path), path, None, None)

    op = ("changes", value.before.key, value.after.key, remove_too)
    return await dirs.changed(session, tree, op, change, by_content=value.after.by_content)


@resolves("Changeset.export")
async def export(session: Session, value: Changeset, *, path: str) -> str:
    target = host_path(session.workdir, path)
    found = await difference(session, value)
    changed = await layer(session, value)

    def apply() -> None:
        for removed in found.removed:
            remove(os.path.join(target, removed.rstrip("/")))
        export_directory(session.store, changed, target)

    await session.store.run(apply)
    return target
