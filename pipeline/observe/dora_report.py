"""The DORA metrics as a table, Markdown, JSON and a plot. Pure functions."""

import dataclasses
import datetime
import json
import math
from collections.abc import Iterable
from typing import Any
from xml.etree import ElementTree as ET

from pipeline.core import clock
from pipeline.core.table import markdown_table, text_table
from pipeline.observe.dora import Metrics

# In a window of up to so many days, the plot has a bar for each day; else for each week.
DAILY_BARS = 31
AXIS_MARKS = 6
HEAD = ("metric", "value", "of")
VALUE_COLUMN = 1


def readable(seconds: float | None) -> str:
    """Return a duration for people."""
    if seconds is None:
        return "none"
    for unit, size in (("days", 86400), ("h", 3600), ("min", 60)):
        if abs(seconds) >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"


def rows(metrics: Metrics) -> list[tuple[str, str, str]]:
    """Return each metric's name, value, and what it was computed of."""
    lasting = sum(failure.seconds is None for failure in metrics.failures)
    rate = metrics.failure_rate
    restored = f"median of {len(metrics.failures) - lasting}" if metrics.failures else "no failures"
    return [
        (
            "deployment frequency",
            f"{metrics.per_week:.1f} a week",
            f"{len(metrics.succeeded)} in {metrics.window.days:.0f} days",
        ),
        (
            "lead time for changes",
            readable(metrics.lead_time),
            f"median of {len(metrics.lead_times)} commits, until verified",
        ),
        (
            "change failure rate",
            "none" if rate is None else f"{rate:.0%}",
            f"{len(metrics.failures)} of {metrics.changes} changes",
        ),
        (
            "time to restore",
            readable(metrics.time_to_restore),
            f"{restored}; {lasting} not restored" if lasting else restored,
        ),
    ]


def table(environment: str, metrics: Metrics) -> str:
    """Return the metrics for the terminal."""
    lines = [headline(environment, metrics), "", text_table(HEAD, rows(metrics), right=[VALUE_COLUMN])]
    return "\n".join([*lines, *_remarks(metrics)])


def to_markdown(environment: str, metrics: Metrics) -> str:
    """Return the metrics as Markdown, which shows the plot in dora.svg."""
    lines = [f"# {headline(environment, metrics)}", "", *markdown_table(HEAD, rows(metrics), right=[VALUE_COLUMN])]
    return "\n".join([*lines, *_remarks(metrics), "", "![changes over time](dora.svg)", ""])


def headline(environment: str, metrics: Metrics) -> str:
    """Return what was measured, in one line."""
    return f"{environment}, {metrics.window.since:%Y-%m-%d} to {metrics.window.until:%Y-%m-%d}"


def _remarks(metrics: Metrics) -> list[str]:
    if not metrics.unfinished:
        return []
    return ["", f"Left out, because they did not record how they ended: {metrics.unfinished}."]


def to_document(environment: str, metrics: Metrics) -> str:
    """Return the metrics as JSON; durations in seconds, null where there was nothing to measure."""
    document: dict[str, Any] = {
        "environment": environment,
        "since": metrics.window.since.isoformat(),
        "until": metrics.window.until.isoformat(),
        "deployments": len(metrics.succeeded),
        "deployments_per_week": metrics.per_week,
        "lead_time_seconds": metrics.lead_time,
        "changes": metrics.changes,
        "change_failure_rate": metrics.failure_rate,
        "time_to_restore_seconds": metrics.time_to_restore,
        "failures": [dataclasses.asdict(failure) | {"seconds": failure.seconds} for failure in metrics.failures],
        "unfinished": metrics.unfinished,
    }
    return json.dumps(document, indent=2) + "\n"


def plot(environment: str, metrics: Metrics) -> str:
    """Return a bar chart of the changes over time, as SVG without references to other files."""
    import pygal  # noqa: PLC0415 - slow to load, and few calls need it
    from pygal.style import Style  # noqa: PLC0415

    labels, good, bad = bars(metrics)
    style = Style(
        background="transparent",
        plot_background="transparent",
        font_family="system-ui, sans-serif",
        colors=("#2f6f4f", "#c0392b"),
    )
    chart = pygal.StackedBar(
        style=style,
        js=(),
        title=f"Changes: {headline(environment, metrics)}",
        legend_at_bottom=True,
        x_label_rotation=45,
        width=900,
        height=380,
        value_formatter=lambda value: f"{value:.0f}",
        y_labels=_marks(max((g + b for g, b in zip(good, bad, strict=True)), default=0)),
        x_labels=labels,
    )
    chart.uuid = "dora"  # the same history gives the same plot
    chart.add("succeeded", good)
    chart.add("failed or reverted", bad)
    tree = chart.render_tree()
    # A page that embeds the plot may forbid scripts.
    for parent in list(tree.iter()):
        for child in [child for child in parent if child.tag == "script"]:
            parent.remove(child)
    return str(ET.tostring(tree, encoding="unicode")) + "\n"


def _marks(highest: int) -> list[int]:
    """Return whole numbers for the axis, from 0 to above the highest bar."""
    step = max(1, math.ceil(highest / AXIS_MARKS))
    return list(range(0, highest + step + 1, step))


def bars(metrics: Metrics) -> tuple[list[str], list[int], list[int]]:
    """Return each bar's first day, how many changes succeeded and were kept, and how many failed."""
    step = 1 if metrics.window.days <= DAILY_BARS else 7
    count = math.ceil(metrics.window.days / step)
    failed = {failure.run for failure in metrics.failures}

    def per_bar(times: Iterable[str]) -> list[int]:
        counts = [0] * count
        for at in times:
            counts[int((clock.parse(at) - metrics.window.since) / datetime.timedelta(days=step))] += 1
        return counts

    labels = [f"{metrics.window.since + datetime.timedelta(days=step * bar):%m-%d}" for bar in range(count)]
    good = per_bar(record.started_at for record in metrics.succeeded if record.run not in failed)
    return labels, good, per_bar(metrics.started_at[run] for run in failed)
