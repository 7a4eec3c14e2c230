import datetime
import json
import re
from collections.abc import Sequence
from xml.etree import ElementTree as ET

import pytest

from pipeline.core import clock
from pipeline.core.errors import InvalidInputError
from pipeline.observe import dora, dora_report
from pipeline.observe.events import EventType, HistoryEvent
from pipeline.observe.records import fold

NOW = "2026-03-01T00:00:00Z"
DIGITS = {"one": "1", "two": "2", "three": "3"}


def run(
    name: str, at: str, *events: tuple[EventType, int], of: str = "", action: str = "deploy", **details: object
) -> list[HistoryEvent]:
    """Return a run's events: each event so many minutes after its start, of a commit made an hour before."""
    started_at = datetime.datetime.fromisoformat(f"{at}:00+00:00")
    release = of or name
    details_of_start = {
        "action": action,
        "reference": reference(release),
        "commit": DIGITS[release] * 40,
        "committed_at": (started_at - datetime.timedelta(hours=1)).isoformat(),
    }
    events_of_run = [HistoryEvent(name, EventType.STARTED, started_at.isoformat(), details_of_start | details)]
    for event, minutes in events:
        extra = {"reference": details["rolled_back_to"]} if event is EventType.ROLLED_BACK else {}
        at = (started_at + datetime.timedelta(minutes=minutes)).isoformat()
        events_of_run.append(HistoryEvent(name, event, at, extra))
    return events_of_run


def reference(release: str) -> str:
    return f"ghcr.io/org/app@sha256:{DIGITS[release] * 64}"


def verified(name: str, at: str, minutes: int = 30, **named: object) -> list[HistoryEvent]:
    return run(name, at, (EventType.DEPLOYED, 5), (EventType.VERIFIED, minutes), **named)  # type: ignore[arg-type]


def measure(*runs: Sequence[HistoryEvent], since: str = "2026-02-01", until: str = "2026-03-01") -> dora.Metrics:
    records = fold(event for events in runs for event in events)
    return dora.measure(records, dora.Window.parse(since, until))


def test_changes_that_succeed_are_counted_and_timed_from_their_commit():
    metrics = measure(verified("one", "2026-02-02T10:00"), verified("two", "2026-02-03T10:00", 90))
    assert metrics.per_week == pytest.approx(2 / 28 * 7)
    assert metrics.lead_time == (90 + 150) * 60 / 2
    assert (metrics.failure_rate, metrics.time_to_restore) == (0, None)


def test_a_commit_deployed_again_is_no_new_lead_time():
    again = verified("again", "2026-02-20T10:00", of="one")
    metrics = measure(verified("one", "2026-02-02T10:00"), again)
    assert (len(metrics.succeeded), metrics.lead_times) == (2, [90 * 60])
    # Also where it arrived for the first time before the window.
    assert measure(verified("one", "2026-01-02T10:00"), again).lead_times == []


def test_a_failure_lasts_until_a_verified_release_runs_again():
    failing = run(
        "two", "2026-02-03T10:00", (EventType.FAILED, 10), (EventType.ROLLED_BACK, 14), rolled_back_to=reference("one")
    )
    metrics = measure(verified("one", "2026-02-02T10:00"), failing)
    assert (metrics.failure_rate, metrics.time_to_restore) == (0.5, 4 * 60)


def test_a_failure_without_a_release_to_restore_lasts_until_the_next_verification():
    failing = run("one", "2026-02-03T10:00", (EventType.FAILED, 10), (EventType.ROLLBACK_FAILED, 11))
    metrics = measure(failing, verified("two", "2026-02-03T11:00"))
    assert (metrics.failure_rate, metrics.time_to_restore) == (0.5, 80 * 60)
    still = measure(failing)
    assert (still.failure_rate, still.time_to_restore) == (1, None)
    assert "1 not restored" in dora_report.table("staging", still)


def test_a_rollback_by_hand_makes_the_change_that_it_reverts_a_failed_one():
    digest = reference("two").partition("@")[2]
    back = run(
        "back", "2026-02-05T10:00", (EventType.VERIFIED, 6), of="one", action="rollback", replaced_digest=digest
    )  # fmt: skip
    metrics = measure(verified("one", "2026-02-02T10:00"), verified("two", "2026-02-04T10:00"), back)
    assert (metrics.changes, metrics.failure_rate, metrics.time_to_restore) == (2, 0.5, 6 * 60)
    assert [failure.run for failure in metrics.failures] == ["two"]


def test_runs_that_were_killed_and_runs_outside_the_window_are_left_out():
    metrics = measure(
        run("one", "2026-02-02T10:00"), verified("two", "2026-03-01T00:00"), verified("three", "2026-01-31T23:59")
    )
    assert (metrics.changes, metrics.unfinished) == (0, 1)
    assert (metrics.failure_rate, metrics.lead_time) == (None, None)
    assert "did not record how they ended: 1" in dora_report.to_markdown("staging", metrics)


def test_the_document_is_json_with_seconds():
    document = json.loads(dora_report.to_document("staging", measure(verified("one", "2026-02-02T10:00"))))
    assert document["lead_time_seconds"] == 90 * 60
    assert document["time_to_restore_seconds"] is None
    assert document["since"] == "2026-02-01T00:00:00+00:00"


def test_the_plot_shows_each_change_once_and_loads_nothing():
    digest = reference("two").partition("@")[2]
    back = run("back", "2026-02-05T10:00", (EventType.VERIFIED, 6), of="one", action="rollback", replaced_digest=digest)
    metrics = measure(
        verified("one", "2026-02-02T10:00"),
        verified("two", "2026-02-04T10:00"),
        back,
        verified("three", "2026-02-28T23:59"),
    )
    labels, good, bad = dora_report.bars(metrics)
    assert (len(labels), labels[0], sum(good), sum(bad)) == (28, "02-01", 2, 1)
    svg = dora_report.plot("staging", metrics)
    assert ET.fromstring(svg).tag == "{http://www.w3.org/2000/svg}svg"  # noqa: S314 - made above
    assert "<script" not in svg
    assert not re.search(r"href=|src=|url\(|@import", svg)
    assert svg == dora_report.plot("staging", metrics)


@pytest.mark.parametrize(
    ("since", "until", "problem"),
    [
        ("2026-03-02", "", "is not before"),
        ("yesterday", "", "--since 'yesterday' is not a date or time"),
        ("", "2026-13-01", "--until '2026-13-01' is not a date or time"),
    ],
)
def test_a_malformed_window_is_refused(since: str, until: str, problem: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(clock, "now", lambda: clock.parse(NOW))
    with pytest.raises(InvalidInputError, match=problem):
        dora.Window.parse(since, until)


def test_a_window_without_beginning_and_end_is_that_of_the_last_90_days(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(clock, "now", lambda: clock.parse(NOW))
    window = dora.Window.parse("", "")
    assert (window.until, window.days) == (clock.parse(NOW), 90)


@pytest.mark.parametrize(("seconds", "text"), [(None, "none"), (90, "90 s"), (600, "10.0 min"), (172800, "2.0 days")])
def test_a_duration_is_readable(seconds: float | None, text: str):
    assert dora_report.readable(seconds) == text


def test_a_long_window_has_a_bar_for_each_week():
    measured = measure(verified("one", "2026-02-02T10:00"), since="2026-01-01")
    labels, good, _ = dora_report.bars(measured)
    assert (len(labels), sum(good)) == (9, 1)
