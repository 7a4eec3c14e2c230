"""The report of a run for people: Markdown, in which no text of the run can become markup."""

from pipeline.core.table import markdown_cell, markdown_table
from pipeline.report.run import FAILED, MARKS, PASSED, UNAVAILABLE, Run
from pipeline.report.verdict import Verdict


def to_markdown(run: Run) -> str:
    """Return the report."""
    lines = [f"# {MARKS[PASSED if run.passed else FAILED]} {markdown_cell(run.headline)}", ""]
    if run.reference:
        lines += [f"`{run.reference}`", ""]
    if run.skipped:
        lines += [f"**Skipped gates:** {', '.join(run.skipped)}", ""]
    if run.unsigned:
        lines += [f"**Not verified:** {markdown_cell(run.unsigned)}", ""]
    rows = [(stage.name, stage.marked_result, stage.duration, stage.detail) for stage in run.stages]
    lines += markdown_table(("stage", "result", "seconds", "detail"), rows, right=[2])
    if run.error:
        lines += ["", "## Error", "", *_block(run.error)]
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
        ("Blocking", verdict.blocking),
        ("Ignored, with reason", verdict.ignored),
        ("Warnings", verdict.warnings),
    ):
        if entries:
            lines += ["", f"{title}:", "", *_block("\n".join(entries))]
    return lines


def _block(text: str) -> list[str]:
    """Return text as a code block that its own backticks cannot close."""
    fence = "```"
    while fence in text:
        fence += "`"
    return [f"{fence}text", text, fence]
