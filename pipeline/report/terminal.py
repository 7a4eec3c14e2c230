"""The summary of a run for the terminal, at most 80 columns wide but for what the report quotes in full."""

from collections.abc import Sequence

from pipeline.core.table import text_table
from pipeline.report.run import UNAVAILABLE, Run, Stage

# What the columns stage, result and seconds leave of 80; the report has the whole detail.
DETAIL_WIDTH = 47


def stage_table(stages: Sequence[Stage]) -> str:
    """Return the stages as aligned columns: stage, result, seconds, and the detail, cut to fit."""
    rows = [(stage.name, stage.marked_result, stage.duration, _cut(stage.detail)) for stage in stages]
    return text_table(("stage", "result", "seconds", "detail"), rows, right=[2])


def summary(run: Run) -> str:
    """Return the end of a run: table, error, headline, warnings, and last the reference of the release."""
    parts = [stage_table(run.stages)]
    if run.error:
        parts.append(run.error)
    parts.append(run.headline)
    if run.verdict and run.verdict.status.value == UNAVAILABLE:
        parts.append(f"the image was NOT scanned: {run.verdict.reason}")
    if run.skipped:
        parts.append(f"skipped gates: {', '.join(run.skipped)}")
    if run.unsigned:
        parts.append(f"the deployed image is NOT verified: {run.unsigned}")
    if run.reference:
        parts[-1] += f"\n{run.reference}"
    return "\n\n".join(parts) + "\n"


def _cut(text: str) -> str:
    """Return text in one line, cut to the width of the last column."""
    line = " ".join(text.split())
    return line if len(line) <= DETAIL_WIDTH else f"{line[: DETAIL_WIDTH - 1].rstrip()}…"
