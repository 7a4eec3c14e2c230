"""One run at a time: the Lease is waited for, taken over, renewed, lost and released."""

import datetime
import functools
import itertools
from collections.abc import Callable

import anyio
import pytest

from pipeline.core import clock
from pipeline.core.errors import BusyError, ClusterError
from pipeline.kubernetes import lease
from pipeline.kubernetes.lease import Hold
from tests.fakes import cluster
from tests.fakes.cluster import Call, FakeClient, FakeServer
from tests.fakes.virtual_time import in_virtual_time, now

NAME = "slipway-tiny"
IDENTITY = f"lease.coordination.k8s.io/{NAME}"


def renews(call: Call) -> bool:
    return call.method == "replace"


def holder(fake: FakeServer) -> str | None:
    found = fake.store.objects.get(IDENTITY)
    return found["spec"]["holderIdentity"] if found else None


def version(fake: FakeServer) -> str:
    return str(fake.store.objects[IDENTITY]["metadata"]["resourceVersion"])


def other_run(fake: FakeServer, seconds_ago: float = 0) -> None:
    """Let another run hold the Lease, renewed some seconds ago."""
    at = (now() - datetime.timedelta(seconds=seconds_ago)).isoformat()
    spec = {"holderIdentity": "run-other", "leaseDurationSeconds": 60, "renewTime": at}
    fake.store.create(
        {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": NAME}, "spec": spec}
    )


async def hold_until_cancelled(client: FakeClient, action: Callable[[], object]) -> None:
    """Hold the Lease, and do something that must cancel the body."""
    async with lease.hold(client, NAME, "run-1", seconds=5):
        action()
        await anyio.sleep(1000)
        pytest.fail("it was not cancelled")


@in_virtual_time
async def test_a_lease_is_renewed_while_it_is_held_and_released_afterwards():
    fake = FakeServer()
    client = FakeClient(fake)
    async with lease.hold(client, NAME, "run-1", seconds=5) as own:
        assert await own.is_current()
        await anyio.sleep(600)
        assert await own.is_current()
    assert holder(fake) is None
    times = [clock.parse(call.manifests[0]["spec"]["renewTime"]) for call in client.calls if renews(call)]
    assert all(15 <= (later - earlier).total_seconds() < 16 for earlier, later in itertools.pairwise(times[:-1]))
    assert (now() - times[-2]).total_seconds() < 16


@in_virtual_time
async def test_a_released_lease_is_acquired_at_once():
    fake = FakeServer()
    for name in ("run-1", "run-2"):
        async with lease.hold(FakeClient(fake), NAME, name, seconds=0):
            assert str(holder(fake)).startswith(name)
    assert anyio.current_time() < 2


@in_virtual_time
async def test_a_lease_that_another_run_renews_is_waited_for_until_the_deadline():
    fake = FakeServer()
    async with lease.hold(FakeClient(fake), NAME, "run-1", seconds=5):
        started = anyio.current_time()
        with pytest.raises(BusyError, match=r"run-1.* holds slipway-tiny, renewed at 2026-01-05"):
            async with lease.hold(FakeClient(fake), NAME, "run-2", seconds=200):
                pytest.fail("it was never free")
        assert anyio.current_time() - started == pytest.approx(200, abs=1)


@in_virtual_time
async def test_a_lease_that_is_not_renewed_is_taken_over_after_its_duration():
    fake = FakeServer()
    other_run(fake)
    async with lease.hold(FakeClient(fake), NAME, "run-2", seconds=200):
        assert lease.DURATION < anyio.current_time() < lease.DURATION + 5


@in_virtual_time
async def test_a_lease_that_expired_long_ago_is_taken_over_at_once():
    fake = FakeServer()
    other_run(fake, seconds_ago=3600)
    async with lease.hold(FakeClient(fake), NAME, "run-2", seconds=5):
        assert anyio.current_time() < 1


@in_virtual_time
async def test_of_two_runs_that_come_at_once_one_waits_for_the_other():
    fake = FakeServer()
    inside: list[str] = []

    async def run(name: str) -> None:
        async with lease.hold(FakeClient(fake), NAME, name, seconds=100):
            assert not inside
            inside.append(name)
            await anyio.sleep(10)
            inside.remove(name)

    async with anyio.create_task_group() as tasks:
        for name in ("run-1", "run-2", "run-3"):
            tasks.start_soon(run, name)
    assert holder(fake) is None


@in_virtual_time
async def test_of_two_runs_that_take_over_at_once_one_waits_for_the_other():
    fake = FakeServer()
    other_run(fake, seconds_ago=3600)
    client = FakeClient(fake)
    # Between reading and replacing it, a third run is faster.
    client.on(
        lambda call: call.method == "get", lambda: fake.edit(IDENTITY, "spec", "renewTime", value=now().isoformat())
    )
    with pytest.raises(BusyError):
        async with lease.hold(client, NAME, "run-2", seconds=5):
            pytest.fail("it was taken over by another run")


@in_virtual_time
async def test_a_body_is_cancelled_when_another_run_takes_the_lease():
    fake = FakeServer()
    with pytest.raises(BusyError, match="the Lease slipway-tiny was lost, so this run stopped"):
        await hold_until_cancelled(
            FakeClient(fake), lambda: fake.edit(IDENTITY, "spec", "holderIdentity", value="run-other")
        )
    assert holder(fake) == "run-other"
    assert anyio.current_time() < 20


@in_virtual_time
async def test_a_body_is_cancelled_when_the_lease_expires_during_an_outage():
    fake = FakeServer()
    with pytest.raises(BusyError, match="was lost"):
        await hold_until_cancelled(FakeClient(fake), lambda: fake.outage(1000))
    assert anyio.current_time() == pytest.approx(lease.DURATION, abs=lease.RENEW_SECONDS + 1)


@in_virtual_time
async def test_a_renewal_that_hangs_does_not_outlive_the_lease():
    fake = FakeServer()
    client = FakeClient(fake)
    with pytest.raises(BusyError, match="was lost"):
        await hold_until_cancelled(client, lambda: client.hang(renews))
    # The release, which hangs as well, is given up after the Lease's duration.
    assert anyio.current_time() == pytest.approx(2 * lease.DURATION, abs=1)


@in_virtual_time
async def test_a_short_outage_is_survived():
    fake = FakeServer()
    async with lease.hold(FakeClient(fake), NAME, "run-1", seconds=5) as own:
        fake.outage(40)
        await anyio.sleep(100)
        assert await own.is_current()


@in_virtual_time
async def test_a_lost_reply_to_a_renewal_does_not_end_the_run():
    fake = FakeServer()
    client = FakeClient(fake)
    async with lease.hold(client, NAME, "run-1", seconds=5) as own:
        await anyio.sleep(10)
        # The server renews it, kubectl gets no reply and repeats the request: that is a conflict.
        client.on(lambda call: call.method == "get", lambda: fake.store.replace(own.manifest(version(fake))))
        await anyio.sleep(60)
        assert await own.is_current()


@in_virtual_time
async def test_a_failure_of_the_body_is_raised_as_it_is():
    fake = FakeServer()
    with pytest.raises(ValueError, match="boom"):
        async with lease.hold(FakeClient(fake), NAME, "run-1", seconds=5):
            raise ValueError("boom")
    assert holder(fake) is None


@in_virtual_time
async def test_a_lease_with_a_lost_reply_to_its_creation_is_released():
    fake = FakeServer()
    client = FakeClient(fake)
    client.fail(cluster.creates("Lease"), cluster.BROKEN, after=True)
    with pytest.raises(ClusterError):
        async with lease.hold(client, NAME, "run-1", seconds=5):
            pytest.fail("it was not acquired")
    assert holder(fake) is None


@in_virtual_time
async def test_a_lease_that_is_held_by_this_run_already_is_acquired():
    fake = FakeServer()
    own = Hold(FakeClient(fake), NAME, "run-1")
    await own.client.create(own.manifest())
    await lease._acquire(own, 0)  # noqa: SLF001 - after a create that KubectlClient repeated
    assert await own.is_current()


@pytest.mark.parametrize("times", [0, 1, 3])
@in_virtual_time
async def test_a_lease_is_released_though_a_renewal_comes_between(times: int):
    fake = FakeServer()
    client = FakeClient(fake)
    own = Hold(client, NAME, "run-1")
    await client.create(own.manifest())
    for second in range(times):
        renewed = f"2026-01-05T12:00:0{second}Z"
        renew = functools.partial(fake.edit, IDENTITY, "spec", "renewTime", value=renewed)
        client.on(lambda call: call.method == "get", renew)
    await own.release()
    assert holder(fake) is None


@in_virtual_time
async def test_a_lease_that_cannot_be_released_expires_by_itself():
    fake = FakeServer()
    client = FakeClient(fake)
    async with lease.hold(client, NAME, "run-1", seconds=5):
        client.fail(renews, cluster.UNREACHABLE)
    assert str(holder(fake)).startswith("run-1")
    async with lease.hold(FakeClient(fake), NAME, "run-2", seconds=200):
        assert anyio.current_time() < lease.DURATION + 5


@in_virtual_time
async def test_another_runs_lease_is_not_released():
    fake = FakeServer()
    other_run(fake)
    await Hold(FakeClient(fake), NAME, "run-1").release()
    assert holder(fake) == "run-other"
