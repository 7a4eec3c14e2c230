"""The four DORA metrics of an environment, computed from its history. Pure functions.

Source: https://dora.dev/guides/dora-metrics-four-keys/. A change is a run of `deploy` or `promote` that began to change
the environment. A rollback by hand is not a change, but makes the change that it reverts a failed one.
"""

import dataclasses
import datetime
import statistics
from collections.abc import Mapping, Sequence

from pipeline.core import clock
from pipeline.core.errors import InvalidInputError
from pipeline.observe.records import DeploymentRecord

DEFAULT_DAYS = 90
CHANGES = {"deploy", "promote"}


@dataclasses.dataclass(frozen=True, slots=True)
class Window:
    """A period of time, its end excluded; both ends have a time zone."""

    since: datetime.datetime
    until: datetime.datetime

    @property
    def days(self) -> float:
        """Its length in days."""
        return (self.until - self.since) / datetime.timedelta(days=1)

    def contains(self, at: str) -> bool:
        """Whether a time in RFC 3339 lies in it."""
        return self.since <= clock.parse(at) < self.until

    @classmethod
    def parse(cls, since: str, until: str) -> "Window":
        """Read a window.

        Args:
            since: a date, or a time in RFC 3339; UTC where it has no zone. Empty: 90 days before the end.
            until: the same. Empty: now.

        Raises:
            InvalidInputError: if one is malformed, or the end is not after the beginning.
        """
        end = _time("until", until) if until else clock.now()
        begin = _time("since", since) if since else end - datetime.timedelta(days=DEFAULT_DAYS)
        if begin >= end:
            raise InvalidInputError(f"dora: {since or begin} is not before {until or end}", hint="give --since earlier")
        return cls(begin, end)


def _time(name: str, text: str) -> datetime.datetime:
    try:
        time = clock.parse(text)
    except ValueError as error:
        raise InvalidInputError(f"--{name} {text!r} is not a date or time", hint="such as 2026-01-31") from error
    return time if time.tzinfo else time.replace(tzinfo=datetime.UTC)


@dataclasses.dataclass(frozen=True, slots=True)
class Failure:
    """A change that failed, or that a rollback reverted.

    Args:
        run: of the change.
        noticed_at: when the failure was noticed, RFC 3339.
        restored_at: when a verified release ran again, RFC 3339; empty while none does.
    """

    run: str
    noticed_at: str
    restored_at: str

    @property
    def seconds(self) -> float | None:
        """How long it lasted, or None while it lasts."""
        if not self.restored_at:
            return None
        return (clock.parse(self.restored_at) - clock.parse(self.noticed_at)).total_seconds()


@dataclasses.dataclass(frozen=True, slots=True)
class Metrics:
    """What was measured in a window.

    Args:
        window: the period.
        succeeded: changes that were deployed, and did not fail by the end of their run.
        failures: changes that failed, or that a rollback reverted.
        unfinished: how many runs did not record how they ended.
        lead_times: seconds from commit to verification, of each commit that was deployed for the first time.
        started_at: when each change began, by its run.
    """

    window: Window
    succeeded: Sequence[DeploymentRecord]
    failures: Sequence[Failure]
    unfinished: int
    lead_times: Sequence[float]
    started_at: Mapping[str, str]

    @property
    def changes(self) -> int:
        """How many changes succeeded or failed."""
        return len(self.started_at)

    @property
    def per_week(self) -> float:
        """Deployment frequency: changes that succeeded, per week."""
        return len(self.succeeded) / self.window.days * 7

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
        """Failed deployment recovery time: the median, in seconds, of the failures that ended."""
        ended = [seconds for failure in self.failures if (seconds := failure.seconds) is not None]
        return statistics.median(ended) if ended else None


def measure(records: Sequence[DeploymentRecord], window: Window) -> Metrics:
    """Compute the metrics of a window.

    Args:
        records: all runs, oldest first; those before the window show which commits were new in it.
        window: changes that began in it count.
    """
    reverted = _reverted(records)
    changes = [(position, record) for position, record in enumerate(records) if record.action in CHANGES]
    counted = [(position, record) for position, record in changes if window.contains(record.started_at)]
    ended = [(position, record) for position, record in counted if record.result != "running"]
    failures = []
    for position, record in ended:
        if record.result == "failed":
            failures.append(Failure(record.run, record.failed_at, _restored_at(records[position:])))
        elif record.run in reverted:
            failures.append(reverted[record.run])
    return Metrics(
        window=window,
        succeeded=[record for _, record in ended if record.is_deployed],
        failures=failures,
        unfinished=len(counted) - len(ended),
        lead_times=_lead_times([record for _, record in changes], window),
        started_at={record.run: record.started_at for _, record in ended},
    )


def _lead_times(changes: Sequence[DeploymentRecord], window: Window) -> list[float]:
    """Return the seconds from commit to verification, of commits that the window's changes deployed first."""
    seen: set[str] = set()
    lead_times = []
    for record in changes:
        if not record.is_deployed or record.commit in seen:
            continue
        seen.add(record.commit)
        if record.committed_at and window.contains(record.started_at):
            arrived_at = clock.parse(record.verified_at or record.ended_at)
            lead_times.append((arrived_at - clock.parse(record.committed_at)).total_seconds())
    return lead_times


def _reverted(records: Sequence[DeploymentRecord]) -> dict[str, Failure]:
    """Return the changes that succeeded and that a later rollback by hand reverted, by their run."""
    reverted: dict[str, Failure] = {}
    for position, record in enumerate(records):
        if record.action != "rollback":
            continue
        earlier = (item for item in reversed(records[:position]) if item.action in CHANGES and item.is_deployed)
        change = next((item for item in earlier if item.digest == record.replaced_digest), None)
        if change and change.run not in reverted:
            reverted[change.run] = Failure(change.run, record.started_at, _restored_at(records[position:]))
    return reverted


def _restored_at(records: Sequence[DeploymentRecord]) -> str:
    """Return when a verified release ran again after the first of the runs failed, or an empty string."""
    for record in records:
        if record.rolled_back_to:
            return record.ended_at
        if record.result == "verified":
            return record.verified_at
    return ""
