"""What the API server itself refuses or would change: conflicts, admission, quotas, drift."""

import contextlib
import dataclasses
import json
import socket
import threading
import urllib.error
from collections.abc import Iterator
from typing import Any

import pytest

from pipeline.core.errors import ClusterError, RolloutError, SmokeFailedError, StageFailedError
from pipeline.kubernetes.manifests import Manifest
from tests.cluster.space import DEPLOYMENT, MERGE, Space, at, until

pytestmark = pytest.mark.kubernetes

ADMISSION = "/apis/admissionregistration.k8s.io/v1"


async def test_drift_is_shown_and_overwritten_only_if_that_is_asked_for(verified: Space):
    staging, good = await verified.environment(), verified.releases["good"]
    assert (await staging.live()).reference == good.reference
    status = json.loads(await staging.status())
    assert (status["digest"], status["drift"], bool(status["verified_at"])) == (good.digest, "", True)
    verified.patch(DEPLOYMENT, {"spec": {"replicas": 5}})
    assert "replicas: 5" in json.loads(await staging.status())["drift"]
    with pytest.raises(ClusterError, match=r"dry run on the server: another manager owns(.|\n)*\.spec\.replicas"):
        await verified.deploy("good")
    assert verified.get(DEPLOYMENT)["spec"]["replicas"] == 5
    await verified.deploy("good", rollout={"force_conflicts": True})
    assert verified.is_good


async def test_a_plan_shows_the_difference_and_changes_nothing(verified: Space):
    good, better = verified.releases["good"], verified.releases["better"]
    before = verified.get(DEPLOYMENT)["metadata"]["resourceVersion"]
    planned = dataclasses.replace(better, context=at(better.context, await verified.target()))
    plan = await planned.plan("staging")
    assert f"replaces     {good.digest}" in plan
    assert f"-        image: {good.reference}" in plan
    assert f"+        image: {better.reference}" in plan
    assert verified.get(DEPLOYMENT)["metadata"]["resourceVersion"] == before
    assert verified.names("batch/v1/jobs") == []


# Quotas


def limit_pods(space: Space, number: int) -> None:
    """Let no more pods be created in staging."""
    space.create("v1/resourcequotas", {"metadata": {"name": "small"}, "spec": {"hard": {"pods": str(number)}}})
    until(lambda: "hard" in space.get("v1/resourcequotas/small").get("status", {}), "the quota is in force")


async def test_a_quota_that_leaves_no_room_for_the_migration_changes_nothing(space: Space):
    limit_pods(space, 0)
    with pytest.raises(StageFailedError, match=r"its pod cannot be created(.|\n)*exceeded quota(.|\n)*nothing was"):
        await space.deploy("good")
    assert space.names("apps/v1/deployments") == []
    assert space.names("batch/v1/jobs") == []


async def test_a_quota_that_leaves_no_room_for_the_rollout_ends_it_early(verified: Space):
    limit_pods(verified, 3)

    def more(documents: list[Manifest]) -> None:
        next(d for d in documents if d["kind"] == "Deployment")["spec"]["replicas"] = 5

    with pytest.raises(RolloutError, match=r"no pod can be created(.|\n)*exceeded quota(.|\n)*raise the name"):
        await verified.deploy("bad", change=more)
    assert verified.live() == verified.releases["good"].reference
    verified.request("DELETE", "v1/resourcequotas/small")
    until(lambda: verified.is_good, "the release runs that was verified before")


# Admission


@contextlib.contextmanager
def frozen(space: Space) -> Iterator[None]:
    """Let the API server refuse every change of a Deployment in staging during the body."""
    selector = {"matchLabels": {"kubernetes.io/metadata.name": space.namespace()}}
    rule = {"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["UPDATE"], "resources": ["deployments"]}
    policy = {
        "failurePolicy": "Fail",
        "matchConstraints": {"namespaceSelector": selector, "resourceRules": [rule]},
        "validations": [{"expression": "false", "message": "frozen for the holidays"}],
    }
    binding = {"policyName": space.name, "validationActions": ["Deny"]}
    with (
        registered(space, "validatingadmissionpolicies", {"spec": policy}),
        registered(space, "validatingadmissionpolicybindings", {"spec": binding}),
    ):
        until(lambda: refused(space), "the policy is in force")
        yield
    until(lambda: not refused(space), "the policy is no longer in force")


@contextlib.contextmanager
def registered(space: Space, resource: str, members: dict[str, Any]) -> Iterator[None]:
    """Register an object of admission control during the body."""
    path = f"{ADMISSION}/{resource}"
    space.control.request("POST", path, {"metadata": {"name": space.name}} | members)
    try:
        yield
    finally:
        space.control.request("DELETE", f"{path}/{space.name}")


def refused(space: Space) -> bool:
    """Whether the API server would refuse a change of the Deployment."""
    try:
        space.request("PATCH", f"{DEPLOYMENT}?dryRun=All", {"metadata": {"annotations": {"a": "b"}}}, kind=MERGE)
    except urllib.error.HTTPError:
        return True
    return False


async def test_what_admission_refuses_is_refused_by_the_dry_run_and_changes_nothing(verified: Space):
    with (
        frozen(verified),
        pytest.raises(
            ClusterError, match=r"dry run on the server: the cluster's admission control(.|\n)*frozen for the holidays"
        ),
    ):
        await verified.deploy("better")
    assert verified.is_good


async def test_a_rollback_that_fails_is_reported_with_the_failure(verified: Space):
    deployment = await verified.deploy("bad", "smoke-fails")
    with frozen(verified), pytest.raises(SmokeFailedError) as caught:
        await deployment.smoke(stable_seconds=1)
    message = str(caught.value)
    assert "failed 10 of 10 attempts" in message
    assert "staging could not be rolled back: the cluster's admission control refused the request" in message
    assert "frozen for the holidays" in message
    last = (await verified.history())[-1]
    assert (last["result"], last["rolled_back_to"]) == ("failed", "")
    assert verified.live() == verified.releases["bad"].reference


@pytest.fixture
def silent() -> Iterator[int]:
    """A server that accepts every connection and never answers; its port."""
    listener = socket.create_server(("127.0.0.1", 0))
    connections: list[socket.socket] = []

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                connections.append(listener.accept()[0])

    threading.Thread(target=accept, daemon=True).start()
    yield listener.getsockname()[1]
    listener.close()
    for connection in connections:
        connection.close()


async def test_a_webhook_that_never_answers_is_reported(verified: Space, silent: int):
    webhook = {
        "name": "silent.example.com",
        "clientConfig": {"url": f"https://127.0.0.1:{silent}/"},
        "timeoutSeconds": 1,
        "failurePolicy": "Fail",
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": verified.namespace()}},
        "rules": [{"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["*"], "resources": ["deployments"]}],
    }
    with registered(verified, "validatingwebhookconfigurations", {"webhooks": [webhook]}):
        until(lambda: refused(verified), "the webhook is asked")
        with pytest.raises(ClusterError, match=r"webhook of the cluster does not answer(.|\n)*silent\.example\.com"):
            await verified.deploy("better")
    until(lambda: not refused(verified), "the webhook is no longer asked")
    assert verified.is_good
