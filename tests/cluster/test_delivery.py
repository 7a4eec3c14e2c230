"""Delivery to a real Kubernetes API server. After each: what the cluster holds, not only what was said."""

import asyncio
import dataclasses
import datetime
import json
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import dagger
import pytest

from pipeline.api.deployment import Deployment, Verification
from pipeline.api.environment import Environment
from pipeline.api.release import Release
from pipeline.core.errors import (
    BusyError,
    ClusterError,
    InvalidInputError,
    NotPromotableError,
    RolloutError,
    SlipwayError,
    SmokeFailedError,
    StageFailedError,
    UnsignedError,
    VerificationFailedError,
)

pytestmark = pytest.mark.kubernetes

Deploy = Callable[..., Awaitable[Deployment]]
Ship = Callable[..., Awaitable[Verification]]
Read = Callable[..., Awaitable[Environment]]
Promote = Callable[..., Awaitable[Deployment]]
History = Callable[..., Awaitable[list[dict[str, Any]]]]


async def test_a_release_is_deployed_by_digest_and_verified(
    space: Any, releases: dict[str, Release], ship: Ship, history: History
):
    verification = await ship("good")
    release = releases["good"]
    assert space.live() == release.reference
    assert (verification.reference, verification.context.commit.sha, verification.environment) == (
        release.reference,
        release.context.commit.sha,
        "staging",
    )
    live = space.get("apps/v1/deployments/tiny")
    expected = {"commit": release.context.commit.sha, "digest": release.digest, "by": space.deployer}
    annotations = live["metadata"]["annotations"]
    assert {key: annotations[f"slipway/{key}"] for key in expected} == expected
    assert live["status"]["availableReplicas"] == 2
    assert space.names("batch/v1/jobs") == []
    [entry] = await history()
    assert (entry["result"], entry["action"], entry["reference"]) == ("verified", "deploy", release.reference)
    assert entry["started_by"] == space.deployer


async def test_deploying_the_same_digest_again_really_deploys(space: Any, ship: Ship):
    await ship("good")
    space.control.request("DELETE", f"/apis/apps/v1/namespaces/{space.name}-staging/deployments/tiny")
    await ship("good")
    assert space.get("apps/v1/deployments/tiny")["status"]["availableReplicas"] == 2


@pytest.mark.parametrize(
    ("behaviour", "problem"),
    [
        ("never-ready", "not ready within 12 s"),
        ("image-not-found", "the image cannot be pulled"),
        ("crash-loop", "container tiny crashed 4 times"),
    ],
)
async def test_a_rollout_that_fails_restores_the_verified_release(
    space: Any,
    releases: dict[str, Release],
    deploy: Deploy,
    ship: Ship,
    history: History,
    behaviour: str,
    problem: str,
):
    await ship("good")
    with pytest.raises(RolloutError, match=problem) as caught:
        await deploy("bad", behaviour, seconds=12)
    assert f"staging was rolled back to {releases['good'].reference}" in str(caught.value)
    assert space.live() == releases["good"].reference
    assert space.get("apps/v1/deployments/tiny")["status"]["availableReplicas"] == 2
    last = (await history())[-1]
    assert (last["result"], last["rolled_back_to"]) == ("failed", releases["good"].reference)


async def test_two_bad_releases_in_a_row_go_back_to_the_last_verified(
    space: Any, releases: dict[str, Release], deploy: Deploy, ship: Ship
):
    await ship("good")
    await deploy("better")  # deployed, and never verified
    with pytest.raises(RolloutError, match="crashed"):
        await deploy("bad", "crash-loop")
    assert space.live() == releases["good"].reference


async def test_a_registry_that_recovers_is_waited_for(space: Any, releases: dict[str, Release], ship: Ship):
    await ship("good", "unhealthy-registry")
    assert space.live() == releases["good"].reference


async def test_a_first_deployment_that_fails_leaves_nothing_half_made(space: Any, deploy: Deploy, history: History):
    with pytest.raises(RolloutError, match="no release was verified in staging before: removed what this run created"):
        await deploy("bad", "image-not-found")
    for kind in ("apps/v1/deployments", "v1/services", "policy/v1/poddisruptionbudgets", "batch/v1/jobs"):
        assert space.names(kind) == [], kind
    assert "tiny" not in space.names("v1/serviceaccounts")
    [entry] = await history()
    assert entry["result"] == "failed"


async def test_a_crash_after_the_smoke_test_still_fails(
    space: Any, releases: dict[str, Release], deploy: Deploy, ship: Ship
):
    await ship("good")
    deployment = await deploy("bad", "crash-later")
    with pytest.raises(RolloutError, match="became unhealthy after the smoke test"):
        await deployment.smoke(stable_seconds=15)
    assert space.live() == releases["good"].reference


async def test_readiness_that_flaps_is_no_success(space: Any, releases: dict[str, Release], deploy: Deploy, ship: Ship):
    await ship("good")
    with pytest.raises(RolloutError):
        await (await deploy("bad", "flapping", seconds=15)).smoke(stable_seconds=15)
    assert space.live() == releases["good"].reference


async def test_a_failing_smoke_test_restores_the_verified_release(
    space: Any, releases: dict[str, Release], deploy: Deploy, ship: Ship
):
    await ship("good")
    deployment = await deploy("bad", "smoke-fails")
    with pytest.raises(SmokeFailedError, match="failed 10 of 10 attempts") as caught:
        await deployment.smoke(stable_seconds=2)
    assert "/readyz failed: 500" in str(caught.value)
    assert space.live() == releases["good"].reference


async def test_a_failing_dry_run_of_the_migration_changes_nothing(
    space: Any, releases: dict[str, Release], deploy: Deploy, ship: Ship, history: History
):
    await ship("good")
    before = space.get("apps/v1/deployments/tiny")["metadata"]["generation"]
    with pytest.raises(StageFailedError, match=r"migration, dry run: the Job failed(.|\n)*nothing was changed"):
        await deploy("bad", "dry-run-fails")
    assert space.get("apps/v1/deployments/tiny")["metadata"]["generation"] == before
    assert space.names("batch/v1/jobs") == []
    assert len(await history()) == 1


async def test_an_image_that_is_gone_is_found_before_anything_is_changed(
    space: Any, releases: dict[str, Release], deploy: Deploy, ship: Ship
):
    await ship("good")
    with pytest.raises(StageFailedError, match=r"the image cannot be pulled(.|\n)*nothing was changed"):
        await deploy("bad", "image-gone")
    assert space.live() == releases["good"].reference
    assert space.names("batch/v1/jobs") == []


async def test_a_failing_migration_is_reported_and_never_rolled_out(
    space: Any, releases: dict[str, Release], deploy: Deploy, ship: Ship
):
    await ship("good")
    with pytest.raises(StageFailedError, match="the database may be half migrated"):
        await deploy("bad", "migration-fails")
    assert space.live() == releases["good"].reference


async def test_a_rollback_that_fails_shows_both_errors(
    space: Any, releases: dict[str, Release], deploy: Deploy, ship: Ship, history: History
):
    await ship("good")
    deployment = await deploy("bad", "smoke-fails")
    space.control.request(
        "POST",
        "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies",
        {
            "metadata": {"name": space.name},
            "spec": {
                "failurePolicy": "Fail",
                "matchConstraints": {
                    "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": f"{space.name}-staging"}},
                    "resourceRules": [
                        {
                            "apiGroups": ["apps"],
                            "apiVersions": ["v1"],
                            "operations": ["UPDATE"],
                            "resources": ["deployments"],
                        }
                    ],
                },
                "validations": [{"expression": "false", "message": "frozen for the holidays"}],
            },
        },
    )
    space.control.request(
        "POST",
        "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings",
        {"metadata": {"name": space.name}, "spec": {"policyName": space.name, "validationActions": ["Deny"]}},
    )
    await asyncio.sleep(3)  # until the API server has compiled the policy; nothing tells when
    with pytest.raises(SmokeFailedError) as caught:
        await deployment.smoke(stable_seconds=2)
    message = str(caught.value)
    assert "failed 10 of 10 attempts" in message
    assert "staging could not be rolled back" in message
    assert "frozen for the holidays" in message
    last = (await history())[-1]
    assert (last["result"], last["rolled_back_to"]) == ("failed", "")


async def test_only_one_run_at_a_time_deploys(space: Any, releases: dict[str, Release], deploy: Deploy):
    results = await asyncio.gather(deploy("good", wait=60), deploy("better", wait=60), return_exceptions=True)
    assert [result for result in results if isinstance(result, BaseException)] == []
    assert space.live() in {releases["good"].reference, releases["better"].reference}
    assert space.get("coordination.k8s.io/v1/leases/slipway-tiny")["spec"].get("holderIdentity") is None


async def test_a_held_environment_is_not_deployed_to(space: Any, deploy: Deploy):
    await _hold(space, seconds_ago=0)
    with pytest.raises(BusyError, match="run-other holds slipway-tiny"):
        await deploy("good", wait=4)
    assert space.live() == ""


async def test_the_hold_of_a_killed_run_ends_by_itself(space: Any, releases: dict[str, Release], deploy: Deploy):
    await _hold(space, seconds_ago=3600)
    await deploy("good", wait=5)
    assert space.live() == releases["good"].reference


async def _hold(space: Any, seconds_ago: int) -> None:
    then = datetime.datetime.now(datetime.UTC) - datetime.timedelta(seconds=seconds_ago)
    spec = {
        "holderIdentity": "run-other",
        "leaseDurationSeconds": 60,
        "renewTime": then.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
    }
    path = f"/apis/coordination.k8s.io/v1/namespaces/{space.name}-staging/leases"
    space.control.request("POST", path, {"metadata": {"name": "slipway-tiny"}, "spec": spec})


async def test_a_deployment_that_another_run_replaced_is_not_verified(
    space: Any, releases: dict[str, Release], deploy: Deploy
):
    mine = await deploy("good")
    await deploy("better")
    with pytest.raises(BusyError, match="deployed after this one"):
        await mine.smoke(stable_seconds=1)
    assert space.live() == releases["better"].reference


# Promotion


async def test_the_verified_digest_is_promoted_and_its_approver_is_recorded(
    space: Any, promote: Promote, releases: dict[str, Release], ship: Ship, environment: Read, history: History
):
    space.add("production")
    await ship("good")
    staging = await environment()
    with pytest.raises(
        NotPromotableError, match=f"commit {releases['bad'].context.commit.sha} was never deployed to staging"
    ):
        await staging.verification(commit=releases["bad"].context.commit.sha)
    verification = await staging.verification(commit=releases["good"].context.commit.sha)
    verification = await (await promote(verification)).smoke(stable_seconds=2)
    assert space.live("production") == releases["good"].reference
    report = json.loads(await verification.report().file("report.json").contents())
    assert (report["result"], report["environment"]) == ("passed", "production")
    assert report["reference"] == releases["good"].reference
    [entry] = await history("production")
    assert (entry["action"], entry["approved_by"], entry["result"]) == ("promote", "Ada", "verified")


async def test_what_is_not_signed_is_neither_deployed_nor_promoted(
    space: Any, promote: Promote, deploy: Deploy, ship: Ship, environment: Read, history: History
):
    space.add("production")
    with pytest.raises(
        UnsignedError, match=r"deploy to staging: localhost:5000/tiny@sha256:[0-9a-f]{64} is not signed"
    ):
        await deploy("unsigned")
    assert (space.live(), await history()) == ("", [])
    assert {*space.names("v1/configmaps")} <= {"kube-root-ca.crt"}
    verification = await ship("unsigned", allow_unsigned=True)
    with pytest.raises(UnsignedError, match=r"deploy to production: .* is not signed"):
        await promote(verification)
    assert space.live("production") == ""
    await promote(verification, allow_unsigned=True)
    for name in ("staging", "production"):
        [entry] = await history(name)
        assert entry["unsigned"].endswith("is not signed")
        assert "unsigned" in await (await environment(name)).history()


async def test_a_signed_release_of_another_repository_is_not_deployed(
    space: Any, releases: dict[str, Release], deploy: Deploy
):
    release = releases["good"]
    policy = dataclasses.replace(release.context.settings.verification, repository="https://other.example/app")
    settings = dataclasses.replace(
        release.context.settings,
        environments=[await space.target()],
        verification=dataclasses.replace(policy, allow_unsigned=True),
    )
    stranger = dataclasses.replace(release, context=dataclasses.replace(release.context, settings=settings))
    with pytest.raises(VerificationFailedError, match="no provenance of the expected repository and commit"):
        await stranger.deploy("staging")
    assert space.live() == ""


async def test_nothing_is_promoted_without_an_approver(space: Any, promote: Promote, ship: Ship):
    space.add("production")
    verification = await ship("good")
    for name in ("", "  ", "a\nb"):
        with pytest.raises(InvalidInputError, match="no approver"):
            await promote(verification, approved_by=name)
    assert space.live("production") == ""


async def test_an_unverified_release_is_not_promoted(
    space: Any, promote: Promote, releases: dict[str, Release], deploy: Deploy, ship: Ship, environment: Read
):
    space.add("production")
    staging = await environment()
    with pytest.raises(NotPromotableError, match="nothing was ever deployed to staging"):
        await staging.verification()
    verification = await ship("good")
    with pytest.raises(NotPromotableError, match="was never deployed to staging"):
        await staging.verification(digest=releases["bad"].digest)
    await deploy("better")
    with pytest.raises(NotPromotableError, match="is deployed"):
        await staging.verification()
    deployment = await deploy("good", "smoke-fails")
    with pytest.raises(SmokeFailedError):
        await deployment.smoke(stable_seconds=1)
    with pytest.raises(NotPromotableError, match="is failed, though an earlier run was verified"):
        await promote(verification)
    assert space.live("production") == ""


async def test_a_stale_verification_is_not_promoted(
    space: Any, promote: Promote, ship: Ship, monkeypatch: pytest.MonkeyPatch
):
    space.add("production")
    verification = await ship("good")
    later = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=8)
    monkeypatch.setattr("pipeline.core.clock.now", lambda: later)
    with pytest.raises(NotPromotableError, match="was verified in staging 8 days ago, more than 7 days"):
        await promote(verification)
    assert space.live("production") == ""


async def test_a_tag_that_moved_in_between_changes_nothing_of_a_promotion(
    space: Any, promote: Promote, releases: dict[str, Release], ship: Ship, dag: dagger.Client, registry: dagger.Service
):
    space.add("production")
    verification = await ship("good")
    other = dag.container().from_(releases["better"].reference, registry_service=registry)
    moved = await other.publish("localhost:5000/tiny:good", registry_service=registry)
    assert moved.rpartition("@")[2] != releases["good"].digest
    await promote(verification)
    assert space.live("production") == releases["good"].reference


async def test_production_is_reached_by_a_promotion_only(space: Any, deploy: Deploy):
    space.add("production")
    with pytest.raises(InvalidInputError, match="production is reached by a promotion only"):
        await deploy("good", to="production")
    assert space.live("production") == ""


async def test_a_namespace_belongs_to_one_environment(
    space: Any, ship: Ship, deploy: Deploy, releases: dict[str, Release]
):
    await ship("good")
    with pytest.raises(InvalidInputError, match=f"namespace {space.name}-staging belongs to environment staging"):
        await deploy("better", to="preview", namespace=f"{space.name}-staging")
    assert space.live() == releases["good"].reference


async def test_a_rollback_goes_to_the_verified_release_before(
    space: Any, releases: dict[str, Release], ship: Ship, environment: Read, history: History
):
    await ship("good")
    await ship("better")
    verification = await (await environment()).rollback(seconds=40)
    assert verification.reference == releases["good"].reference
    assert space.live() == releases["good"].reference
    _, second, last = await history()
    assert (last["action"], last["result"]) == ("rollback", "verified")
    assert [second["replaced_digest"], last["replaced_digest"]] == [releases["good"].digest, releases["better"].digest]


async def test_a_rollback_to_an_unverified_release_is_refused(space: Any, ship: Ship, environment: Read):
    await ship("good")
    with pytest.raises(InvalidInputError, match="no release was verified here before the live one"):
        await (await environment()).rollback()


# What it says


async def test_a_plan_changes_nothing_and_shows_the_difference(space: Any, releases: dict[str, Release], ship: Ship):
    await ship("good")
    before = space.get("apps/v1/deployments/tiny")["metadata"]["resourceVersion"]
    better = releases["better"]
    settings = dataclasses.replace(better.context.settings, environments=[await space.target()])
    planned = dataclasses.replace(better, context=dataclasses.replace(better.context, settings=settings))
    plan = await planned.plan("staging")
    assert f"replaces     {releases['good'].digest}" in plan
    assert f"-        image: {releases['good'].reference}" in plan
    assert f"+        image: {releases['better'].reference}" in plan
    assert space.get("apps/v1/deployments/tiny")["metadata"]["resourceVersion"] == before
    assert space.names("batch/v1/jobs") == []


async def test_the_status_shows_drift(
    space: Any, releases: dict[str, Release], ship: Ship, environment: Read, registry: dagger.Service
):
    staging = await environment()
    with pytest.raises(InvalidInputError, match="no release that Slipway deployed runs there"):
        await staging.live()
    await ship("good")
    assert (await staging.live()).reference == releases["good"].reference
    status = json.loads(await staging.status())
    assert (status["digest"], status["drift"]) == (releases["good"].digest, "")
    assert status["verified_at"]
    space.control.request(
        "PATCH",
        f"/apis/apps/v1/namespaces/{space.name}-staging/deployments/tiny",
        {"spec": {"replicas": 5}},
        "application/merge-patch+json",
    )
    assert "replicas: 5" in json.loads(await staging.status())["drift"]


# What is refused before anything is changed


async def test_rejected_credentials_are_reported(space: Any, deploy: Deploy):
    config = space.control.kubeconfig("expired-or-foreign")
    with pytest.raises(ClusterError, match="does not accept the credentials: they belong to another"):
        await deploy(kubeconfig=space.kubeconfig(config))


async def test_an_expired_token_is_distinguished_from_one_of_another_cluster(space: Any, deploy: Deploy):
    config = space.control.kubeconfig(space.expired_token())
    with pytest.raises(ClusterError, match=r"does not accept the credentials: they expired on 2026-01-01 at 00:00 UTC"):
        await deploy(kubeconfig=space.kubeconfig(config))
    assert space.live() == ""


async def test_an_unreachable_server_is_reported(space: Any, deploy: Deploy, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("pipeline.core.retry.pause", lambda _: 0)
    config = space.control.kubeconfig(space.token(), server="https://127.0.0.1:1")
    with pytest.raises(ClusterError, match=r"https://127\.0\.0\.1:1 cannot be reached"):
        await deploy(kubeconfig=space.kubeconfig(config), api_server=None)


async def test_a_missing_permission_is_named(space: Any, deploy: Deploy):
    path = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{space.name}-staging/roles/slipway"
    role = space.control.request("GET", path)
    role["rules"] = [rule for rule in role["rules"] if "leases" not in rule["resources"]]
    space.control.request("PUT", path, role)
    with pytest.raises(ClusterError, match=r"lacks permissions(.|\n)*create leases\.coordination\.k8s\.io"):
        await deploy()
    assert space.live() == ""


async def test_a_missing_namespace_is_reported(space: Any, deploy: Deploy):
    admin = space.kubeconfig(space.control.kubeconfig())
    with pytest.raises(ClusterError, match="the namespace does not exist"):
        await deploy("good", namespace="no-such-place", kubeconfig=admin)


def _no_replicas(documents: list[dict[str, Any]]) -> None:
    next(d for d in documents if d["kind"] == "Deployment")["spec"]["replicas"] = 0


def _wrong_selector(documents: list[dict[str, Any]]) -> None:
    next(d for d in documents if d["kind"] == "Service")["spec"]["selector"] = {"app": "other"}


def _misspelt(documents: list[dict[str, Any]]) -> None:
    next(d for d in documents if d["kind"] == "Deployment")["spec"]["replcas"] = 2


def _privileged(documents: list[dict[str, Any]]) -> None:
    deployment = next(d for d in documents if d["kind"] == "Deployment")
    deployment["spec"]["template"]["spec"]["containers"][0]["securityContext"]["privileged"] = True


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (_no_replicas, "replicas is 0"),
        (_wrong_selector, "its selector matches no pod"),
        (_privileged, "privileged is not allowed"),
        (_misspelt, r"deployment/tiny: spec: (.|\n)*'replcas' was unexpected"),
    ],
)
async def test_manifests_that_break_the_policy_are_not_applied(
    space: Any, deploy: Deploy, change: Callable[[list[dict[str, Any]]], None], problem: str
):
    with pytest.raises(InvalidInputError, match=problem):
        await deploy(manifests=space.manifests(change=change))
    assert space.live() == ""


async def test_an_api_server_that_is_busy_for_a_while_is_waited_for(
    space: Any, releases: dict[str, Release], ship: Ship, busy: Callable[[int], dagger.Service]
):
    await ship("good", api_server=busy(8))
    assert space.live() == releases["good"].reference


async def test_a_kubeconfig_that_is_none_is_refused(space: Any, deploy: Deploy):
    with pytest.raises(SlipwayError, match="kubeconfig: neither YAML"):
        await deploy(kubeconfig=space.kubeconfig(uuid.uuid4().hex))
