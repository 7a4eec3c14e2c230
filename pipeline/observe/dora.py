"""The four DORA metrics of an environment, computed from its history. Pure functions.

Source: https://dora.dev/guides/dora-metrics-four-keys/. A change is a run of `deploy` or `promote` that began to change
the environment; a rollback by hand is none, but makes a failure of the change that it takes back.
"""

import dataclasses
import datetime
import json
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from xml.etree import ElementTree as ET

from pipeline.core.errors import InvalidInputError
from pipeline.observe.history import DeploymentRecord, moment

DEFAULT_DAYS = 90
# Up to so many days, the plot has a bar for each of them; else for each week.
DAILY = 31
MARKS = 6
CHANGES = {"deploy", "promote"}


@dataclasses.dataclass(frozen=True, slots=True)
class Window:
    """From when to when, the end excluded; both with their time zone."""

    since: datetime.datetime
    until: datetime.datetime

    @property
    def days(self) -> float:
        """How long it is, in days."""
        return (self.until - self.since) / datetime.timedelta(days=1)

    def holds(self, at: str) -> bool:
        """Whether a time in RFC 3339 lies in it."""
        return self.since <= moment(at) < self.until

    @classmethod
    def parse(cls, since: str, until: str, now: str) -> "Window":
        """Read a window.

        Args:
            since: a date, or a time in RFC 3339; UTC where it has no zone. Empty: 90 days before the end.
            until: the same. Empty: now.
            now: the present time, RFC 3339.

        Raises:
            InvalidInputError: if one is none, or the end is not after the beginning.
        """
        end = _time("until", until or now)
        begin = _time("since", since) if since else end - datetime.timedelta(days=DEFAULT_DAYS)
        if begin >= end:
            raise InvalidInputError(f"dora: {since or begin} is not before {until or now}", hint="give --since earlier")
        return cls(begin, end)


def _time(name: str, text: str) -> datetime.datetime:
    try:
        read = moment(text)
    except ValueError as error:
        raise InvalidInputError(f"--{name} {text!r} is no date or time", hint="such as 2026-01-31") from error
    return read if read.tzinfo else read.replace(tzinfo=datetime.UTC)


@dataclasses.dataclass(frozen=True, slots=True)
class Failure:
    """A change that failed, or was taken back.

    Args:
        began: when that was noticed, RFC 3339.
        restored: when a proven release ran again, RFC 3339; empty while none does.
    """

    run: str
    began: str
    restored: str

    @property
    def seconds(self) -> float | None:
        """How long it took, or None while it is not over."""
        return (moment(self.restored) - moment(self.began)).total_seconds() if self.restored else None


@dataclasses.dataclass(frozen=True, slots=True)
class Metrics:
    """What was measured in a window.

    Args:
        arrived: changes that were deployed, and not found failing until the end of their run.
        failures: changes that failed, or were taken back by a rollback.
        unfinished: runs that never told how they ended.
        lead_times: from commit to proof, in seconds, of each commit that arrived for the first time.
        began: when each change began, by its run.
    """

    window: Window
    arrived: Sequence[DeploymentRecord]
    failures: Sequence[Failure]
    unfinished: int
    lead_times: Sequence[float]
    began: Mapping[str, str]

    @property
    def changes(self) -> int:
        """How many changes there were, that arrived or failed."""
        return len(self.began)

    @property
    def per_week(self) -> float:
        """Deployment frequency: changes that arrived, a week."""
        return len(self.arrived) / self.window.days * 7

    @property
    def lead_time(self) -> float | None:
        """Lead time for changes: the median, in seconds."""
        return statistics.median(self.lead_times) if self.lead_times else None

    @property
    def failure_rate(self) -> float | None:
        """Change failure rate: between 0 and 1."""
        return len(self.failures) / self.changes if self.changes else None

    @property
    def time_to_restore(self) -> float | None:
        """Failed deployment recovery time: the median, in seconds, of the failures that are over."""
        over = [seconds for failure in self.failures if (seconds := failure.seconds) is not None]
        return statistics.median(over) if over else None


def measure(entries: Sequence[DeploymentRecord], window: Window) -> Metrics:
    """Compute the metrics of a window.

    Args:
        entries: all runs, oldest first: also those outside the window, which tell what was new in it.
        window: which changes count: those that began in it.
    """
    taken_back = _taken_back(entries)
    seen: set[str] = set()
    arrived, failures, lead_times = [], [], []
    began: dict[str, str] = {}
    unfinished = 0
    for position, entry in enumerate(entries):
        if entry.action not in CHANGES:
            continue
        first = entry.commit not in seen
        if entry.arrived:
            seen.add(entry.commit)
        if not window.holds(entry.began):
            continue
        if entry.result == "running":
            unfinished += 1
            continue
        began[entry.run] = entry.began
        if entry.arrived:
            arrived.append(entry)
            if first and entry.committed:
                done = moment(entry.proven or entry.ended)
                lead_times.append((done - moment(entry.committed)).total_seconds())
        if entry.result == "failed":
            failures.append(Failure(entry.run, entry.failed, _restored(entries[position:])))
        elif entry.run in taken_back:
            failures.append(taken_back[entry.run])
    return Metrics(window, arrived, failures, unfinished, lead_times, began)


def _taken_back(entries: Sequence[DeploymentRecord]) -> dict[str, Failure]:
    """Return the changes that arrived, and that a later rollback by hand took back, by their run."""
    found = {}
    for position, entry in enumerate(entries):
        if entry.action != "rollback":
            continue
        earlier = (e for e in reversed(entries[:position]) if e.action in CHANGES and e.arrived)
        change = next((e for e in earlier if e.digest == entry.replaced), None)
        if change and change.run not in found:
            found[change.run] = Failure(change.run, entry.began, _restored(entries[position:]))
    return found


def _restored(entries: Sequence[DeploymentRecord]) -> str:
    """Return when a proven release ran again after the first of the runs failed, or an empty string."""
    for entry in entries:
        if entry.restored:
            return entry.ended
        if entry.result == "proven":
            return entry.proven
    return ""


def readable(seconds: float | None) -> str:
    """Return a duration for people."""
    if seconds is None:
        return "none"
    for unit, size in (("days", 86400), ("h", 3600), ("min", 60)):
        if abs(seconds) >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"


def rows(metrics: Metrics) -> list[tuple[str, str, str]]:
    """Return each metric's name, value and what it was computed of."""
    still_open = sum(failure.seconds is None for failure in metrics.failures)
    rate = metrics.failure_rate
    return [
        (
            "deployment frequency",
            f"{metrics.per_week:.1f} a week",
            f"{len(metrics.arrived)} in {metrics.window.days:.0f} days",
        ),
        (
            "lead time for changes",
            readable(metrics.lead_time),
            f"median of {len(metrics.lead_times)} commits, to proof",
        ),
        (
            "change failure rate",
            "none" if rate is None else f"{rate:.0%}",
            f"{len(metrics.failures)} of {metrics.changes} changes",
        ),
        (
            "time to restore",
            readable(metrics.time_to_restore),
            (f"median of {len(metrics.failures) - still_open}" if metrics.failures else "nothing failed")
            + (f"; {still_open} not restored" if still_open else ""),
        ),
    ]


def table(environment: str, metrics: Metrics) -> str:
    """Return the metrics for the terminal."""
    lines = [headline(environment, metrics), ""]
    lines += [f"  {name:<22} {value:>12}  {of}" for name, value, of in rows(metrics)]
    return "\n".join([*lines, *_remarks(metrics)])


def to_markdown(environment: str, metrics: Metrics) -> str:
    """Return the metrics as Markdown, beside which the plot lies."""
    lines = [f"# {headline(environment, metrics)}", "", "| metric | value | of |", "|---|---:|---|"]
    lines += [f"| {name} | {value} | {of} |" for name, value, of in rows(metrics)]
    return "\n".join([*lines, *_remarks(metrics), "", "![changes over time](dora.svg)", ""])


def headline(environment: str, metrics: Metrics) -> str:
    """Return what was measured, in one line."""
    return f"{environment}, {metrics.window.since:%Y-%m-%d} to {metrics.window.until:%Y-%m-%d}"


def _remarks(metrics: Metrics) -> list[str]:
    if not metrics.unfinished:
        return []
    return ["", f"Left out, because they never told how they ended: {metrics.unfinished}."]


def to_document(environment: str, metrics: Metrics) -> str:
    """Return the metrics as JSON; durations in seconds, null where there was nothing to measure."""
    document: dict[str, Any] = {
        "environment": environment,
        "since": metrics.window.since.isoformat(),
        "until": metrics.window.until.isoformat(),
        "deployments": len(metrics.arrived),
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
    """Return a bar chart of the changes over time, as SVG that loads nothing from elsewhere."""
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
    chart.add("arrived", good)
    chart.add("failed or taken back", bad)
    tree = chart.render_tree()
    # The plot is for reading, and a page that shows it may not want its scripts.
    for parent in list(tree.iter()):
        for child in [child for child in parent if child.tag == "script"]:
            parent.remove(child)
    return str(ET.tostring(tree, encoding="unicode")) + "\n"


def _marks(highest: int) -> list[int]:
    """Return whole numbers for the axis, from 0 to above the highest bar."""
    step = max(1, math.ceil(highest / MARKS))
    return list(range(0, highest + step + 1, step))


def bars(metrics: Metrics) -> tuple[list[str], list[int], list[int]]:
    """Return the plot's bars: each one's first day, how many changes arrived and stayed, and how many failed."""
    step = 1 if metrics.window.days <= DAILY else 7
    count = math.ceil(metrics.window.days / step)
    failed = {failure.run for failure in metrics.failures}

    def counted(times: Iterable[str]) -> list[int]:
        found = [0] * count
        for at in times:
            found[int((moment(at) - metrics.window.since) / datetime.timedelta(days=step))] += 1
        return found

    labels = [f"{metrics.window.since + datetime.timedelta(days=step * bar):%m-%d}" for bar in range(count)]
    good = counted(entry.began for entry in metrics.arrived if entry.run not in failed)
    return labels, good, counted(metrics.began[run] for run in failed)
