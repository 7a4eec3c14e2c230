"""Running a tool in a container and reading its answer."""

import uuid
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import anyio
import dagger

from pipeline.core.errors import InvalidInputError, NotReadyError, SlipwayError, StageFailedError, causes, joined

T = TypeVar("T")


def check_positive(name: str, value: int) -> None:
    """Refuse a number of seconds or attempts that leaves none.

    Raises:
        InvalidInputError: if it is below one.
    """
    if value < 1:
        raise InvalidInputError(f"--{name} {value} is not positive", hint="give a whole number from 1")


async def run(
    container: dagger.Container, argv: Sequence[str], *, what: str, hint: str = "", seconds: float | None = None
) -> str:
    """Run `argv` and return its standard output; `seconds` are for everything that it waits for, too.

    A failing run is not read_history by the engine, so the next attempt really runs: that is why this reads the
    engine's error instead of allowing any exit code, whose result would be cached.

    Raises:
        StageFailedError: with the tool's last lines, if it exits non-zero.
        NotReadyError: when time is up.
    """
    try:
        with anyio.fail_after(seconds):
            return await container.with_exec(list(argv)).stdout()
    except TimeoutError as error:
        raise NotReadyError(f"{what}: `{' '.join(argv)}` was not done within {seconds} s", hint=hint) from error
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


async def gather(*members: Callable[[], Awaitable[T]]) -> list[T]:
    """Call and await all at the same time; return what they gave, in their order. The first failure stops the others.

    Raises:
        SlipwayError: the failure, or one error that shows all that happened.
    """
    given: dict[int, T] = {}

    async def keep(position: int, member: Callable[[], Awaitable[T]]) -> None:
        given[position] = await member()

    failures: list[SlipwayError] = []
    try:
        async with anyio.create_task_group() as tasks:
            for position, member in enumerate(members):
                tasks.start_soon(keep, position, member)
    except BaseExceptionGroup as group:
        failures = [cause for cause in causes(group) if isinstance(cause, SlipwayError)]
        if not failures:
            raise
    if failures:
        raise joined(failures)
    return [given[position] for position in range(len(members))]


def run_id() -> str:
    """Return a value that no run had before: an input for execs that must not be answered from cache."""
    return uuid.uuid4().hex
