"""One run of the chain: its stages, their results, and what it shipped."""

import dataclasses
from collections.abc import Sequence

from pipeline.report.verdict import Verdict

PASSED, FAILED, SKIPPED, UNAVAILABLE = "passed", "failed", "not run", "unavailable"
MARKS = {PASSED: "✔", FAILED: "✘", SKIPPED: "·", UNAVAILABLE: "!"}


@dataclasses.dataclass(slots=True)
class Stage:
    """The result of one stage.

    Args:
        name: such as build.
        result: passed, failed, not run or unavailable.
        seconds: how long it took.
        detail: one line: its output, or its error.
    """

    name: str
    result: str = SKIPPED
    seconds: float = 0.0
    detail: str = ""

    @property
    def marked_result(self) -> str:
        """The result with its mark, such as `✔ passed`."""
        return f"{MARKS[self.result]} {self.result}"

    @property
    def duration(self) -> str:
        """The seconds with one decimal; empty where the stage did not run."""
        return f"{self.seconds:.1f}" if self.result != SKIPPED else ""


@dataclasses.dataclass(slots=True)
class Run:
    """Everything that a report shows.

    Args:
        name: of the service.
        stages: in their order.
        commit: full hash, or empty where the run failed before it was read.
        dirty: whether the source had uncommitted changes.
        rehearsal: whether registry and environment were throwaway ones.
        environment: the environment in a cluster, such as staging; empty in a rehearsal.
        reference: of the release, host/path@sha256:…; empty where none was published.
        base_image: on which the image was built, host/path@sha256:…
        verdict: of the scan; None where it did not run.
        unsigned: why the release was deployed without a signature, or empty.
        skipped: gates that were skipped by option.
        link: URL of the CI run, or empty.
        after_failure: whether the environment's previous run failed, or never ended.
        error: why the run failed, or empty.
    """

    name: str
    stages: list[Stage]
    commit: str = ""
    dirty: bool = False
    rehearsal: bool = True
    environment: str = ""
    reference: str = ""
    base_image: str = ""
    verdict: Verdict | None = None
    unsigned: str = ""
    skipped: Sequence[str] = ()
    link: str = ""
    after_failure: bool = False
    error: str = ""

    @property
    def passed(self) -> bool:
        """Whether no stage failed and none is missing."""
        return not self.error and all(stage.result in {PASSED, UNAVAILABLE} for stage in self.stages)

    @property
    def recovered(self) -> bool:
        """Whether the run passed and the environment's previous one did not."""
        return self.passed and self.after_failure

    @property
    def headline(self) -> str:
        """One line: what was shipped, from which commit, to where, and whether it passed."""
        kind = "rehearsal of " if self.rehearsal else ""
        commit = f" at {self.commit[:12]}" if self.commit else ""
        changes = " (uncommitted changes)" if self.dirty else ""
        target = f" to {self.environment}" if self.environment else ""
        return f"{kind}{self.name}{commit}{changes}{target}: {PASSED if self.passed else FAILED}"
