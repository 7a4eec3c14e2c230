"""Which verification allows a promotion, and what is said of an environment without changing it."""

import datetime

import anyio
import pytest

from pipeline.core.errors import ClusterError, InvalidInputError, NotPromotableError, SmokeFailedError, StageFailedError
from pipeline.deploy.preflight import preflight
from pipeline.deploy.promotion import promotable
from pipeline.deploy.status import last_run_failed, preview, read_history, running_reference, status
from tests.fakes import cluster, tiny
from tests.fakes.cluster import FakeServer
from tests.fakes.tiny import COMMITS, RELEASES, Run, leftovers, ship
from tests.fakes.virtual_time import in_virtual_time

DIGESTS = {name: reference.partition("@")[2] for name, reference in RELEASES.items()}
DEPLOYMENT = "deployment.apps/tiny"


# Promotion


@in_virtual_time
async def test_the_verified_release_is_found_by_digest_by_commit_or_as_the_last_one():
    fake = FakeServer()
    record = await ship(fake)
    context = Run(fake).context
    assert await promotable(context) == record
    assert await promotable(context, digest=DIGESTS["good"]) == record
    assert await promotable(context, commit=COMMITS["good"]) == record


@in_virtual_time
async def test_an_earlier_verified_release_is_promotable_while_another_one_runs():
    fake = FakeServer()
    record = await ship(fake)
    await Run(fake).deploy("better")
    assert await promotable(Run(fake).context, digest=DIGESTS["good"]) == record
    with pytest.raises(NotPromotableError, match=r"promote: the last run of .* in staging is deployed"):
        await promotable(Run(fake).context)


@in_virtual_time
async def test_a_release_that_failed_after_its_verification_is_not_promoted():
    fake = FakeServer()
    await ship(fake)
    with pytest.raises(SmokeFailedError):
        await ship(fake, "good", "smoke-fails")
    with pytest.raises(NotPromotableError, match="is failed, though an earlier run was verified") as caught:
        await promotable(Run(fake).context)
    assert "failed 10 of 10 attempts" in caught.value.output
    assert "runs there now: name it with --digest" in caught.value.hint


@in_virtual_time
async def test_an_old_verification_is_not_promoted():
    fake = FakeServer()
    await ship(fake)
    await anyio.sleep(datetime.timedelta(days=8).total_seconds())
    with pytest.raises(NotPromotableError, match="was verified in staging 8 days ago, more than 7 days"):
        await promotable(Run(fake).context)
    with pytest.raises(NotPromotableError, match=r"more than 1\.0 hours"):
        await promotable(Run(fake).context, max_age_hours=1)
    assert await promotable(Run(fake).context, max_age_hours=200)


@in_virtual_time
async def test_a_promotion_names_one_release():
    context = Run(FakeServer()).context
    with pytest.raises(NotPromotableError, match="promote: nothing was ever deployed to staging"):
        await promotable(context)
    with pytest.raises(NotPromotableError, match="commit x was never deployed"):
        await promotable(context, commit="x")
    with pytest.raises(InvalidInputError, match="both a digest and a commit"):
        await promotable(context, digest="sha256:x", commit="x")
    with pytest.raises(InvalidInputError, match="--max-age-hours 0"):
        await promotable(context, max_age_hours=0)


@in_virtual_time
async def test_who_approved_a_promotion_is_recorded_and_annotated():
    fake = FakeServer("tiny-production")
    run = Run(fake, "production")
    await run.deploy(action="promote", approved_by="Ada", unsigned="not signed")
    [record] = (await read_history(run.context)).deployments
    assert (record.action, record.approved_by, record.unsigned) == ("promote", "Ada", "not signed")
    assert fake.store.objects[DEPLOYMENT]["metadata"]["annotations"]["slipway/approved-by"] == "Ada"


# Status


@in_virtual_time
async def test_the_status_of_an_empty_environment():
    report = await status(Run(FakeServer()).context)
    assert (report["digest"], report["known"], report["last"], report["drift"]) == ("", False, None, "")


@in_virtual_time
async def test_the_status_shows_what_runs_when_it_was_verified_and_drift():
    fake = FakeServer()
    record = await ship(fake)
    report = await status(Run(fake).context)
    assert (report["digest"], report["commit"]) == (DIGESTS["good"], COMMITS["good"])
    assert (report["verified_at"], report["drift"], report["known"]) == (record.verified_at, "", True)
    assert report["last"]["result"] == "verified"
    fake.edit(DEPLOYMENT, "spec", "replicas", value=5)
    report = await status(Run(fake).context)
    assert "-  replicas: 5" in report["drift"]
    assert fake.store.objects[DEPLOYMENT]["spec"]["replicas"] == 5


@in_virtual_time
async def test_a_release_that_was_only_deployed_is_not_verified():
    fake = FakeServer()
    await Run(fake).deploy()
    report = await status(Run(fake).context)
    assert (report["digest"], report["verified_at"], report["known"]) == (DIGESTS["good"], "", True)


@in_virtual_time
async def test_an_image_that_was_changed_by_hand_is_no_release():
    fake = FakeServer()
    await ship(fake)
    containers = [{"name": "tiny", "image": "ghcr.io/org/tiny:hotfix"}]
    fake.edit(DEPLOYMENT, "spec", "template", "spec", "containers", value=containers)
    assert (await status(Run(fake).context))["digest"] == ""
    with pytest.raises(InvalidInputError, match="no release that Slipway deployed runs there"):
        await running_reference(Run(fake).context)


@in_virtual_time
async def test_the_running_release_is_that_of_the_live_deployment():
    fake = FakeServer()
    await ship(fake)
    assert await running_reference(Run(fake).context) == RELEASES["good"]


@in_virtual_time
async def test_whether_the_last_run_failed_or_never_ended():
    fake = FakeServer()
    assert not await last_run_failed(Run(fake).context)
    await ship(fake)
    assert not await last_run_failed(Run(fake).context)
    run = Run(fake)
    with tiny.killed(run, cluster.records("started")):
        await run.deploy("better")
    assert await last_run_failed(Run(fake).context)
    with pytest.raises(SmokeFailedError):
        await Run(fake, lease_wait_seconds=200).ship("bad", "smoke-fails")
    assert await last_run_failed(Run(fake).context)


# Plan


async def plan(fake: FakeServer, name: str = "better", behaviour: str = "good", **fields: object) -> str:
    run = Run(fake)
    return await preview(run.context, tiny.request(name, **fields), tiny.manifests(behaviour), run.id)


@in_virtual_time
async def test_a_plan_shows_the_difference_and_changes_nothing():
    fake = FakeServer()
    await ship(fake)
    before = {name: item["metadata"]["resourceVersion"] for name, item in fake.store.objects.items()}
    text = await plan(fake)
    assert f"replaces     {DIGESTS['good']}" in text
    assert f"last run     deploy of {DIGESTS['good']}: verified" in text
    assert f"-        image: {RELEASES['good']}" in text
    assert f"+        image: {RELEASES['better']}" in text
    assert "migrate-dry-run done" in text
    assert await leftovers(fake) == []
    kept = {name: item["metadata"]["resourceVersion"] for name, item in fake.store.objects.items()}
    assert kept.items() >= before.items()


@in_virtual_time
async def test_a_plan_of_what_runs_already_shows_no_change():
    fake = FakeServer()
    await ship(fake)
    text = await plan(fake, "good", migrates=False)
    assert "no object would change" in text
    assert "migration" not in text


@in_virtual_time
async def test_a_plan_for_an_empty_environment():
    text = await plan(FakeServer(), "good")
    assert "replaces     nothing" in text
    assert "last run     none" in text
    assert "--- (does not exist)" in text


@in_virtual_time
async def test_a_plan_fails_as_the_deployment_would():
    with pytest.raises(StageFailedError, match="plan for staging: migration, dry run: the Job failed"):
        await plan(FakeServer(), "good", "dry-run-fails")


# Preflight


@in_virtual_time
async def test_the_preflight_returns_the_user_and_checks_the_kinds_that_are_deployed():
    fake = FakeServer()
    assert await preflight(Run(fake).context, tiny.manifests()) == cluster.USER
    fake.rules = [{"verbs": ["*"], "apiGroups": ["", "batch", "apps", "coordination.k8s.io"],
                   "resources": ["deployments", "replicasets", "pods", "pods/log", "events", "jobs", "configmaps",
                                 "leases", "services"]}]  # fmt: skip
    assert await preflight(Run(fake).context) == cluster.USER
    with pytest.raises(ClusterError, match=r"deploy to staging: .* lacks permissions(.|\n)*patch serviceaccounts"):
        await preflight(Run(fake).context, tiny.manifests())
