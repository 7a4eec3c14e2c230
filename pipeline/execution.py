"""Running a tool in a container and reading its answer."""

import uuid
from collections.abc import Sequence

import anyio
import dagger

from pipeline.errors import NotReadyError, StageFailedError


async def run(container: dagger.Container, argv: Sequence[str], *, what: str, hint: str = "") -> str:
    """Run `argv` and return its standard output.

    A failing run is not remembered by the engine, so the next attempt really runs: that is why this reads the
    engine's error instead of allowing any exit code, whose result would be cached.

    Raises:
        StageFailedError: with the tool's last lines, if it exits non-zero.
    """
    try:
        return await container.with_exec(list(argv)).stdout()
    except dagger.ExecError as error:
        raise StageFailedError(
            f"{what}: `{' '.join(argv)}` exited with {error.exit_code}",
            output=f"{error.stdout}\n{error.stderr}",
            hint=hint,
        ) from error


async def start(service: dagger.Service, seconds: int, *, what: str, hint: str) -> None:
    """Start a service and wait until its ports answer, so that it lives until the session ends.

    Raises:
        NotReadyError: when time is up, or the service ends before.
    """
    try:
        with anyio.fail_after(seconds):
            await service.start()
    except TimeoutError as error:
        raise NotReadyError(f"{what} did not answer within {seconds} s", hint=hint) from error
    except dagger.QueryError as error:
        raise NotReadyError(f"{what} did not start", output=str(error), hint=hint) from error


def run_id() -> str:
    """Return a value that no run had before: an input for execs that must not be answered from cache."""
    return uuid.uuid4().hex
