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


async def run(container: dagger.Container, argv: Sequence[str], *, hint: str = "", seconds: float | None = None) -> str:
    """Run `argv` and return its standard output; `seconds` include everything that it waits for.

    A failing run is not cached by the engine, so the next attempt really runs: that is why this reads the engine's
    error instead of allowing any exit code: that result would be cached.

    Raises:
        StageFailedError: with the tool's last lines, if it exits non-zero.
        NotReadyError: if it has not ended by the deadline.
    """
    command = f"`{' '.join(argv)}`"
    try:
        with anyio.fail_after(seconds):
            return await container.with_exec(list(argv)).stdout()
    except TimeoutError as error:
        raise NotReadyError(f"{command} did not end within {seconds} s", hint=hint) from error
    except dagger.ExecError as error:
        raise StageFailedError(
            f"{command} exited with {error.exit_code}", output=f"{error.stdout}\n{error.stderr}", hint=hint
        ) from error


async def start(service: dagger.Service, seconds: int, *, hint: str) -> None:
    """Start a service and wait until its ports answer; it then lives until the session ends.

    Raises:
        NotReadyError: if it does not answer by the deadline, or ends before.
    """
    try:
        with anyio.fail_after(seconds):
            await service.start()
    except TimeoutError as error:
        raise NotReadyError(f"did not answer within {seconds} s", hint=hint) from error
    except dagger.QueryError as error:
        raise NotReadyError("did not start", output=str(error), hint=hint) from error


async def gather(*members: Callable[[], Awaitable[T]]) -> list[T]:
    """Call and await all at the same time; return their results, in their order. The first failure stops the others.

    Raises:
        SlipwayError: the failure, or one error that shows all that happened.
    """
    results: dict[int, T] = {}

    async def keep(position: int, member: Callable[[], Awaitable[T]]) -> None:
        results[position] = await member()

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
    return [results[position] for position in range(len(members))]


def run_id() -> str:
    """Return a value that no run had before."""
    return uuid.uuid4().hex


def with_run_id(container: dagger.Container) -> dagger.Container:
    """Give a container an input that no run had before: what it then executes is not answered from cache."""
    return container.with_env_variable("SLIPWAY_RUN", run_id())
