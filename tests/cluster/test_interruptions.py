"""Runs that are killed after each step that the cluster remembers, and clusters that do not play along."""

import asyncio
import contextlib
import datetime
import json
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from typing import Any

import pytest

from pipeline.api.release import Release
from pipeline.core.errors import ClusterError, RolloutError, SmokeFailedError, StageFailedError
from pipeline.kubernetes.kubectl import KubectlClient

pytestmark = pytest.mark.kubernetes

Step = Callable[[Sequence[str], str], bool]


class Killed(BaseException):
    """Ends a run at once: nothing of it may clean up, and nothing reaches the cluster any more."""


def creates(kind: str, text: str = "") -> Step:
    """Match the creation of an object of a kind that holds a text."""
    return lambda argv, stdin: argv[0] == "create" and f'"kind": "{kind}"' in stdin and text in stdin


def records(event: str) -> Step:
    """Match the recording of an event."""
    return creates("ConfigMap", f'\\"event\\": \\"{event}\\"')


def applies(argv: Sequence[str], stdin: str) -> bool:
    """Match the application of the manifests."""
    return argv[0] == "apply" and "--dry-run=server" not in argv and '"kind": "Deployment"' in stdin


def watches(argv: Sequence[str], _: str) -> bool:
    """Match a request for the progress of a rollout."""
    return argv[0] == "get" and "deployments,replicasets,pods" in argv


@contextlib.contextmanager
def killed_after(step: Step) -> Iterator[None]:
    """Let the cluster do a step, and end the run before it gets the reply."""
    real = KubectlClient._run  # noqa: SLF001 - through which each request goes
    dead = False

    async def run(self: KubectlClient, argv: Sequence[str], stdin: str = "", *, retried: bool = True) -> str:
        nonlocal dead
        if dead:
            raise Killed
        answer = await real(self, argv, stdin, retried=retried)
        if step(list(argv), stdin):
            dead = True
            raise Killed
        return answer

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(KubectlClient, "_run", run)
        with pytest.raises(BaseException) as caught:  # noqa: PT011 - a Killed, in as many groups as there are tasks
            yield
    assert dead, f"the step was never done: {caught.value!r}"


def let_the_lease_expire(space: Any) -> None:
    """Do as if a minute and more had passed since the lease was renewed."""
    then = datetime.datetime.now(datetime.UTC) - datetime.timedelta(minutes=10)
    space.control.request(
        "PATCH",
        f"/apis/coordination.k8s.io/v1/namespaces/{space.name}-staging/leases/slipway-tiny",
        {"spec": {"renewTime": then.strftime("%Y-%m-%dT%H:%M:%S.%fZ")}},
        "application/merge-patch+json",
    )


@pytest.mark.parametrize(
    "step",
    [
        pytest.param(creates("Lease"), id="lease"),
        pytest.param(creates("Job", '"migrate-dry-run"'), id="migration-dry-run"),
        pytest.param(records("started"), id="started"),
        pytest.param(creates("Job", '"migrate"'), id="migration"),
        pytest.param(applies, id="applied"),
        pytest.param(watches, id="rollout"),
        pytest.param(records("deployed"), id="deployed"),
        pytest.param(creates("Job", '"smoke"'), id="smoke"),
        pytest.param(records("verified"), id="verified"),
    ],
)
async def test_a_first_run_that_is_killed_is_repaired_by_the_next(
    space: Any,
    releases: dict[str, Release],
    ship: Callable[..., Awaitable[Any]],
    history: Callable[[], Awaitable[list[dict[str, Any]]]],
    step: Step,
):
    with killed_after(step):
        await ship("good")
    let_the_lease_expire(space)
    await ship("good")
    assert space.live() == releases["good"].reference
    assert space.get("apps/v1/deployments/tiny")["status"]["availableReplicas"] == 2
    assert space.names("batch/v1/jobs") == []
    assert [name for name in space.names("v1/configmaps") if "smoke" in name] == []
    assert space.get("coordination.k8s.io/v1/leases/slipway-tiny")["spec"].get("holderIdentity") is None
    assert (await history())[-1]["result"] == "verified"


@pytest.mark.parametrize(
    "step",
    [pytest.param(records("failed"), id="failed"), pytest.param(applies, id="restoring")],
)
async def test_a_run_killed_during_its_rollback_is_repaired_by_the_next(
    space: Any,
    releases: dict[str, Release],
    deploy: Callable[..., Awaitable[Any]],
    ship: Callable[..., Awaitable[Any]],
    step: Step,
):
    await ship("good")
    bad = await deploy("bad", "smoke-fails")
    with killed_after(step):
        await bad.smoke(stable_seconds=1)
    let_the_lease_expire(space)
    with pytest.raises(RolloutError, match=f"rolled back to {releases['good'].reference}"):
        await deploy("bad", "crash-loop")
    assert space.live() == releases["good"].reference
    assert space.names("batch/v1/jobs") == []


async def test_a_run_that_lost_its_lease_restores_nothing(
    space: Any,
    releases: dict[str, Release],
    deploy: Callable[..., Awaitable[Any]],
    ship: Callable[..., Awaitable[Any]],
    monkeypatch: pytest.MonkeyPatch,
):
    await ship("good")
    bad = await deploy("bad", "smoke-fails")
    real = KubectlClient._run  # noqa: SLF001 - through which each request goes

    async def run(self: KubectlClient, argv: Sequence[str], stdin: str = "", *, retried: bool = True) -> str:
        answer = await real(self, argv, stdin, retried=retried)
        if records("failed")(list(argv), stdin):
            path = f"/apis/coordination.k8s.io/v1/namespaces/{space.name}-staging/leases/slipway-tiny"
            other = {"spec": {"holderIdentity": "run-other"}}
            space.control.request("PATCH", path, other, "application/merge-patch+json")
        return answer

    monkeypatch.setattr(KubectlClient, "_run", run)
    with pytest.raises(SmokeFailedError, match="could not be rolled back: another run has taken over the environment"):
        await bad.smoke(stable_seconds=1)
    assert space.live() == releases["bad"].reference
    lease = space.get("coordination.k8s.io/v1/leases/slipway-tiny")
    assert lease["spec"]["holderIdentity"] == "run-other"


async def test_what_a_killed_first_run_created_is_removed_when_the_next_fails(
    space: Any, deploy: Callable[..., Awaitable[Any]]
):
    with killed_after(applies):
        await deploy("good")
    let_the_lease_expire(space)
    with pytest.raises(RolloutError, match="no release was verified in staging before"):
        await deploy("bad", "image-not-found")
    for kind in ("apps/v1/deployments", "v1/services", "policy/v1/poddisruptionbudgets", "batch/v1/jobs"):
        assert space.names(kind) == [], kind


async def test_objects_that_a_failing_release_added_are_gone_after_the_rollback(
    space: Any, deploy: Callable[..., Awaitable[Any]], ship: Callable[..., Awaitable[Any]]
):
    await ship("good")

    def add(documents: list[dict[str, Any]]) -> None:
        documents.append({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "added"}, "data": {"a": "b"}})

    with pytest.raises(RolloutError, match="rolled back"):
        await deploy("bad", manifests=space.manifests("crash-loop", add))
    assert "added" not in space.names("v1/configmaps")


# What the cluster itself does not let happen


def quota(space: Any, pods: str) -> None:
    path = f"/api/v1/namespaces/{space.name}-staging/resourcequotas"
    space.control.request("POST", path, {"metadata": {"name": "small"}, "spec": {"hard": {"pods": pods}}})


async def test_a_quota_that_leaves_no_room_for_the_migration_changes_nothing(
    space: Any, deploy: Callable[..., Awaitable[Any]]
):
    quota(space, "0")
    with pytest.raises(StageFailedError, match=r"its pod cannot be created(.|\n)*exceeded quota(.|\n)*nothing was"):
        await deploy("good")
    assert space.names("apps/v1/deployments") == []
    assert space.names("batch/v1/jobs") == []


async def test_a_quota_that_leaves_no_room_for_the_rollout_ends_it_early(
    space: Any,
    releases: dict[str, Release],
    deploy: Callable[..., Awaitable[Any]],
    ship: Callable[..., Awaitable[Any]],
):
    await ship("good")
    quota(space, "3")

    def more(documents: list[dict[str, Any]]) -> None:
        next(d for d in documents if d["kind"] == "Deployment")["spec"]["replicas"] = 5

    with pytest.raises(RolloutError, match=r"no pod can be created(.|\n)*exceeded quota(.|\n)*raise the name"):
        await deploy("bad", manifests=space.manifests(change=more), seconds=120)
    assert space.live() == releases["good"].reference


@pytest.fixture
async def deaf() -> AsyncIterator[int]:
    """A server that takes every connection and never answers; its port."""
    listener = socket.create_server(("127.0.0.1", 0))
    connections: list[socket.socket] = []

    def take() -> None:
        with contextlib.suppress(OSError):
            while True:
                connections.append(listener.accept()[0])

    threading.Thread(target=take, daemon=True).start()
    yield listener.getsockname()[1]
    listener.close()
    for connection in connections:
        connection.close()


async def test_a_webhook_that_never_answers_is_reported(
    space: Any,
    releases: dict[str, Release],
    deploy: Callable[..., Awaitable[Any]],
    ship: Callable[..., Awaitable[Any]],
    deaf: int,
    monkeypatch: pytest.MonkeyPatch,
):
    await ship("good")
    path = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
    webhook = {
        "name": "deaf.example.com",
        "clientConfig": {"url": f"https://127.0.0.1:{deaf}/"},
        "timeoutSeconds": 1,
        "failurePolicy": "Fail",
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": f"{space.name}-staging"}},
        "rules": [{"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["*"], "resources": ["deployments"]}],
    }
    space.control.request("POST", path, {"metadata": {"name": space.name}, "webhooks": [webhook]})
    await asyncio.sleep(3)  # until the API server knows of the webhook; nothing tells when
    monkeypatch.setattr("pipeline.core.retry.pause", lambda _: 0)
    try:
        with pytest.raises(ClusterError, match=r"webhook of the cluster does not answer(.|\n)*deaf\.example\.com"):
            await deploy("better")
    finally:
        space.control.request("DELETE", f"{path}/{space.name}")
    assert space.live() == releases["good"].reference
    assert space.names("batch/v1/jobs") == []


async def test_a_smoke_test_that_fails_where_nothing_can_be_undone_says_both(
    space: Any, deploy: Callable[..., Awaitable[Any]]
):
    deployment = await deploy("bad", "smoke-fails")
    with pytest.raises(SmokeFailedError, match="removed what this run created"):
        await deployment.smoke(stable_seconds=1)
    assert space.names("apps/v1/deployments") == []
    assert json.dumps(space.get("v1/services")["items"]) == "[]"
