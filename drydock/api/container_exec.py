"""Container: running commands, and what they said."""

from __future__ import annotations

import contextlib
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from drydock import sandbox
from drydock.api.registry import SELF, resolves
from drydock.attach import attached, scrubber
from drydock.edit import squashed
from drydock.errors import ExecError, InvalidArgumentError
from drydock.graph import key_of
from drydock.inputs import inputs
from drydock.process import Process
from drydock.tree import FileRef, Tree

if TYPE_CHECKING:
    from pathlib import Path

    from drydock.container import Container, Filesystem
    from drydock.sandbox import Output
    from drydock.session import Session

SIGNALLED = range(128, 192)
"""Exit codes of processes that a signal ended; no `expect` allows them."""


def command(ctr: Container, args: list[str], *, use_entrypoint: bool, expand: bool) -> tuple[str, ...]:
    """Return the argv of an exec: the default arguments without args, the entrypoint before them if wanted."""
    argv = tuple(ctr.expand(arg) if expand else arg for arg in args) or ctr.config.cmd
    if use_entrypoint:
        argv = (*ctr.config.entrypoint, *argv)
    if not argv:
        raise InvalidArgumentError("no command has been set; give args, or a container with default arguments")
    return argv


def allowed(expect: str, exit_code: int) -> bool:
    """Say whether `expect` (SUCCESS, FAILURE, ANY) allows an exit code."""
    if exit_code in SIGNALLED:
        return False
    return {"SUCCESS": exit_code == 0, "FAILURE": exit_code != 0}.get(expect, True)


@resolves("Container.withExec")
def with_exec(
    session: Session,
    ctr: Container,
    *,
    args: list[str],
    use_entrypoint: bool,
    stdin: str,
    redirect_stdin: str,
    redirect_stdout: str,
    redirect_stderr: str,
    expect: str,
    experimental_privileged_nesting: bool,
    insecure_root_capabilities: bool,
    expand: bool,
    no_init: bool,
) -> Container:
    del experimental_privileged_nesting  # refused before
    if stdin and redirect_stdin:
        raise InvalidArgumentError("cannot set both stdin and redirectStdin")
    process = Process(
        args=command(ctr, args, use_entrypoint=use_entrypoint, expand=expand),
        env=dict(ctr.config.env),
        user=ctr.config.user,
        workdir=ctr.config.workdir or "/",
        stdin=stdin,
        redirect_stdin=redirect_stdin,
        redirect_stdout=redirect_stdout,
        redirect_stderr=redirect_stderr,
        no_init=no_init,
        all_capabilities=insecure_root_capabilities,
    )

    async def step(files: Filesystem) -> Filesystem:
        return await executed(session, ctr, files, process, expect)

    return ctr.with_files(step)


async def executed(session: Session, ctr: Container, files: Filesystem, process: Process, expect: str) -> Filesystem:
    """Return the files after a command; from the cache where the same command ran on the same inputs before."""
    store = session.store
    key = key_of("exec", files.root.key, *process.key(), expect, await inputs(ctr, files))
    if found := store.record(key):
        return _after(files, found)
    async with contextlib.AsyncExitStack() as stack:
        ready, link = await stack.enter_async_context(attached(session, ctr, files, process))
        await stack.enter_async_context(store.lock(key))
        if found := store.record(key):
            return _after(files, found)
        root = await squashed(store, files.root)
        box = await store.run(sandbox.prepare, store, root, await sandbox.few_layers(store, ready))
        try:
            output = await session.services.guard(link, sandbox.run(box, await scrubber(session, ctr), session.output))
            if not allowed(expect, output.exit_code):
                raise ExecError(list(process.args), output.exit_code, output.stdout, output.stderr)
            record = _kept(session, key, box, output, await store.run(sandbox.leavings, box))
        finally:
            await store.run(box.discard)
        store.save(key, record)
    return _after(files, record)


def _kept(
    session: Session, key: str, box: sandbox.Sandbox, output: Output, layers: dict[str, Path | None]
) -> dict[str, object]:
    """Move the layers that a command left into the store; return the record."""
    store = session.store
    trees: dict[str, object] = {}
    for index, (name, layer) in enumerate(layers.items()):
        overlay = box.trees[name] if name else box.root
        layer_key = key_of(key, "layer", index)
        trees[name] = {"layers": [*overlay.tree.layers, store.keep_layer(layer)], "key": layer_key} if layer else None
    return {**asdict(output), "trees": trees}


def _after(files: Filesystem, record: dict[str, Any]) -> Filesystem:
    output = sandbox.Output(**{name: record[name] for name in ("exit_code", "stdout", "stderr", "combined")})
    root, mounted = files.root, dict(files.mounted)
    for name, left in record["trees"].items():
        if left is None:
            continue
        if not name:
            root = Tree(tuple(left["layers"]), root.path, left["key"])
            continue
        held = mounted[name]
        tree = Tree(tuple(left["layers"]), (held.tree if isinstance(held, FileRef) else held).path, left["key"])
        mounted[name] = FileRef(tree, held.path, left["key"]) if isinstance(held, FileRef) else tree
    return replace(files, root=root, mounted=mounted, last=output)


async def last(ctr: Container) -> Output:
    """Return what the container's last command said."""
    output = (await ctr.files()).last
    if output is None:
        raise InvalidArgumentError("no command has been executed; add withExec")
    return output


@resolves("Container.stdout")
async def stdout(_session: Session, ctr: Container) -> str:
    return (await last(ctr)).stdout


@resolves("Container.stderr")
async def stderr(_session: Session, ctr: Container) -> str:
    return (await last(ctr)).stderr


@resolves("Container.combinedOutput")
async def combined_output(_session: Session, ctr: Container) -> str:
    return (await last(ctr)).combined


@resolves("Container.exitCode")
async def exit_code(_session: Session, ctr: Container) -> int:
    return (await last(ctr)).exit_code


@resolves("Container.sync")
async def sync(_session: Session, ctr: Container) -> object:
    await ctr.files()
    return SELF


@resolves("Container.withError")
def with_error(_session: Session, ctr: Container, *, err: str) -> Container:
    if err:
        raise InvalidArgumentError(err)
    return ctr
