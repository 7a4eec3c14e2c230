"""Verifying what was deployed, and restoring the last verified release if that fails."""

import anyio
import pytest

from pipeline.core.errors import (
    BusyError,
    ClusterError,
    InvalidInputError,
    NotReadyError,
    RolloutError,
    SmokeFailedError,
)
from pipeline.deploy.rollout import roll_out
from pipeline.observe.events import EventType
from pipeline.observe.records import DeploymentRecord
from tests.fakes import cluster, tiny
from tests.fakes.cluster import FakeServer
from tests.fakes.tiny import RELEASES, Run, history, leftovers, ship
from tests.fakes.virtual_time import in_virtual_time

DEPLOYMENT = "deployment.apps/tiny"
TEST = "export default async () => {};"


@in_virtual_time
async def test_pods_that_crash_after_the_smoke_test_fail_the_verification():
    fake = FakeServer()
    await ship(fake)
    run = Run(fake)
    await run.deploy("bad", "crash-later")
    with pytest.raises(
        RolloutError, match=r"smoke in staging: became unhealthy after the smoke test: pod .* restarted"
    ):
        await run.verify()
    assert (fake.image(), await leftovers(fake)) == (RELEASES["good"], [])


@in_virtual_time
async def test_pods_that_restart_and_are_ready_again_fail_the_verification():
    fake = FakeServer()
    await ship(fake)
    run = Run(fake)
    await run.deploy("bad", "restart-later")
    with pytest.raises(RolloutError, match=r"became unhealthy after the smoke test: pod .* was restarted"):
        await run.verify()
    assert fake.image() == RELEASES["good"]


@in_virtual_time
async def test_readiness_that_flaps_fails_the_verification():
    fake = FakeServer()
    await ship(fake)
    run = Run(fake)
    await run.deploy("bad", "flapping")
    with pytest.raises(RolloutError, match="became unhealthy after the smoke test: 2 of 2 updated, 0 available"):
        await run.verify()
    assert fake.image() == RELEASES["good"]


@in_virtual_time
async def test_a_failing_smoke_test_restores_the_last_verified_release():
    fake = FakeServer()
    await ship(fake)
    run = Run(fake)
    await run.deploy("bad", "smoke-fails")
    with pytest.raises(SmokeFailedError, match=f"{RELEASES['bad']} failed 10 of 10 attempts") as caught:
        await run.verify()
    assert "/readyz failed: 500" in str(caught.value)
    assert f"staging was rolled back to {RELEASES['good']}, and smoke-tested" in str(caught.value)
    assert (fake.image(), await leftovers(fake)) == (RELEASES["good"], [])
    last = (await history(fake))[-1]
    assert (last.result, last.rolled_back_to) == ("failed", RELEASES["good"])


@in_virtual_time
async def test_a_smoke_test_without_a_result_is_a_failure():
    fake = FakeServer()
    with pytest.raises(SmokeFailedError, match="ended without a result"):
        await ship(fake, "bad", "smoke-silent")


@in_virtual_time
async def test_a_smoke_test_that_never_ends_is_stopped_at_its_deadline():
    fake = FakeServer()
    with pytest.raises(NotReadyError, match="not done within 300 s"):
        await ship(fake, "bad", "smoke-hangs")
    assert await leftovers(fake) == []


@in_virtual_time
async def test_a_failing_smoke_test_of_a_first_deployment_removes_what_it_created():
    fake = FakeServer()
    with pytest.raises(SmokeFailedError, match="removed what this run created"):
        await ship(fake, "bad", "smoke-fails")
    assert (fake.names("Deployment"), fake.names("Service")) == ([], [])


@in_virtual_time
async def test_a_release_that_another_run_replaced_is_not_verified():
    fake = FakeServer()
    mine, other = Run(fake), Run(fake)
    await mine.deploy()
    await other.deploy("better")
    with pytest.raises(BusyError, match=rf"another run \({other.id}\) deployed after this one"):
        await mine.verify()
    assert fake.image() == RELEASES["better"]


@in_virtual_time
async def test_nothing_can_be_verified_in_an_empty_history():
    with pytest.raises(BusyError, match="the history is empty"):
        await Run(FakeServer()).verify()


@in_virtual_time
async def test_the_smoke_test_can_be_run_at_an_address():
    fake = FakeServer()
    run = Run(fake)
    await run.deploy("good", "smoke-fails")  # a Job inside the cluster would fail
    record = await run.verify(url="https://staging.example.com", test=TEST)
    assert (record.attempts, record.url) == (3, "https://staging.example.com")
    [(image, test, url, services)] = run.url.asked
    assert (image, url, services) == (tiny.TOOL, "https://staging.example.com", {})
    assert (test.commit, test.test) == (tiny.COMMITS["good"], TEST)


@in_virtual_time
async def test_a_service_of_this_session_is_not_recorded_as_address():
    run = Run(FakeServer())
    await run.deploy()
    service: object = object()
    record = await run.verify(url="http://service:8080", url_service=service)
    assert record.url == ""
    assert run.url.asked[0][3] == {"service": service}


@in_virtual_time
async def test_a_failing_smoke_test_at_an_address_restores_the_release_and_tests_it_where_it_was_verified():
    fake = FakeServer()
    first = Run(fake)
    await first.deploy()
    await first.verify(url="https://one.example.com", test=TEST)
    run = Run(fake)
    await run.deploy("bad")
    run.url.passed = False
    with pytest.raises(SmokeFailedError, match=r"could not be rolled back: .* failed 3 of 10 attempts"):
        await run.verify(url="https://two.example.com")
    assert [(url, test.test) for _, test, url, _ in run.url.asked] == [
        ("https://two.example.com", ""),
        ("https://one.example.com", TEST),
    ]
    assert fake.image() == RELEASES["good"]


@in_virtual_time
async def test_without_a_service_the_smoke_test_needs_an_address():
    fake = FakeServer()
    run = Run(fake)
    objects = [item for item in tiny.manifests() if item["kind"] != "Service"]
    await roll_out(run.context, tiny.request(), objects, run.id)
    with pytest.raises(InvalidInputError, match=r"no Service leads to the pods(.|\n)*or give --url"):
        await run.verify()


@in_virtual_time
async def test_a_rollback_takes_over_fields_that_another_manager_changed():
    fake = FakeServer()
    await ship(fake)
    run = Run(fake)
    await run.deploy("bad", "smoke-fails")
    fake.edit(DEPLOYMENT, "spec", "replicas", value=5)
    with pytest.raises(SmokeFailedError, match="was rolled back"):
        await run.verify()
    assert (fake.image(), fake.store.objects[DEPLOYMENT]["spec"]["replicas"]) == (RELEASES["good"], 2)


@in_virtual_time
async def test_a_rollback_is_completed_though_the_lease_is_lost_meanwhile():
    fake = FakeServer()
    await ship(fake)
    run = Run(fake, poll_seconds=20)  # longer than the Lease goes without a renewal
    await run.deploy("bad", "smoke-fails")
    lease = "lease.coordination.k8s.io/slipway-tiny"
    run.client.on(cluster.applies, lambda: fake.edit(lease, "spec", "holderIdentity", value="run-other"))
    with pytest.raises(SmokeFailedError, match=f"rolled back to {RELEASES['good']}"):
        await run.verify()
    assert (fake.image(), tiny.lease_holder(fake)) == (RELEASES["good"], "run-other")
    assert (await history(fake))[-1].rolled_back_to == RELEASES["good"]


# Rollbacks that fail


@in_virtual_time
async def test_a_rollback_that_fails_is_reported_with_the_failure():
    fake = FakeServer()
    await ship(fake)
    run = Run(fake)
    await run.deploy("bad", "smoke-fails")
    run.client.fail(cluster.applies, cluster.FORBIDDEN)
    with pytest.raises(SmokeFailedError, match="failed 10 of 10 attempts") as caught:
        await run.verify()
    assert "staging could not be rolled back: a permission is missing" in str(caught.value)
    assert "staging needs an operator now" in caught.value.hint
    last = (await history(fake))[-1]
    assert (last.result, last.rolled_back_to) == ("failed", "")
    assert (await Run(fake).context.store.read()).events[-1].type is EventType.ROLLBACK_FAILED


@in_virtual_time
async def test_a_restored_release_that_fails_its_smoke_test_is_no_rollback():
    fake = FakeServer()
    await ship(fake, "good", "restored-fails")
    run = Run(fake)
    await run.deploy("bad", "smoke-fails")
    with pytest.raises(SmokeFailedError, match=f"could not be rolled back: {RELEASES['good']} failed 10 of 10"):
        await run.verify()
    assert (await history(fake))[-1].rolled_back_to == ""


@in_virtual_time
async def test_a_cluster_that_is_lost_before_the_failure_is_recorded_is_reported_with_the_failure():
    fake = FakeServer()
    await ship(fake)
    run = Run(fake)
    await run.deploy("bad", "smoke-fails")
    run.client.fail(cluster.records("failed"), cluster.UNREACHABLE, times=1)
    run.client.fail(cluster.records("rollback-failed"), cluster.UNREACHABLE, times=1)
    with pytest.raises(SmokeFailedError, match=r"failed 10 of 10 attempts; and .* history: .* cannot be reached"):
        await run.verify()
    # The next run repairs it.
    assert (await history(fake))[-1].result == "deployed"
    record = await ship(fake, "better")
    assert (record.result, fake.image()) == ("verified", RELEASES["better"])


@in_virtual_time
async def test_an_outage_during_the_rollout_is_repaired_by_the_next_run():
    fake = FakeServer()
    await ship(fake)
    run = Run(fake)
    run.client.on(cluster.applies, lambda: fake.outage(300))
    with pytest.raises(ClusterError, match=r"cannot be reached.*could not be rolled back"):
        await run.deploy("better")
    assert (await _after(fake, 310))[-1].result == "running"
    record = await Run(fake, lease_wait_seconds=200).ship("better")
    assert (record.result, fake.image(), await leftovers(fake)) == ("verified", RELEASES["better"], [])


async def _after(fake: FakeServer, seconds: float) -> list[DeploymentRecord]:
    await anyio.sleep(seconds)
    return await history(fake)


@in_virtual_time
async def test_a_run_that_lost_the_environment_restores_nothing():
    fake = FakeServer()
    await ship(fake)
    run = Run(fake)
    await run.deploy("bad", "smoke-fails")
    lease = "lease.coordination.k8s.io/slipway-tiny"
    run.client.on(cluster.records("failed"), lambda: fake.edit(lease, "spec", "holderIdentity", value="run-other"))
    with pytest.raises(SmokeFailedError, match="could not be rolled back: another run has taken over"):
        await run.verify()
    assert (fake.image(), tiny.lease_holder(fake)) == (RELEASES["bad"], "run-other")
