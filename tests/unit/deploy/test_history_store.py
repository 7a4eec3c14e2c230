"""The history in the cluster: numbers, compaction, and writers that meet."""

import pytest

from pipeline.core.errors import ClusterError
from pipeline.observe import history
from pipeline.observe.events import EventType
from pipeline.observe.history import number_of
from tests.fakes import cluster
from tests.fakes.cluster import FakeServer
from tests.fakes.tiny import RELEASES, Run, ship
from tests.fakes.virtual_time import in_virtual_time


@in_virtual_time
async def test_a_number_that_another_writer_used_is_skipped():
    fake = FakeServer()
    first, second = Run(fake), Run(fake)
    past = await first.context.store.read()
    await second.context.record(past, second.id, EventType.STARTED)
    written = await first.context.record(past, first.id, EventType.STARTED)
    assert [event.number for event in written.events] == [2]
    assert [event.run for event in (await first.context.store.read()).events] == [second.id, first.id]


@in_virtual_time
async def test_old_events_are_compacted_and_the_last_verified_release_can_still_be_restored(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(history, "SINGLE_EVENTS", 6)
    fake = FakeServer()
    await ship(fake)
    for _ in range(4):
        await Run(fake).deploy("better")
    with pytest.raises(Exception, match=f"rolled back to {RELEASES['good']}"):
        await Run(fake).deploy("bad", "crash-loop")
    past = await Run(fake).context.store.read()
    assert [record.result for record in past.deployments] == ["verified", *["deployed"] * 4, "failed"]
    assert number_of(past.config_maps[0]) == 0
    assert len(past.config_maps) <= 1 + 6 + 3 + 1
    assert past.manifests(past.deployments[0].run)
    assert past.manifests(past.deployments[1].run) == []


@in_virtual_time
async def test_a_compaction_that_fails_before_it_deletes_what_it_archived_loses_no_event(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(history, "SINGLE_EVENTS", 1)
    fake = FakeServer()
    await Run(fake).deploy()
    run = Run(fake)
    run.client.fail(lambda call: call.method == "delete" and "history" in str(call.names), cluster.UNREACHABLE)
    past = await run.context.store.read()
    with pytest.raises(ClusterError, match="history: "):
        await run.context.record(past, run.id, EventType.STARTED)
    again = await run.context.store.read()
    assert {event.number for event in again.events} == {1, 2, 3}
    assert len(again.deployments) == 2
