"""Runs that are killed, or whose requests fail, at each of their calls; the next run repairs what they left."""

import functools
import itertools
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest

from pipeline.core.errors import RolloutError, SlipwayError, SmokeFailedError
from tests.fakes import cluster
from tests.fakes.cluster import Call, FakeServer
from tests.fakes.tiny import RELEASES, Run, history, killed, leftovers, ship
from tests.fakes.virtual_time import in_virtual_time

DEPLOYMENT = "deployment.apps/tiny"
# Another run's Lease is waited for, and what is asked again and again is asked less often than by default.
TIMING: dict[str, Any] = {"lease_wait_seconds": 200, "poll_seconds": 2, "job_poll_seconds": 2, "stable_seconds": 3}


def nth(number: int) -> Callable[[Call], bool]:
    """Match the call of a number, from 0."""
    count = iter(range(number + 1))
    return lambda _: next(count, None) == number


async def environment(*, empty: bool = False) -> FakeServer:
    """Return a cluster in which a release is verified, or an empty one."""
    fake = FakeServer()
    if not empty:
        await ship(fake)
        await leftovers(fake)
    return fake


async def check_repaired(fake: FakeServer, name: str) -> None:
    """Let the next run ship a release, and check that nothing of the one before is in its way."""
    record = await Run(fake, **TIMING).ship(name, migrates=False)
    assert (record.result, fake.image()) == ("verified", RELEASES[name])
    assert fake.store.objects[DEPLOYMENT]["status"]["availableReplicas"] == 2
    assert await leftovers(fake) == []
    assert (await history(fake))[-1] == record


async def is_killed(run: Run, number: int, work: Callable[[], Awaitable[object]]) -> bool:
    """Do some work of a run, which is killed after its call of a number; False if the work makes fewer calls."""
    run.client.kill(nth(number))
    try:
        await work()
    except BaseException:
        if not run.client.is_dead:
            raise
    return run.client.is_dead


@pytest.mark.parametrize("empty", [True, False])
@in_virtual_time
async def test_a_run_that_is_killed_after_any_call_of_a_deployment_is_repaired_by_the_next(*, empty: bool):
    start = await environment(empty=empty)
    for number in itertools.count():
        fake = start.copied()
        run = Run(fake, **TIMING)
        if not await is_killed(run, number, functools.partial(run.deploy, "better")):
            break
        await check_repaired(fake, "better")
    assert number > 25


@in_virtual_time
async def test_a_run_that_is_killed_after_any_call_of_a_verification_is_repaired_by_the_next():
    start = await environment()
    deployed = Run(start, **TIMING)
    await deployed.deploy("better")
    await leftovers(start)
    for number in itertools.count():
        fake = start.copied()
        run = deployed.resumed(fake)
        if not await is_killed(run, number, run.verify):
            break
        await check_repaired(fake, "better")
    assert number > 10


@in_virtual_time
async def test_a_run_that_is_killed_after_any_call_of_its_recovery_is_repaired_by_the_next():
    start = await environment()
    deployed = Run(start, **TIMING)
    await deployed.deploy("bad", "smoke-fails")
    await leftovers(start)
    for number in itertools.count():
        fake = start.copied()
        run = deployed.resumed(fake)
        try:
            killed_there = await is_killed(run, number, run.verify)
        except SmokeFailedError:
            break
        assert killed_there
        with pytest.raises(RolloutError, match=f"rolled back to {RELEASES['good']}"):
            await Run(fake, **TIMING).deploy("bad", "crash-loop")
        assert (fake.image(), await leftovers(fake)) == (RELEASES["good"], [])
    assert number > 20


@pytest.mark.parametrize("after", [True, False])
@pytest.mark.parametrize("stage", ["deployment", "verification"])
@in_virtual_time
async def test_a_request_that_fails_at_any_call_leaves_the_environment_usable(stage: str, *, after: bool):
    start = await environment()
    deployed = Run(start, **TIMING)
    if stage == "verification":
        await deployed.deploy("better")
        await leftovers(start)
    outcomes = set()
    for number in itertools.count():
        fake = start.copied()
        run = deployed.resumed(fake)
        run.client.fail(nth(number), cluster.UNREACHABLE, after=after)
        problem = ""
        try:
            await (run.deploy("better") if stage == "deployment" else run.verify())
        except SlipwayError as error:
            problem = str(error)
        outcomes.add("cannot be reached" in problem)
        if problem:
            assert "cannot be reached" in problem
            assert (await history(fake))[-1].result != "failed" or fake.image() == RELEASES["good"]
        if run.client.faults:
            break
        await check_repaired(fake, "better")
    assert outcomes == {True, False}


@in_virtual_time
async def test_what_a_killed_first_run_created_is_removed_when_the_next_one_fails():
    fake = FakeServer()
    run = Run(fake)
    with killed(run, cluster.applies):
        await run.deploy()
    with pytest.raises(SlipwayError, match="no release was verified in staging before"):
        await Run(fake, **TIMING).deploy("bad", "image-not-found")
    for kind in ("Deployment", "Service", "ServiceAccount"):
        assert fake.names(kind) == [], kind


@in_virtual_time
async def test_a_run_that_loses_the_lease_stops_and_changes_nothing_more():
    fake = FakeServer()
    await ship(fake)
    run = Run(fake)
    lease = "lease.coordination.k8s.io/slipway-tiny"
    run.client.on(cluster.applies, lambda: fake.edit(lease, "spec", "holderIdentity", value="run-other"))
    with pytest.raises(SlipwayError, match="the Lease slipway-tiny was lost"):
        await run.deploy("better", "never-ready")
    count = len(run.client.calls)
    await anyio.sleep(60)
    assert len(run.client.calls) == count
    assert (await history(fake))[-1].result == "running"
