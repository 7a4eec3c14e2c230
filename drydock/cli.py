"""The command line: `session`, `run`, `call`, `cache`."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import secrets
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from drydock.errors import DrydockError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence


# Commands of drydock.call, which reads its own arguments.
MODULE_COMMANDS = {
    "call": "call the module's functions",
    "functions": "list the module's functions",
    "check": "run the module's checks",
}


def parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    top = argparse.ArgumentParser(prog="python -m drydock", description="Slipway's embedded engine.")
    commands = top.add_subparsers(dest="command", required=True)
    session = commands.add_parser("session", help="serve the SDK until stdin closes; prints port and token as JSON")
    session.add_argument("--verbose", action="store_true", help="show the output of commands as it comes")
    run = commands.add_parser("run", help="run a command with the variables that the SDK reads, like `dagger run`")
    run.add_argument("--verbose", action="store_true", help="show the output of commands as it comes")
    run.add_argument("argv", nargs=argparse.REMAINDER, metavar="-- CMD", help="the command and its arguments")
    for name, what in MODULE_COMMANDS.items():
        commands.add_parser(name, help=what, add_help=False)
    cache = commands.add_parser("cache", help="list or prune the cache folder")
    actions = cache.add_subparsers(dest="action", required=True)
    actions.add_parser("list", help="what is kept, by kind")
    prune = actions.add_parser("prune", help="remove what was not used lately")
    prune.add_argument("--all", action="store_true", help="remove everything")
    prune.add_argument("--keep-days", type=float, default=14, metavar="N", help="keep what was used within N days (14)")
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        if words and words[0] in MODULE_COMMANDS:
            from drydock import call  # noqa: PLC0415 - brings the module and its imports

            run = {"call": call.main, "functions": call.functions, "check": call.check}
            return run[words[0]](words[1:])
        arguments, rest = parser().parse_known_args(words)
        match arguments.command:
            case "session":
                # The SDK passes --label, --workdir and --project, which mean nothing here.
                return asyncio.run(serve_until_stdin_closes(verbose=arguments.verbose))
            case "run":
                return asyncio.run(run_command([*arguments.argv, *rest], verbose=arguments.verbose))
            case _:
                from drydock import prune  # noqa: PLC0415 - not needed by a session

                return prune.main(arguments)
    except DrydockError as error:
        print(error, file=sys.stderr)
        return 1


@contextlib.asynccontextmanager
async def session_server(*, verbose: bool) -> AsyncIterator[tuple[int, str]]:
    """Serve a session; yields its port and token."""
    from drydock import mounts  # noqa: PLC0415 - after arguments are known to be right
    from drydock.server import Server  # noqa: PLC0415
    from drydock.session import Session  # noqa: PLC0415
    from drydock.store import Store, cache_folder  # noqa: PLC0415

    if os.geteuid() != 0:
        raise DrydockError(
            "the embedded engine mounts file systems and so needs root; try it with sudo, or use a Dagger Engine"
        )
    mounts.private_namespace()
    session = Session(Store(cache_folder()), Path.cwd(), verbose=verbose or "DRYDOCK_VERBOSE" in os.environ)
    token = secrets.token_urlsafe(24)
    server = Server(session, token)
    try:
        yield await server.start(), token
    finally:
        await server.close()
        await session.close()


async def serve_until_stdin_closes(*, verbose: bool) -> int:
    """Serve one session; ends with stdin, SIGINT or SIGTERM."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with session_server(verbose=verbose) as (port, token):
        print(json.dumps({"port": port, "session_token": token}), flush=True)
        await watch_stdin(stop)
        await stop.wait()
    return 0


async def watch_stdin(stop: asyncio.Event) -> None:
    """Set `stop` when stdin closes; a terminal or a closed stdin does not count."""
    loop = asyncio.get_running_loop()

    class Watch(asyncio.Protocol):
        def connection_lost(self, _error: Exception | None) -> None:
            stop.set()

        def eof_received(self) -> None:
            stop.set()

    with contextlib.suppress(ValueError, OSError):
        await loop.connect_read_pipe(Watch, sys.stdin)


async def run_command(argv: Sequence[str], *, verbose: bool) -> int:
    """Run a command within a session; its exit code is ours."""
    command = list(argv)[1:] if argv and argv[0] == "--" else list(argv)
    if not command:
        raise DrydockError("run: no command; write it after --, as in: python -m drydock run -- pytest")
    async with session_server(verbose=verbose) as (port, token):
        env = {**os.environ, "DAGGER_SESSION_PORT": str(port), "DAGGER_SESSION_TOKEN": token}
        process = await asyncio.create_subprocess_exec(*command, env=env)
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, process.terminate)
        loop.add_signal_handler(signal.SIGINT, lambda: None)  # a terminal sends it to the command, too, which decides
        return await process.wait()
