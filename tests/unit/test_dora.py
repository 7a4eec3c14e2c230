import datetime
import json
import re
from collections.abc import Sequence
from xml.etree import ElementTree as ET

import pytest

from pipeline.core.errors import InvalidInputError
from pipeline.observe import dora
from pipeline.observe.history import DeploymentRecord, EventType, HistoryEvent, fold

NOW = "2026-03-01T00:00:00Z"
DIGITS = {"one": "1", "two": "2", "three": "3"}


def run(
    name: str, at: str, *events: tuple[EventType, int], of: str = "", action: str = "deploy", **details: object
) -> list[HistoryEvent]:
    """Return a run's records: each event so many minutes after its beginning, of a commit made an hour before."""
    began = datetime.datetime.fromisoformat(f"{at}:00+00:00")
    release = of or name
    begun = {
        "action": action,
        "reference": reference(release),
        "commit": DIGITS[release] * 40,
        "committed": (began - datetime.timedelta(hours=1)).isoformat(),
    }
    made = [HistoryEvent(name, EventType.BEGUN, began.isoformat(), begun | details)]
    for event, minutes in events:
        told = {"reference": details["restored"]} if event is EventType.RESTORED else {}
        made.append(HistoryEvent(name, event, (began + datetime.timedelta(minutes=minutes)).isoformat(), told))
    return made


def reference(release: str) -> str:
    return f"ghcr.io/org/app@sha256:{DIGITS[release] * 64}"


def proven(name: str, at: str, minutes: int = 30, **named: object) -> list[HistoryEvent]:
    return run(name, at, (EventType.DEPLOYED, 5), (EventType.PROVEN, minutes), **named)  # type: ignore[arg-type]


def measure(*runs: Sequence[HistoryEvent], since: str = "2026-02-01", until: str = "2026-03-01") -> dora.Metrics:
    entries: list[DeploymentRecord] = fold(record for records in runs for record in records)
    return dora.measure(entries, dora.Window.parse(since, until, NOW))


def test_changes_that_arrive_are_counted_and_timed_from_their_commit():
    found = measure(proven("one", "2026-02-02T10:00"), proven("two", "2026-02-03T10:00", 90))
    assert found.per_week == pytest.approx(2 / 28 * 7)
    assert found.lead_time == (90 + 150) * 60 / 2
    assert (found.failure_rate, found.time_to_restore) == (0, None)


def test_a_commit_deployed_again_is_no_new_lead_time():
    again = proven("again", "2026-02-20T10:00", of="one")
    found = measure(proven("one", "2026-02-02T10:00"), again)
    assert (len(found.arrived), found.lead_times) == (2, [90 * 60])
    # Also where it arrived for the first time before the window.
    assert measure(proven("one", "2026-01-02T10:00"), again).lead_times == []


def test_a_failure_lasts_until_what_was_proven_runs_again():
    failing = run(
        "two", "2026-02-03T10:00", (EventType.FAILED, 10), (EventType.RESTORED, 14), restored=reference("one")
    )
    found = measure(proven("one", "2026-02-02T10:00"), failing)
    assert (found.failure_rate, found.time_to_restore) == (0.5, 4 * 60)


def test_a_failure_without_anything_to_go_back_to_lasts_until_the_next_proof():
    failing = run("one", "2026-02-03T10:00", (EventType.FAILED, 10), (EventType.UNRESTORED, 11))
    found = measure(failing, proven("two", "2026-02-03T11:00"))
    assert (found.failure_rate, found.time_to_restore) == (0.5, 80 * 60)
    still = measure(failing)
    assert (still.failure_rate, still.time_to_restore) == (1, None)
    assert "1 not restored" in dora.table("staging", still)


def test_a_rollback_by_hand_makes_a_failure_of_the_change_that_it_takes_back():
    digest = reference("two").partition("@")[2]
    back = run(
        "back", "2026-02-05T10:00", (EventType.PROVEN, 6), of="one", action="rollback", replaced=digest
    )  # fmt: skip
    found = measure(proven("one", "2026-02-02T10:00"), proven("two", "2026-02-04T10:00"), back)
    assert (found.changes, found.failure_rate, found.time_to_restore) == (2, 0.5, 6 * 60)
    assert [failure.run for failure in found.failures] == ["two"]


def test_runs_that_were_killed_and_runs_outside_the_window_are_left_out():
    found = measure(
        run("one", "2026-02-02T10:00"), proven("two", "2026-03-01T00:00"), proven("three", "2026-01-31T23:59")
    )
    assert (found.changes, found.unfinished) == (0, 1)
    assert (found.failure_rate, found.lead_time) == (None, None)
    assert "never told how they ended: 1" in dora.to_markdown("staging", found)


def test_the_document_is_json_with_seconds():
    document = json.loads(dora.to_document("staging", measure(proven("one", "2026-02-02T10:00"))))
    assert document["lead_time_seconds"] == 90 * 60
    assert document["time_to_restore_seconds"] is None
    assert document["since"] == "2026-02-01T00:00:00+00:00"


def test_the_plot_shows_each_change_once_and_loads_nothing():
    digest = reference("two").partition("@")[2]
    back = run("back", "2026-02-05T10:00", (EventType.PROVEN, 6), of="one", action="rollback", replaced=digest)
    found = measure(
        proven("one", "2026-02-02T10:00"),
        proven("two", "2026-02-04T10:00"),
        back,
        proven("three", "2026-02-28T23:59"),
    )
    labels, good, bad = dora.bars(found)
    assert (len(labels), labels[0], sum(good), sum(bad)) == (28, "02-01", 2, 1)
    svg = dora.plot("staging", found)
    assert ET.fromstring(svg).tag == "{http://www.w3.org/2000/svg}svg"  # noqa: S314 - made above
    assert "<script" not in svg
    assert not re.search(r"href=|src=|url\(|@import", svg)
    assert svg == dora.plot("staging", found)


@pytest.mark.parametrize(
    ("since", "until", "words"),
    [
        ("2026-03-02", "", "is not before"),
        ("yesterday", "", "--since 'yesterday' is no date or time"),
        ("", "2026-13-01", "--until '2026-13-01' is no date or time"),
    ],
)
def test_a_window_that_is_none_is_refused(since: str, until: str, words: str):
    with pytest.raises(InvalidInputError, match=words):
        dora.Window.parse(since, until, NOW)
