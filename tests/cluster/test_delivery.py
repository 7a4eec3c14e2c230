"""Rollouts, Jobs and history in a real cluster. After each: what the cluster holds, not only what was reported."""

import json
import threading
import urllib.error
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import dagger
import pytest

from pipeline.core import clock
from pipeline.core.errors import RolloutError, SmokeFailedError, StageFailedError
from pipeline.deploy.kubernetes_deployer import context_of
from pipeline.images import Images
from pipeline.kubernetes.manifests import Manifest
from pipeline.observe import history
from pipeline.observe.events import EventType, HistoryEvent
from tests.cluster.conftest import COMMITS
from tests.cluster.space import DEPLOYMENT, LEASE, NAME, Space

pytestmark = pytest.mark.kubernetes

URL = "http://staging:8080"


async def test_a_release_is_deployed_by_digest_and_verified(verified: Space):
    release, live = verified.releases["good"], verified.get(DEPLOYMENT)
    assert (verified.live(), live["status"]["availableReplicas"]) == (release.reference, 2)
    annotations = {name: live["metadata"]["annotations"][f"slipway/{name}"] for name in ("commit", "digest", "by")}
    assert annotations == {"commit": COMMITS["good"], "digest": release.digest, "by": verified.deployer}
    managers = {(manager["manager"], manager["operation"]) for manager in live["metadata"]["managedFields"]}
    assert ("slipway", "Apply") in managers
    assert verified.names("batch/v1/jobs") == []
    assert [name for name in verified.names("v1/configmaps") if "smoke" in name] == []
    assert verified.get(LEASE)["spec"].get("holderIdentity") is None
    first = (await verified.history())[0]
    assert (first["result"], first["action"], first["reference"]) == ("verified", "deploy", release.reference)
    assert (first["started_by"], first["replaced_digest"], first["migrates"]) == (verified.deployer, "", True)


def test_migrations_run_in_the_release_with_the_services_settings(verified: Space):
    pods = {role: verified.job_pods[role]["spec"] for role in ("migrate-dry-run", "migrate")}
    for pod in pods.values():
        assert pod["containers"][0]["image"] == verified.releases["good"].reference
        assert "DATABASE_URL" in environment_of(pod)
    # The service's account is applied before the migration, and does not exist before the dry run.
    assert {role: pod["serviceAccountName"] for role, pod in pods.items()} == {
        "migrate-dry-run": "default",
        "migrate": "tiny",
    }


def test_the_smoke_test_runs_in_the_tool_image_without_the_services_settings_and_account(verified: Space):
    pod = verified.job_pods["smoke"]["spec"]
    [container] = pod["containers"]
    assert container["image"] == Images().tool
    assert f"http://tiny.{verified.namespace()}:80" in container["command"]
    assert (environment_of(pod), container.get("envFrom"), pod["enableServiceLinks"]) == ([], None, False)
    # Admission adds the namespace's own account, and no token of it: there is no volume but that of the script.
    assert pod["serviceAccountName"] == "default"
    assert [sorted(volume) for volume in pod["volumes"]] == [["configMap", "name"]]


def environment_of(pod: Manifest) -> list[str]:
    """Return the names of the variables of a pod's container."""
    return [variable["name"] for variable in pod["containers"][0].get("env") or []]


async def test_deploying_the_same_digest_again_really_deploys(verified: Space):
    verified.request("DELETE", DEPLOYMENT)
    await verified.ship()
    assert verified.get(DEPLOYMENT)["status"]["availableReplicas"] == 2


async def test_a_crash_loop_ends_the_rollout_and_restores_the_verified_release(verified: Space):
    good = verified.releases["good"].reference
    with pytest.raises(RolloutError, match="container tiny crashed 4 times") as caught:
        await verified.deploy("bad", "crash-loop")
    assert f"staging was rolled back to {good}" in str(caught.value)
    assert (verified.live(), verified.get(DEPLOYMENT)["status"]["availableReplicas"]) == (good, 2)
    last = (await verified.history())[-1]
    assert (last["result"], last["rolled_back_to"]) == ("failed", good)
    assert verified.is_good


async def test_a_first_deployment_that_fails_leaves_nothing_behind(space: Space):
    with pytest.raises(RolloutError, match="no release was verified in staging before: removed what this run created"):
        await space.deploy("bad", "image-not-found")
    for kind in ("apps/v1/deployments", "v1/services", "policy/v1/poddisruptionbudgets", "batch/v1/jobs"):
        assert space.names(kind) == [], kind
    assert "tiny" not in space.names("v1/serviceaccounts")
    [entry] = await space.history()
    assert (entry["result"], entry["rolled_back_to"]) == ("failed", "")


async def test_a_crash_after_the_smoke_test_restores_the_verified_release(verified: Space):
    deployment = await verified.deploy("bad", "crash-later")
    with pytest.raises(RolloutError, match="became unhealthy after the smoke test"):
        await deployment.smoke(stable_seconds=30)
    assert verified.is_good


async def test_a_failing_smoke_test_restores_the_verified_release(verified: Space):
    deployment = await verified.deploy("bad", "smoke-fails")
    assert verified.live() == verified.releases["bad"].reference
    with pytest.raises(SmokeFailedError, match="failed 10 of 10 attempts") as caught:
        await deployment.smoke(stable_seconds=1)
    assert "/readyz failed: 500" in str(caught.value)
    assert verified.is_good


@pytest.mark.parametrize(
    ("behaviour", "problem", "runs"),
    [
        ("dry-run-fails", r"migration, dry run: the Job failed(.|\n)*nothing was changed", 0),
        ("migration-fails", r"migration: the Job failed(.|\n)*the database may be half migrated", 1),
    ],
)
async def test_a_failing_migration_is_never_rolled_out(verified: Space, behaviour: str, problem: str, runs: int):
    revision = "deployment.kubernetes.io/revision"
    before, recorded = verified.get(DEPLOYMENT)["metadata"]["annotations"][revision], len(await verified.history())
    with pytest.raises(StageFailedError, match=problem):
        await verified.deploy("migrating", behaviour)
    assert verified.get(DEPLOYMENT)["metadata"]["annotations"][revision] == before
    assert len(await verified.history()) == recorded + runs
    assert verified.is_good


async def test_the_smoke_test_can_use_a_url(space: Space, answering: Callable[[str], dagger.Service]):
    # A Job inside would fail here, so it is the address that is asked.
    service = answering(COMMITS["better"])
    verification = await space.ship("better", "smoke-fails", url=URL, url_service=service)
    assert (verification.reference, verification.attempts) == (space.releases["better"].reference, 1)


@pytest.fixture
def answering() -> Iterator[Callable[[str], dagger.Service]]:
    """Return a server of this machine that answers as the service of a commit would."""
    servers = []

    def start(commit: str) -> dagger.Service:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = json.dumps({"status": "ok", "commit": commit}).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return dagger.dag.host().service([dagger.PortForward(backend=server.server_address[1], frontend=8080)])

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


# History


def test_an_event_of_the_history_cannot_be_changed(verified: Space):
    name = next(name for name in verified.names("v1/configmaps") if name.startswith("tiny-history-0"))
    with pytest.raises(urllib.error.HTTPError) as caught:
        verified.patch(f"v1/configmaps/{name}", {"data": {"event": "{}"}})
    assert caught.value.code == 422
    assert "immutable" in caught.value.read().decode()


async def test_the_oldest_events_are_compacted_into_one_config_map(space: Space, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(history, "SINGLE_EVENTS", 3)
    store = context_of(await space.target(), NAME, Images()).store
    past, runs = await store.read(), [f"run-{number}" for number in range(6)]
    for run in runs:
        past = await store.append(past, HistoryEvent(run, EventType.STARTED, clock.timestamp()))
    kept = [f"tiny-history-{name}" for name in ("000003", "000004", "000005", "000006", "archive")]
    assert [name for name in space.names("v1/configmaps") if name.startswith("tiny-history")] == kept
    assert [event.run for event in (await store.read()).events] == runs
