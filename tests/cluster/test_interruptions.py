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
from pipeline.kubernetes.cluster import Cluster

pytestmark = pytest.mark.kubernetes

Ask = Callable[[Sequence[str], str], bool]


class Killed(BaseException):
    """What ends a run at once: nothing of it may clean up, and nothing reaches the cluster any more."""


def makes(kind: str, words: str = "") -> Ask:
    """Match what makes an object of a kind in which words stand."""
    return lambda argv, stdin: argv[0] == "create" and f'"kind": "{kind}"' in stdin and words in stdin


def records(event: str) -> Ask:
    """Match what records an event."""
    return makes("ConfigMap", f'\\"event\\": \\"{event}\\"')


def applies(argv: Sequence[str], stdin: str) -> bool:
    """Match what applies the manifests."""
    return argv[0] == "apply" and "--dry-run=server" not in argv and '"kind": "Deployment"' in stdin


def watches(argv: Sequence[str], _: str) -> bool:
    """Match what asks how the rollout goes."""
    return argv[:2] == ["get", "--ignore-not-found"] and "deployments,replicasets,pods" in argv


@contextlib.contextmanager
def killed_after(step: Ask) -> Iterator[None]:
    """Let the cluster do a step, and have the process be gone before it hears of that."""
    real = Cluster.ask
    dead = False

    async def ask(self: Cluster, argv: Sequence[str], *, what: str, stdin: str = "", patient: bool = True) -> str:
        nonlocal dead
        if dead:
            raise Killed
        answer = await real(self, argv, what=what, stdin=stdin, patient=patient)
        if step(list(argv), stdin):
            dead = True
            raise Killed
        return answer

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Cluster, "ask", ask)
        with pytest.raises(BaseException) as caught:  # noqa: PT011 - a Killed, in as many groups as there are tasks
            yield
    assert dead, f"the step was never taken: {caught.value!r}"


def let_the_hold_expire(space: Any) -> None:
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
        pytest.param(makes("Lease"), id="lease"),
        pytest.param(makes("Job", '"migrate-dry-run"'), id="migration-dry-run"),
        pytest.param(records("begun"), id="begun"),
        pytest.param(makes("Job", '"migrate"'), id="migration"),
        pytest.param(applies, id="applied"),
        pytest.param(watches, id="rollout"),
        pytest.param(records("deployed"), id="deployed"),
        pytest.param(makes("Job", '"smoke"'), id="smoke"),
        pytest.param(records("proven"), id="proven"),
    ],
)
async def test_a_first_run_that_is_killed_is_made_good_by_the_next(
    space: Any,
    releases: dict[str, Release],
    ship: Callable[..., Awaitable[Any]],
    history: Callable[[], Awaitable[list[dict[str, Any]]]],
    step: Ask,
):
    with killed_after(step):
        await ship("good")
    let_the_hold_expire(space)
    await ship("good")
    assert space.live() == releases["good"].reference
    assert space.get("apps/v1/deployments/tiny")["status"]["availableReplicas"] == 2
    assert space.names("batch/v1/jobs") == []
    assert [name for name in space.names("v1/configmaps") if "smoke" in name] == []
    assert space.get("coordination.k8s.io/v1/leases/slipway-tiny")["spec"].get("holderIdentity") is None
    assert (await history())[-1]["result"] == "proven"


@pytest.mark.parametrize(
    "step",
    [pytest.param(records("failed"), id="failed"), pytest.param(applies, id="restoring")],
)
async def test_a_run_killed_while_it_brings_back_is_made_good_by_the_next(
    space: Any,
    releases: dict[str, Release],
    deploy: Callable[..., Awaitable[Any]],
    ship: Callable[..., Awaitable[Any]],
    step: Ask,
):
    await ship("good")
    bad = await deploy("bad", "smoke-fails")
    with killed_after(step):
        await bad.smoke(stable_seconds=1)
    let_the_hold_expire(space)
    with pytest.raises(RolloutError, match=f"brought back to {releases['good'].reference}"):
        await deploy("bad", "crash-loop")
    assert space.live() == releases["good"].reference
    assert space.names("batch/v1/jobs") == []


async def test_a_run_that_lost_its_hold_brings_nothing_back(
    space: Any,
    releases: dict[str, Release],
    deploy: Callable[..., Awaitable[Any]],
    ship: Callable[..., Awaitable[Any]],
    monkeypatch: pytest.MonkeyPatch,
):
    await ship("good")
    bad = await deploy("bad", "smoke-fails")
    real = Cluster.ask

    async def ask(self: Cluster, argv: Sequence[str], *, what: str, stdin: str = "", patient: bool = True) -> str:
        answer = await real(self, argv, what=what, stdin=stdin, patient=patient)
        if records("failed")(list(argv), stdin):
            path = f"/apis/coordination.k8s.io/v1/namespaces/{space.name}-staging/leases/slipway-tiny"
            taken = {"spec": {"holderIdentity": "run-other"}}
            space.control.request("PATCH", path, taken, "application/merge-patch+json")
        return answer

    monkeypatch.setattr(Cluster, "ask", ask)
    with pytest.raises(SmokeFailedError, match="could not be brought back: another run has taken over by now"):
        await bad.smoke(stable_seconds=1)
    assert space.live() == releases["bad"].reference
    lease = space.get("coordination.k8s.io/v1/leases/slipway-tiny")
    assert lease["spec"]["holderIdentity"] == "run-other"


async def test_what_a_killed_first_run_made_is_removed_when_the_next_fails(
    space: Any, deploy: Callable[..., Awaitable[Any]]
):
    with killed_after(applies):
        await deploy("good")
    let_the_hold_expire(space)
    with pytest.raises(RolloutError, match="nothing was proven in staging before"):
        await deploy("bad", "image-not-found")
    for kind in ("apps/v1/deployments", "v1/services", "policy/v1/poddisruptionbudgets", "batch/v1/jobs"):
        assert space.names(kind) == [], kind


async def test_what_a_failing_release_added_is_gone_when_it_was_brought_back(
    space: Any, deploy: Callable[..., Awaitable[Any]], ship: Callable[..., Awaitable[Any]]
):
    await ship("good")

    def add(documents: list[dict[str, Any]]) -> None:
        documents.append({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "added"}, "data": {"a": "b"}})

    with pytest.raises(RolloutError, match="brought back"):
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


async def test_a_webhook_that_never_answers_is_told(
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
    monkeypatch.setattr("pipeline.kubernetes.cluster.pause", lambda _: 0)
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
    with pytest.raises(SmokeFailedError, match="removed what this run made"):
        await deployment.smoke(stable_seconds=1)
    assert space.names("apps/v1/deployments") == []
    assert json.dumps(space.get("v1/services")["items"]) == "[]"
