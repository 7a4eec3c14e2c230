"""Recording the stages of a run: how long each took, how it ended, and the error that ended the run."""

from collections.abc import Awaitable
from typing import TypeVar

import dagger

from pipeline.core import clock
from pipeline.core.errors import SlipwayError, StageStoppedError, causes
from pipeline.core.log import log
from pipeline.report.run import FAILED, PASSED, SKIPPED, Stage

T = TypeVar("T")

# What the SDK talks to the engine with; it lets their errors through when the engine goes away.
CONNECTION_LIBRARIES = {"gql", "httpx", "tenacity"}
STAGES = ("check", "build", "scan", "publish", "deploy", "smoke")


class StageRecorder:
    """Times and logs the stages of a run, and keeps the first error."""

    def __init__(self) -> None:
        self.stages = {name: Stage(name) for name in STAGES}
        self.error = ""
        self.cause: BaseException | None = None

    async def preflight(self, work: Awaitable[T]) -> T:
        """Await what comes before the first stage.

        Raises:
            StageStoppedError: if it fails, after its error was recorded.
        """
        try:
            return await work
        except Exception as error:
            raise self._stopped(error) from error

    async def stage(self, name: str, work: Awaitable[T]) -> T:
        """Await one stage. Work that neither passed nor failed records its own result.

        Raises:
            StageStoppedError: if it fails, after its error was recorded.
        """
        stage = self.stages[name]
        began = clock.monotonic()
        log(name, "…")
        try:
            result = await work
        except Exception as error:
            stage.result, stage.seconds = FAILED, clock.monotonic() - began
            stopped = self._stopped(error)
            stage.detail = self.error.partition("\n")[0].removeprefix(f"{name}: ")
            log(name, f"failed after {stage.seconds:.1f} s")
            raise stopped from error
        stage.seconds = clock.monotonic() - began
        if stage.result == SKIPPED:
            stage.result = PASSED
        log(name, f"{stage.result} in {stage.seconds:.1f} s")
        return result

    def _stopped(self, error: Exception) -> StageStoppedError:
        """Record an error."""
        self.cause = error
        self.error = "\n".join(dict.fromkeys(describe(cause) for cause in causes(error)))
        return StageStoppedError(self.error)


def describe(error: BaseException) -> str:
    """Return our own errors as they are, an engine's as such, and everything else as a defect of Slipway."""
    if isinstance(error, SlipwayError):
        return str(error)
    if isinstance(error, dagger.DaggerError):
        return f"the engine failed: {error}\n  try: run it again; if it fails again, run with --debug"
    if type(error).__module__.partition(".")[0] in CONNECTION_LIBRARIES:
        return f"the connection to the engine was lost ({type(error).__name__})\n  try: run it again"
    return f"unexpected {type(error).__name__}: {error}\n  try: this is a bug in Slipway, please report it"
