"""Deploying a release to a cluster in memory. After each: what the cluster holds, not only what was reported."""

import anyio
import pytest

from pipeline.core.errors import BusyError, ClusterError, NotReadyError, RolloutError, StageFailedError
from pipeline.kubernetes import manifests
from tests.fakes import cluster, tiny
from tests.fakes.cluster import FakeServer
from tests.fakes.tiny import RELEASES, Run, history, killed, leftovers, ship
from tests.fakes.virtual_time import in_virtual_time

DEPLOYMENT = "deployment.apps/tiny"


@in_virtual_time
async def test_a_release_is_deployed_by_digest_and_verified():
    fake = FakeServer()
    record = await ship(fake)
    live = fake.store.objects[DEPLOYMENT]
    assert (fake.image(), live["status"]["availableReplicas"]) == (RELEASES["good"], 2)
    annotations = live["metadata"]["annotations"]
    assert (annotations["slipway/by"], annotations["slipway/commit"]) == (cluster.USER, tiny.COMMITS["good"])
    assert await leftovers(fake) == []
    assert await history(fake) == [record]
    assert (record.result, record.action, record.reference) == ("verified", "deploy", RELEASES["good"])
    assert (record.started_by, record.replaced_digest) == (cluster.USER, "")


@in_virtual_time
async def test_deploying_the_same_digest_again_really_deploys():
    fake = FakeServer()
    await ship(fake)
    fake.workloads.delete(DEPLOYMENT)
    await ship(fake)
    assert fake.store.objects[DEPLOYMENT]["status"]["availableReplicas"] == 2


@in_virtual_time
async def test_the_migration_runs_in_the_release_and_the_smoke_test_in_the_tool_image():
    fake = FakeServer()
    run = Run(fake)
    await run.ship()
    created = [call.manifests[0] for call in run.client.calls if cluster.creates("Job")(call)]
    jobs = {job["metadata"]["labels"]["slipway/role"]: job for job in created}
    assert list(jobs) == ["migrate-dry-run", "migrate", "smoke"]
    pods = {role: job["spec"]["template"]["spec"] for role, job in jobs.items()}
    assert {role: pod["containers"][0]["image"] for role, pod in pods.items()} == {
        "migrate-dry-run": RELEASES["good"],
        "migrate": RELEASES["good"],
        "smoke": tiny.TOOL,
    }
    assert pods["migrate"]["serviceAccountName"] == "tiny"
    assert not {"serviceAccountName", "env"} & {*pods["smoke"], *pods["smoke"]["containers"][0]}
    assert "http://tiny.tiny-staging:80" in pods["smoke"]["containers"][0]["command"]


@in_virtual_time
async def test_a_release_without_migrations_runs_none():
    fake = FakeServer()
    run = Run(fake)
    await run.deploy(migrates=False)
    assert not [call for call in run.client.calls if cluster.creates("Job")(call)]
    assert fake.image() == RELEASES["good"]


@pytest.mark.parametrize(
    ("behaviour", "problem", "output"),
    [
        ("never-ready", "not ready within 60 s", "container tiny running"),
        ("image-not-found", "the image cannot be pulled", "ImagePullBackOff"),
        ("crash-loop", "container tiny crashed 4 times", "Error: no DATABASE_URL"),
        ("quota", "no pod can be created", "exceeded quota: small"),
    ],
)
@in_virtual_time
async def test_a_rollout_that_fails_restores_the_last_verified_release(behaviour: str, problem: str, output: str):
    fake = FakeServer()
    await ship(fake)
    with pytest.raises(RolloutError, match=f"deploy to staging: .*{problem}") as caught:
        await Run(fake).deploy("bad", behaviour)
    assert f"staging was rolled back to {RELEASES['good']}" in str(caught.value)
    assert output in str(caught.value)
    assert (fake.image(), await leftovers(fake)) == (RELEASES["good"], [])
    assert fake.store.objects[DEPLOYMENT]["status"]["availableReplicas"] == 2
    last = (await history(fake))[-1]
    assert (last.result, last.rolled_back_to) == ("failed", RELEASES["good"])
    assert problem in last.problem


@in_virtual_time
async def test_two_bad_releases_in_a_row_go_back_to_the_last_verified():
    fake = FakeServer()
    await ship(fake)
    await Run(fake).deploy("better")  # deployed, and never verified
    with pytest.raises(RolloutError, match="crashed"):
        await Run(fake).deploy("bad", "crash-loop")
    assert fake.image() == RELEASES["good"]


@in_virtual_time
async def test_a_first_deployment_that_fails_leaves_nothing_behind():
    fake = FakeServer()
    with pytest.raises(RolloutError, match="no release was verified in staging before: removed what this run created"):
        await Run(fake).deploy("bad", "image-not-found", extra="settings")
    for kind in ("Deployment", "Service", "ServiceAccount", "Job"):
        assert fake.names(kind) == [], kind
    assert "settings" not in fake.names("ConfigMap")
    [record] = await history(fake)
    assert (record.result, record.rolled_back_to) == ("failed", "")


@in_virtual_time
async def test_a_first_deployment_that_fails_keeps_what_existed_before_and_names_it():
    fake = FakeServer()
    fake.store.create({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "tiny"}}, "kubectl")
    with pytest.raises(RolloutError, match="changed, and not removed: serviceaccount/tiny"):
        await Run(fake).deploy("bad", "image-not-found")
    assert fake.names("ServiceAccount") == ["tiny"]
    assert fake.names("Deployment") == []


@in_virtual_time
async def test_what_a_failing_release_added_is_gone_after_the_rollback():
    fake = FakeServer()
    await ship(fake)
    with pytest.raises(RolloutError, match="rolled back"):
        await Run(fake).deploy("bad", "crash-loop", extra="added")
    assert "added" not in fake.names("ConfigMap")


@in_virtual_time
async def test_what_the_manifests_no_longer_contain_is_removed_once_the_new_release_runs():
    fake = FakeServer()
    await ship(fake, extra="former")
    await Run(fake).deploy("better", extra="between")  # never verified
    assert "former" not in fake.names("ConfigMap")
    await ship(fake, "better")
    assert not {"former", "between"} & set(fake.names("ConfigMap"))


@in_virtual_time
async def test_a_failing_dry_run_of_the_migration_changes_nothing():
    fake = FakeServer()
    await ship(fake)
    before = fake.store.objects[DEPLOYMENT]["metadata"]["generation"]
    with pytest.raises(
        StageFailedError, match=r"migration, dry run: the Job failed(.|\n)*nothing was changed"
    ) as caught:
        await Run(fake).deploy("bad", "dry-run-fails")
    assert "migrate-dry-run failed" in caught.value.output
    assert fake.store.objects[DEPLOYMENT]["metadata"]["generation"] == before
    assert (await leftovers(fake), len(await history(fake))) == ([], 1)


@in_virtual_time
async def test_a_failing_migration_is_never_rolled_out():
    fake = FakeServer()
    await ship(fake)
    with pytest.raises(StageFailedError, match="the database may be half migrated"):
        await Run(fake).deploy("bad", "migration-fails")
    assert (fake.image(), await leftovers(fake)) == (RELEASES["good"], [])


@in_virtual_time
async def test_a_migration_that_never_ends_is_stopped_at_its_deadline():
    fake = FakeServer()
    await ship(fake)
    with pytest.raises(NotReadyError, match=r"migration: not done within 600 s"):
        await Run(fake).deploy("bad", "migration-hangs")
    assert (fake.image(), await leftovers(fake)) == (RELEASES["good"], [])


@pytest.mark.parametrize(
    ("behaviour", "problem"),
    [("image-gone", "the image cannot be pulled"), ("no-room", "its pod cannot be created")],
)
@in_virtual_time
async def test_a_migration_that_cannot_start_changes_nothing(behaviour: str, problem: str):
    fake = FakeServer()
    await ship(fake)
    with pytest.raises(StageFailedError, match=rf"{problem}(.|\n)*nothing was changed"):
        await Run(fake).deploy("bad", behaviour)
    assert (fake.image(), await leftovers(fake), len(await history(fake))) == (RELEASES["good"], [], 1)


@in_virtual_time
async def test_fields_of_another_manager_are_not_taken_over_unless_asked_for():
    fake = FakeServer()
    await ship(fake)
    fake.edit(DEPLOYMENT, "spec", "replicas", value=5)
    with pytest.raises(ClusterError, match=r"dry run on the server: another manager owns fields(.|\n)*spec\.replicas"):
        await Run(fake).deploy("better")
    assert (fake.image(), len(await history(fake))) == (RELEASES["good"], 1)
    await Run(fake).deploy("better", force_conflicts=True)
    assert fake.image() == RELEASES["better"]
    assert fake.store.objects[DEPLOYMENT]["spec"]["replicas"] == 2


@in_virtual_time
async def test_a_missing_permission_is_named_before_anything_is_done():
    fake = FakeServer()
    fake.rules = [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["pods", "jobs", "configmaps"]}]
    with pytest.raises(
        ClusterError, match=r"lacks permissions in namespace(.|\n)*create leases\.coordination\.k8s\.io"
    ):
        await Run(fake).deploy()
    assert fake.store.objects == {}


@in_virtual_time
async def test_a_namespace_that_does_not_exist_is_reported():
    fake = FakeServer()
    fake.exists = False
    with pytest.raises(ClusterError, match="deploy to staging: the namespace does not exist"):
        await Run(fake).deploy()


@in_virtual_time
async def test_a_namespace_belongs_to_one_environment():
    fake = FakeServer()
    await ship(fake)
    with pytest.raises(Exception, match="namespace tiny-staging belongs to environment staging"):
        await Run(fake, "preview").deploy("better")
    assert (fake.image(), await leftovers(fake)) == (RELEASES["good"], [])


@in_virtual_time
async def test_a_deployment_that_is_deleted_during_its_rollout_is_a_failure():
    fake = FakeServer()
    run = Run(fake)
    run.client.on(cluster.watches, lambda: fake.workloads.delete(DEPLOYMENT))
    with pytest.raises(RolloutError, match="Deployment tiny does not exist any more"):
        await run.deploy("good", "never-ready")


@in_virtual_time
async def test_pods_of_a_killed_run_that_do_not_end_stop_the_next_one():
    fake = FakeServer()
    run = Run(fake)
    with killed(run, cluster.creates("Job", "migrate-dry-run")):
        await run.deploy("good", "immortal")
    fake.workloads.advance()
    with pytest.raises(NotReadyError, match="of a killed run does not end"):
        await Run(fake, lease_wait_seconds=200).deploy()
    assert manifests.identity(tiny.manifests()[0]) not in fake.store.objects


@in_virtual_time
async def test_a_job_of_the_same_name_is_not_mistaken_for_this_runs():
    fake = FakeServer()
    run = Run(fake)
    run.client.fail(cluster.creates("Job", "migrate-dry-run"), cluster.BROKEN, after=True)
    with pytest.raises(ClusterError):
        await run.deploy()
    assert await leftovers(fake) == []
    again = Run(fake)
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": f"tiny-migrate-dry-run-{again.id[:8]}", "labels": {"slipway/role": "x"}},
        "spec": {"template": {}},
    }
    again.client.on(lambda call: call.method == "apply" and call.dry_run, lambda: fake.store.create(job))
    with pytest.raises(ClusterError, match="exists already"):
        await again.deploy()


@in_virtual_time
async def test_two_runs_deploy_one_after_the_other():
    fake = FakeServer()
    async with anyio.create_task_group() as tasks:
        for name in ("good", "better"):
            tasks.start_soon(Run(fake, lease_wait_seconds=300).deploy, name)
    first, second = await history(fake)
    assert first.ended_at <= second.started_at
    assert fake.image() == second.reference
    assert await leftovers(fake) == []


@in_virtual_time
async def test_an_environment_that_is_held_too_long_is_not_deployed_to():
    fake = FakeServer()
    holder = Run(fake)
    async with holder.context.hold(holder.id):
        with pytest.raises(BusyError, match=rf"deploy to staging: run-{holder.id}.* holds slipway-tiny"):
            await Run(fake, lease_wait_seconds=4).deploy()
        assert fake.image() == ""
