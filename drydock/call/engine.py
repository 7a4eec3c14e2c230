"""The session that the module talks to: the one in the environment, or one of our own."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Self

from drydock.call.errors import EngineStartError

if TYPE_CHECKING:
    from types import TracebackType

STOP_SECONDS = 30


class EngineSession:
    """A session of the embedded engine in a process of its own; none where the environment names a session.

    It starts with the object, so that it comes up while the module is imported, and is joined by `ready`.
    """

    def __init__(self) -> None:
        """Start the process."""
        self._process: subprocess.Popen[str] | None = None
        if "DAGGER_SESSION_PORT" in os.environ:
            return
        above = str(Path(__file__).resolve().parents[2])
        paths = os.pathsep.join(filter(None, [above, os.environ.get("PYTHONPATH")]))
        self._process = subprocess.Popen(
            [sys.executable, "-m", "drydock", "session"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": paths},
            text=True,
            # Ctrl-C is for the command alone, which then ends the session; it also ends with its stdin.
            start_new_session=True,
        )

    def ready(self) -> None:
        """Wait until the session serves, and name it in the environment, where the SDK looks for it."""
        if self._process is None or self._process.stdout is None:
            return
        line = self._process.stdout.readline()
        if not line:
            raise EngineStartError(f"the embedded engine did not start (exit code {self._process.wait()})")
        session = json.loads(line)
        os.environ["DAGGER_SESSION_PORT"] = str(session["port"])
        os.environ["DAGGER_SESSION_TOKEN"] = session["session_token"]

    def __enter__(self) -> Self:
        """Enter a block at whose end the session stops."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop the process: it ends with its stdin, by force where that takes too long."""
        process = self._process
        if process is None or process.stdin is None:
            return
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
        for stop in (process.terminate, process.kill):
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                stop()
            else:
                return
        process.wait()
