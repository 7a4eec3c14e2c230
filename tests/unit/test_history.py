import dataclasses
import datetime
import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from pipeline.core import clock
from pipeline.core.errors import NotPromotableError
from pipeline.kubernetes.manifests import Manifest
from pipeline.observe import history
from pipeline.observe.events import EventType, HistoryEvent
from pipeline.observe.history import History, to_config_map
from pipeline.observe.history_report import history_document, history_table
from pipeline.observe.records import digest_of_commit, fold, last_verified, rollback_candidates, verification_of

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"
A, B, C = (f"ghcr.io/org/app@sha256:{digit * 64}" for digit in "abc")
NOW = "2026-01-10T00:00:00Z"
WEEK = datetime.timedelta(days=7)


def started(run: str, reference: str, day: int, **details: object) -> HistoryEvent:
    known = {"action": "deploy", "reference": reference}
    return HistoryEvent(run, EventType.STARTED, f"2026-01-{day:02}T00:00:00Z", known | details)


def ended(run: str, event: EventType, day: int, **details: object) -> HistoryEvent:
    return HistoryEvent(run, event, f"2026-01-{day:02}T00:01:00Z", details)


def verified(run: str, reference: str, day: int) -> list[HistoryEvent]:
    return [started(run, reference, day), ended(run, EventType.VERIFIED, day)]


def failed(run: str, reference: str, day: int) -> list[HistoryEvent]:
    return [started(run, reference, day), ended(run, EventType.FAILED, day)]


def stored(events: Sequence[HistoryEvent]) -> list[Manifest]:
    """Return the ConfigMaps of events, numbered from 1."""
    numbered = [dataclasses.replace(event, number=number) for number, event in enumerate(events, 1)]
    return [to_config_map(event, service="app", environment="staging") for event in numbered]


def config_map(name: str) -> Manifest:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}}


def test_the_last_verified_run_is_not_one_that_was_only_deployed_or_failed():
    events = [
        *verified("1", A, 1),
        started("2", B, 2),
        ended("2", EventType.DEPLOYED, 2),
        *failed("3", B, 3),
        started("4", B, 4),
    ]
    records = fold(events)
    assert [record.result for record in records] == ["verified", "deployed", "failed", "running"]
    last = last_verified(records)
    assert last
    assert (last.run, last.seconds) == ("1", 60)


@pytest.mark.parametrize(
    ("events", "problem"),
    [
        ([], "nothing was ever deployed"),
        (verified("1", B, 9), "was never deployed"),
        ([started("1", A, 9)], "is running"),
        ([*verified("1", A, 8), *failed("2", A, 9)], "is failed, though an earlier run was verified"),
        (verified("1", A, 1), "9 days ago, more than 7 days"),
    ],
)
def test_only_a_fresh_last_verification_is_promoted(
    monkeypatch: pytest.MonkeyPatch, events: list[HistoryEvent], problem: str
):
    monkeypatch.setattr(clock, "now", lambda: clock.parse(NOW))
    with pytest.raises(NotPromotableError, match=problem):
        verification_of(fold(events), "staging", A.partition("@")[2], max_age=WEEK)


def test_the_commit_names_the_digest_that_was_deployed_last():
    records = fold([started("1", A, 1, commit="one"), started("2", B, 2, commit="one")])
    assert digest_of_commit(records, "staging", "one") == B.partition("@")[2]
    with pytest.raises(NotPromotableError, match="commit two was never deployed to staging"):
        digest_of_commit(records, "staging", "two")


def test_an_event_is_read_as_it_was_stored():
    event = started("1", A, 1, started_by="me", unsigned="x")
    numbered = dataclasses.replace(event, number=7)
    past = History.read(
        [to_config_map(numbered, service="app", environment="staging", attachments={"manifests": "[]", "test": ""})]
    )
    assert (list(past.events), past.next_number) == ([numbered], 8)
    assert (past.attachment("1", "manifests"), past.attachment("1", "test")) == ("[]", "")
    assert past.manifests("2") == []


def test_events_of_version_0_1_are_read_for_ever():
    config_maps = json.loads((FIXTURES / "history-0.1" / "config-maps.json").read_text())
    assert {json.loads(line)["event"] for c in config_maps for line in c["data"]["event"].splitlines()} == {
        "begun", "deployed", "proven", "failed", "restored", "unrestored",
    }  # fmt: skip
    past = History.read(config_maps)
    assert (past.environment, past.next_number) == ("staging", 17)
    results = [(record.run, record.action, record.result) for record in past.deployments]
    assert results == [
        ("r1", "deploy", "failed"),
        ("r2", "deploy", "verified"),
        ("r3", "promote", "failed"),
        ("r4", "deploy", "verified"),
        ("r5", "rollback", "verified"),
        ("r6", "deploy", "running"),
    ]
    first, second, third, _, fifth, _ = past.deployments
    assert (first.failed_at, first.problem) == ("2026-01-02T10:01:00.000Z", "deploy to staging: not done within 300 s")
    assert (second.verified_at, second.attempts, second.url) == (
        "2026-01-03T10:02:00.000Z",
        2,
        "https://staging.example.com",
    )
    assert (second.committed_at, second.started_by) == (
        "2026-01-01T09:00:00Z",
        "system:serviceaccount:app-staging:slipway",
    )
    assert second.unsigned == "ghcr.io/org/app is not signed"
    assert (third.approved_by, third.replaced_digest, third.rolled_back_to) == ("Ada", A.partition("@")[2], A)
    assert (fifth.replaced_digest, fifth.started_at) == (C.partition("@")[2], "2026-01-06T10:00:00.000Z")
    assert past.existing_before("r1") == {"configmap/app"}
    assert past.manifests("r4") == [config_map("app")]
    target = last_verified(past.deployments)
    assert target
    assert target.run == "r5"
    # What is compacted from now on keeps the form in which it was written.
    archive = past.archive(past.config_maps[1:3], service="app")
    assert '"event": "restored"' in archive["data"]["event"]


def test_old_events_are_compacted_but_never_those_of_the_last_verified_run():
    many = [*verified("0", A, 1), *(started(str(n), B, 2) for n in range(1, 110))]
    compactable = History.read(stored(many)).compactable()
    assert [history.number_of(item) for item in compactable] == list(range(3, 12))
    later = [*many, *verified("x", A, 3)]
    config_maps = stored(later)
    past = History.read(config_maps)
    old = past.compactable()
    assert len(old) == len(later) - history.SINGLE_EVENTS
    archive = past.archive(old, service="app")
    assert list(History.read([archive, *config_maps[len(old) :]]).events) == list(past.events)
    assert [dataclasses.replace(event, number=0) for event in past.events] == later


def test_an_archive_fits_into_a_config_map_and_keeps_the_order():
    many = verified("0", A, 1)
    many += [ended(str(n), EventType.FAILED, 2, problem="x" * 9000) for n in range(1, 600)]
    config_maps = stored(many)
    past = History.read(config_maps)
    old = past.compactable()
    archive = past.archive(old, service="app")
    assert len(json.dumps(archive)) < 1_000_000
    again = History.read([archive, *(item for item in config_maps if item not in old)])
    assert [event.number for event in again.events] == sorted(event.number for event in again.events)
    assert again.events[0].run == "0"  # the verified run's, which was not archived, still comes first
    assert again.events[-1] == past.events[-1]


def test_an_event_that_was_archived_twice_is_kept_once():
    config_maps = stored([started(str(n), B, 2) for n in range(1, 110)])
    past = History.read(config_maps)
    archive = past.archive(past.compactable(), service="app")
    killed = History.read([archive, *config_maps])  # before it deleted what it had archived
    again = killed.archive(killed.compactable(), service="app")
    assert again["data"] == archive["data"]


def test_objects_that_a_run_created_are_distinguished_from_those_that_existed():
    def recorded(number: int, event: HistoryEvent, names: list[str]) -> Manifest:
        attachments = {"manifests": json.dumps([config_map(name) for name in names])}
        numbered = dataclasses.replace(event, number=number)
        return to_config_map(numbered, service="app", environment="staging", attachments=attachments)

    later = started("2", A, 2, existing=["configmap/old", "configmap/both"])
    past = History.read([recorded(1, started("1", A, 1), ["old"]), recorded(2, later, ["old", "both", "new"])])
    assert past.environment == "staging"
    assert past.created_by("2") == ["configmap/new"]
    target = past.deployments[0]
    assert past.created_since(target, []) == ["configmap/new"]
    assert past.created_since(target, [config_map("new")]) == []


def test_a_rollback_never_goes_back_to_what_one_replaced():
    events = [*verified("1", A, 1), *verified("2", B, 2), *verified("3", C, 3)]
    assert [r.run for r in rollback_candidates(fold(events), C.partition("@")[2])] == ["1", "2"]
    back = started("4", B, 4, action="rollback", replaced_digest=C.partition("@")[2])
    events += [back, ended("4", EventType.VERIFIED, 4)]
    assert [r.run for r in rollback_candidates(fold(events), B.partition("@")[2])] == ["1"]
    # The live release was never verified: any that was can be restored.
    assert [r.run for r in rollback_candidates(fold(events), "sha256:other")] == ["1", "2", "3", "4"]


def test_an_event_without_its_start_is_ignored():
    assert fold([ended("1", EventType.ROLLBACK_FAILED, 1)]) == []


def test_the_table_shows_the_newest_first_and_which_run_was_killed():
    user = "system:serviceaccount:app-staging:slipway"
    events = [
        started("1", A, 1, started_by=user),
        *failed("2", B, 2),
        ended("2", EventType.ROLLED_BACK, 2, reference=A),
        started("3", C, 3, approved_by="Ada", unsigned="not signed"),
    ]
    head, third, second, first = history_table(fold(events)).splitlines()
    assert head.split()[:3] == ["started", "action", "digest"]
    assert "running, unsigned" in third
    assert third.endswith("Ada")
    assert f"failed, rolled back to {'a' * 12}" in second
    assert "never ended" in first
    assert first.endswith("app-staging/slipway")


def test_the_document_has_the_fields_of_each_run_and_its_seconds():
    [document] = json.loads(history_document(fold(verified("1", A, 1))))
    assert (document["result"], document["verified_at"], document["seconds"]) == (
        "verified",
        "2026-01-01T00:01:00Z",
        60,
    )
