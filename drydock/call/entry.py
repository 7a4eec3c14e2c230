"""The three commands: `call`, `functions` and `check`."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from drydock.call.engine import EngineSession
from drydock.call.errors import UsageError

# Everything that imports the SDK is imported inside the functions: the engine comes up meanwhile.

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence

    from anyio import CancelScope

    from drydock.call.flags import Chain
    from drydock.call.module import Module

PROGRAM = "python -m drydock"
CANCELLED = 130
HELP = {"-h", "--help"}
DEBUG = {"-d", "--debug"}
LIST = {"-l", "--list"}
CHECK_USAGE = f"""Run the checks of the module in the current folder, all at the same time.

USAGE
  {PROGRAM} check [-l] [pattern...]

OPTIONS
  -d, --debug   Show the traceback of an error
  -l, --list    List the checks, and run none
"""


def main(words: Sequence[str]) -> int:
    """Call functions of the module in the current folder; return the exit code."""
    return _guarded(words, _call)


def functions(words: Sequence[str]) -> int:
    """List the functions of the module, or of what a chain of its functions returns."""
    return _guarded(words, _functions)


def check(words: Sequence[str]) -> int:
    """Run the module's checks, or with -l list them."""
    return _guarded(words, _check)


def _guarded(words: Sequence[str], command: Callable[[Sequence[str], TextIO], int]) -> int:
    """Run a command with stdout kept for its result, and turn what is raised into a message and an exit code."""
    with _result_stream() as out:
        try:
            return command(words, out)
        except KeyboardInterrupt:
            sys.stderr.write("Canceled.\n")
            return CANCELLED
        except Exception as error:  # noqa: BLE001 - the module may raise anything
            from drydock.call import failures  # noqa: PLC0415

            if DEBUG & set(words):
                traceback.print_exception(error)
            sys.stderr.write(f"Error: {failures.describe(error)}\n")
            if isinstance(error, UsageError):
                sys.stderr.write("Add --help for usage.\n")
            return failures.exit_code(error)


@contextlib.contextmanager
def _result_stream() -> Iterator[TextIO]:
    """Keep stdout for the result: what the module or a process of it prints meanwhile goes to stderr."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        with os.fdopen(os.dup(kept), "w") as out:
            yield out
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)


def _call(words: Sequence[str], out: TextIO) -> int:
    if HELP & set(words):
        return _help(words, out)
    with EngineSession() as session:
        from drydock.call import evaluate, flags, module  # noqa: PLC0415

        loaded = module.load(Path.cwd())
        chain = flags.read_chain(words, loaded.constructor)
        evaluate.check_values(chain)
        session.ready()
        return _connected(_evaluate, chain, loaded, out)


def _help(words: Sequence[str], out: TextIO) -> int:
    from drydock.call import flags, module, usage  # noqa: PLC0415

    loaded = module.load(Path.cwd())
    chain = flags.read_chain(words, loaded.constructor)
    out.write(usage.of_chain(chain, f"{PROGRAM} call", loaded.doc, bold=out.isatty()))
    return 0


async def _evaluate(chain: Chain, loaded: Module, out: TextIO) -> int:
    from drydock.call import evaluate, results  # noqa: PLC0415

    await results.present(await evaluate.run(chain, loaded), chain.options, out)
    return 0


def _functions(words: Sequence[str], out: TextIO) -> int:
    from drydock.call import flags, module, usage  # noqa: PLC0415

    chain = flags.read_chain([*words, "--help"], module.load(Path.cwd()).constructor)
    rows = usage.table(flags.functions_of(chain.last.returns).values())
    out.write("\n".join(rows or ["No functions found."]) + "\n")
    return 0


def _check(words: Sequence[str], out: TextIO) -> int:
    if HELP & set(words):
        out.write(CHECK_USAGE)
        return 0
    unknown = [word for word in words if word.startswith("-") and word not in LIST | DEBUG]
    if unknown:
        raise UsageError(f"unknown flag: {unknown[0]}; known: -l, --list, -d, --debug")
    with EngineSession() if not LIST & set(words) else contextlib.nullcontext() as session:
        from drydock.call import checks, module, usage  # noqa: PLC0415

        loaded = module.load(Path.cwd())
        selected = checks.select(loaded, [word for word in words if not word.startswith("-")])
        if session is None:
            out.write("\n".join(usage.table(selected)) + "\n")
            return 0
        session.ready()
        failed = _connected(checks.run, loaded, selected, out)
    if failed:
        sys.stderr.write(f"Error: {failed} of {len(selected)} checks failed\n")
    return int(bool(failed))


def _connected(function: Callable[..., Awaitable[int]], *arguments: object) -> int:
    """Run an async function within a connection; Ctrl-C ends it.

    The connection is made first: the SDK cannot make it for two requests that come at once.
    """
    import anyio  # noqa: PLC0415
    import dagger  # noqa: PLC0415

    async def connected() -> int:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_cancelled_by_interrupt, tasks.cancel_scope)
            async with await dagger.connect():
                code = await function(*arguments)
            # Not one that comes now, when all is done.
            tasks.cancel_scope.cancel()
            return code
        raise KeyboardInterrupt

    return anyio.run(connected)


async def _cancelled_by_interrupt(scope: CancelScope) -> None:
    """Cancel a scope at the first Ctrl-C, and leave at the second.

    A scope cancels for as long as something in it goes on. asyncio's own way is one cancellation of the main task,
    which was seen to get lost in a library, so that the run went on.
    """
    import anyio  # noqa: PLC0415

    with anyio.open_signal_receiver(signal.SIGINT) as signals:
        async for _ in signals:
            if scope.cancel_called:
                os._exit(CANCELLED)
            scope.cancel()
