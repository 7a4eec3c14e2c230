"""Host: what is read from the machine that the engine runs on."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from drydock.api.registry import resolves
from drydock.edit import Editor, Owner, record_of, seed_upper, tree_of
from drydock.errors import InvalidArgumentError, NotSupportedError, PathNotFoundError
from drydock.export import host_path
from drydock.graph import key_of
from drydock.patterns import IgnoreRule, parse_gitignore
from drydock.relay import Forward, HostService
from drydock.tree import FileRef, Selection, Tree, digest, file_in

if TYPE_CHECKING:
    from drydock.session import Session

ROOT = Owner(0, 0)


@resolves("Query.host")
def host(_session: Session, _query: None) -> None:
    return None


@resolves("Host.directory")
async def directory(
    session: Session,
    _host: None,
    *,
    path: str,
    exclude: list[str],
    include: list[str],
    no_cache: bool,
    gitignore: bool,
) -> Tree:
    del no_cache  # the call was made unlike all others already
    source = host_path(session.workdir, path)
    if not os.path.isdir(source):
        raise PathNotFoundError(source, "no such directory on the host")
    return await imported(session, source, Selection(tuple(include), tuple(exclude), gitignore))


@resolves("Host.file")
async def file(session: Session, _host: None, *, path: str, no_cache: bool) -> FileRef:
    del no_cache
    source = os.path.realpath(host_path(session.workdir, path))
    if not os.path.isfile(source):
        raise PathNotFoundError(source, "no such file on the host")
    parent, name = os.path.split(source)
    tree = await imported(session, parent, Selection(include=(_literal(name),)))
    return await session.store.run(file_in, session.store, tree, name)


@resolves("Host.findUp")
def find_up(session: Session, _host: None, *, name: str, no_cache: bool) -> str | None:
    del no_cache
    for folder in (session.workdir, *session.workdir.parents):
        if (folder / name).exists():
            return os.path.relpath(folder / name, session.workdir)
    return None


@resolves("Host.service")
def service(_session: Session, _host: None, *, ports: list[dict[str, Any]], host: str) -> HostService:
    forwards = []
    for given in ports:
        if given.get("protocol", "TCP") != "TCP":
            raise NotSupportedError("Host.service(ports: protocol UDP)")
        forwards.append(Forward(given.get("frontend") or given["backend"], given["backend"]))
    if not forwards:
        raise InvalidArgumentError("service: no ports; name at least one")
    return HostService(host, tuple(forwards))


def _literal(name: str) -> str:
    return "".join(f"\\{c}" if c in "*?[\\!" else c for c in name)


def rules_above(source: str) -> list[IgnoreRule]:
    """Return the .gitignore rules between the top of the git repository and a directory in it."""
    folder = Path(source)
    top = next((p for p in (folder, *folder.parents) if (p / ".git").exists()), folder)
    rules: list[IgnoreRule] = []
    for above in reversed([p for p in folder.parents if p.is_relative_to(top)]):
        file = above / ".gitignore"
        if file.is_file():
            rules += parse_gitignore(file.read_text("utf-8", "replace"), above=str(folder.relative_to(above)))
    return rules


async def imported(session: Session, source: str, selection: Selection) -> Tree:
    """Return a host directory as a tree: owned by root, named by its content, copied only if it is new."""
    store = session.store
    rules = await store.run(rules_above, source) if selection.gitignore else []
    content = await store.run(digest, source, selection, owners=False, rules=rules)
    if found := store.record(key_of("host", content)):
        return tree_of(found)

    def copy() -> tuple[Path, str, str]:
        layer = store.temporary("layer")
        seed_upper(layer, source)
        editor = Editor(str(layer), "/")
        editor.copy_directory(source, "/", selection, ROOT, None, rules)
        editor.finish(layer)
        return layer, digest(str(layer), owners=False), digest(str(layer))

    layer, copied, key = await store.run(copy)  # what was copied counts: the host may have changed since
    record = key_of("host", copied)
    async with store.lock(record):
        if found := store.record(record):
            return tree_of(found)
        tree = Tree((store.keep_layer(layer),), "/", key, by_content=True)
        store.save(record, record_of(tree))
    return tree
