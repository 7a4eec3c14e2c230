"""How a run is told: a table for the terminal, Markdown and JSON for the report."""

import dataclasses
import json
import textwrap
from collections.abc import Sequence
from typing import Any

from pipeline.report.verdict import Verdict

PASSED, FAILED, SKIPPED, UNAVAILABLE = "passed", "failed", "not run", "unavailable"
# So that a row of the table fits into a terminal of 100 columns; the whole stands in the report.
DETAIL_WIDTH = 64
MARKS = {PASSED: "✔", FAILED: "✘", SKIPPED: "·", UNAVAILABLE: "!"}


@dataclasses.dataclass(slots=True)
class Stage:
    """How one stage went.

    Args:
        seconds: how long it took.
        detail: one line of what came out, or of what went wrong.
    """

    name: str
    result: str = SKIPPED
    seconds: float = 0.0
    detail: str = ""


@dataclasses.dataclass(slots=True)
class Run:
    """Everything a report tells of.

    Args:
        environment: in a cluster, such as staging; empty where the engine runs the release.
        unsigned: why it was deployed without a signature, or empty.
        skipped: gates that were turned off.
        link: address of the CI run, or empty.
        after_failure: whether the environment's run before failed, or never ended.
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
    def recovered(self) -> bool:
        """Whether it passed where the run before did not."""
        return self.passed and self.after_failure

    @property
    def passed(self) -> bool:
        """Whether every stage did what it should."""
        return not self.error and all(stage.result in {PASSED, UNAVAILABLE} for stage in self.stages)


def table(stages: Sequence[Stage]) -> str:
    """Return the stages as aligned columns: stage, result, seconds, what came out in short."""
    lines = [f"  {'stage':<9} {'result':<13} {'seconds':>7}  detail"]
    for stage in stages:
        seconds = f"{stage.seconds:.1f}" if stage.result != SKIPPED else ""
        result = f"{MARKS[stage.result]} {stage.result}"
        detail = textwrap.shorten(stage.detail, DETAIL_WIDTH, placeholder=" …")
        lines.append(f"  {stage.name:<9} {result:<13} {seconds:>7}  {detail}".rstrip())
    return "\n".join(lines)


def headline(run: Run) -> str:
    """Return in one line how the run ended."""
    kind = "rehearsal of " if run.rehearsal else ""
    ended = "passed" if run.passed else "failed"
    commit = f" at {run.commit[:12]}" if run.commit else ""
    to = f" to {run.environment}" if run.environment else ""
    return f"{kind}{run.name}{commit}{' (uncommitted changes)' if run.dirty else ''}{to}: {ended}"


def summary(run: Run) -> str:
    """Return what ends a run in the terminal: table, error, headline, digest."""
    parts = [table(run.stages)]
    if run.error:
        parts.append(run.error)
    parts.append(headline(run))
    if run.verdict and run.verdict.status.value == UNAVAILABLE:
        parts.append(f"the image was NOT scanned: {run.verdict.reason}")
    if run.skipped:
        parts.append(f"turned off: {', '.join(run.skipped)}")
    if run.unsigned:
        parts.append(f"what is deployed is NOT verified: {run.unsigned}")
    if run.reference:
        parts[-1] += f"\n{run.reference}"
    return "\n\n".join(parts) + "\n"


def to_json(run: Run) -> str:
    """Return the report for machines."""
    document: dict[str, Any] = {
        "result": PASSED if run.passed else FAILED,
        "name": run.name,
        "commit": run.commit,
        "dirty": run.dirty,
        "rehearsal": run.rehearsal,
        "environment": run.environment,
        "reference": run.reference,
        "base_image": run.base_image,
        "unsigned": run.unsigned,
        "skipped": list(run.skipped),
        "link": run.link,
        "recovered": run.recovered,
        "stages": [dataclasses.asdict(stage) for stage in run.stages],
        "scan": dataclasses.asdict(run.verdict) | {"status": run.verdict.status.value} if run.verdict else None,
        "error": run.error,
    }
    return json.dumps(document, indent=2) + "\n"


def to_markdown(run: Run) -> str:
    """Return the report for people."""
    lines = [f"# {'✔' if run.passed else '✘'} {_cell(headline(run))}", ""]
    if run.reference:
        lines += [f"`{run.reference}`", ""]
    if run.skipped:
        lines += [f"**Turned off:** {', '.join(run.skipped)}", ""]
    if run.unsigned:
        lines += [f"**Not verified:** {_cell(run.unsigned)}", ""]
    lines += ["| stage | result | seconds | detail |", "|---|---|---:|---|"]
    for stage in run.stages:
        seconds = f"{stage.seconds:.1f}" if stage.result != SKIPPED else ""
        lines.append(f"| {stage.name} | {MARKS[stage.result]} {stage.result} | {seconds} | {_cell(stage.detail)} |")
    if run.error:
        lines += ["", "## What failed", "", *_block(run.error)]
    if run.verdict:
        lines += ["", "## Scan", "", *_scan(run.verdict)]
    if run.base_image:
        lines += ["", f"Built on `{run.base_image}`."]
    return "\n".join(lines) + "\n"


def _scan(verdict: Verdict) -> list[str]:
    if verdict.status.value == UNAVAILABLE:
        return ["**Unavailable: the image was not scanned.**", "", *_block(verdict.reason)]
    counts = ", ".join(verdict.counts) or "no findings"
    lines = [f"{verdict.scanner}, database of {verdict.database}: {verdict.status.value} ({counts})."]
    for title, entries in (
        ("Closing the gate", verdict.blocking),
        ("Ignored, with reason", verdict.ignored),
        ("Warnings", verdict.warnings),
    ):
        if entries:
            lines += ["", f"{title}:", "", *_block("\n".join(entries))]
    return lines


def _cell(text: str) -> str:
    """Return text that cannot break out of a table's cell or a heading."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;").replace("`", "'")


def _block(text: str) -> list[str]:
    """Return text as a code block that its own backticks cannot close."""
    fence = "```"
    while fence in text:
        fence += "`"
    return [f"{fence}text", text, fence]
