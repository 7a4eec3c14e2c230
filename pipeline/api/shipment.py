"""A whole run of the chain, whether it arrived or not."""

import time
from collections.abc import Awaitable
from typing import Annotated, TypeVar

import dagger
from dagger import Doc, dag

from pipeline.core.errors import SlipwayError, causes
from pipeline.core.interfaces import Notifier, tell
from pipeline.core.log import log
from pipeline.core.sdk import field, function, object_type, uncached
from pipeline.report.report import FAILED, PASSED, SKIPPED, Run, Stage, summary, to_json, to_markdown

T = TypeVar("T")

# What the SDK talks to the engine with; it lets their errors through when the engine goes away.
CONNECTION_LIBRARIES = {"gql", "httpx", "tenacity"}
STAGES = ("verify", "build", "scan", "publish", "deploy", "smoke")


class ShipmentFailedError(SlipwayError):
    """A stage failed; the summary says which and why."""


class StageStoppedError(SlipwayError):
    """A stage failed, and its error is in the logbook: the rest is not run."""


class StageRecorder:
    """Times stages, says what happens, and remembers how each went."""

    def __init__(self) -> None:
        self.stages = {name: Stage(name) for name in STAGES}
        self.error = ""

    async def before(self, work: Awaitable[T]) -> T:
        """Await what comes before the first stage.

        Raises:
            StageStoppedError: if it fails, after what it said was noted.
        """
        try:
            return await work
        except Exception as error:
            raise self._stopped(error) from error

    async def stage(self, name: str, work: Awaitable[T]) -> T:
        """Await one stage. Work that neither passed nor failed notes its own result.

        Raises:
            StageStoppedError: if it fails, after what it said was noted.
        """
        stage = self.stages[name]
        began = time.monotonic()
        log(name, "…")
        try:
            done = await work
        except Exception as error:
            stage.result, stage.seconds = FAILED, time.monotonic() - began
            stopped = self._stopped(error)
            stage.detail = self.error.partition("\n")[0].removeprefix(f"{name}: ")
            log(name, f"failed after {stage.seconds:.1f} s")
            raise stopped from error
        stage.seconds = time.monotonic() - began
        if stage.result == SKIPPED:
            stage.result = PASSED
        log(name, f"{stage.result} in {stage.seconds:.1f} s")
        return done

    def _stopped(self, error: Exception) -> StageStoppedError:
        """Note what a failure said."""
        self.error = "\n".join(dict.fromkeys(_told(cause) for cause in causes(error)))
        return StageStoppedError(self.error)


def _told(error: BaseException) -> str:
    """Return our own errors as they are, an engine's with what it is, and a bug as a bug."""
    if isinstance(error, SlipwayError):
        return str(error)
    if isinstance(error, dagger.DaggerError):
        return f"the engine failed: {error}\n  try: run it again; if it comes back, run with --debug"
    if type(error).__module__.partition(".")[0] in CONNECTION_LIBRARIES:
        return f"the connection to the engine was lost ({type(error).__name__})\n  try: run it again"
    return f"unexpected {type(error).__name__}: {error}\n  try: this is a bug in Slipway, please report it"


@object_type
class Shipment:
    """What `ship` did, and the proof of it. A failed one still has its report."""

    passed: Annotated[bool, Doc("Whether every stage passed.")] = field()
    recovered: Annotated[bool, Doc("Whether it passed where the environment's run before did not.")] = field()
    reference: Annotated[str, Doc("host/path@sha256:… of the release, or empty.")] = field()
    error: Annotated[str, Doc("Why it failed, or empty.")] = field()
    table: Annotated[str, Doc("The summary, as the terminal shows it.")] = field()
    markdown: Annotated[str, Doc("The report for people.")] = field()
    document: Annotated[str, Doc("The report for machines: JSON.")] = field()
    evidence: Annotated[dagger.Directory, Doc("What the scanner wrote.")] = field()

    @classmethod
    def of(cls, run: Run, evidence: dagger.Directory) -> "Shipment":
        """Tell of a run that has ended."""
        return cls(
            passed=run.passed,
            recovered=run.recovered,
            reference=run.reference,
            error=run.error,
            table=summary(run),
            markdown=to_markdown(run),
            document=to_json(run),
            evidence=evidence,
        )

    @function
    async def summary(self) -> str:
        """Stage, result and seconds as a table, and the digest. Fails if a stage failed."""
        self._check()
        return self.table

    @function
    def report(self) -> dagger.Directory:
        """The report, also of a failed run: report.md, report.json, and what the scanner wrote in scan/."""
        return (
            dag.directory()
            .with_new_file("report.md", self.markdown)
            .with_new_file("report.json", self.document)
            .with_directory("scan", self.evidence)
        )

    @uncached
    async def notify(self, notifier: Annotated[Notifier, Doc("Any module's object with `notify`.")]) -> "Shipment":
        """Tell of a failure, or of the recovery from one; returns the shipment as it is.

        A notifier that fails, or takes longer than ten seconds, changes nothing.
        """
        if self.recovered or not self.passed:
            await tell(notifier, "recovered" if self.passed else "failed", self.document)
        return self

    @function
    async def sync(self) -> str:
        """End the run: fails if a stage failed. This is what `dagger call ship` alone does."""
        self._check()
        return await self.report().id()

    def _check(self) -> None:
        if not self.passed:
            # An engine puts the error's type before its first line, which would push the table's head aside.
            raise ShipmentFailedError(f"the shipment failed\n\n{self.table}")
