"""From source to staging in one run, the smoke test at an address, and the metrics of the history."""

import json
import threading
from collections.abc import Awaitable, Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import dagger
import pytest

from pipeline.api.release import Release
from pipeline.core.errors import InvalidInputError, RolloutError, SmokeFailedError
from pipeline.slipway import Slipway

pytestmark = pytest.mark.kubernetes

Deploy = Callable[..., Awaitable[Any]]
Make = Callable[..., Slipway]
BROKEN = {"service/test/unit.test.js": "process.exit(1)"}
ADDRESS = "http://staging:8080"


async def test_ship_deploys_to_staging_and_verifies_it_there(
    space: Any,
    registry: dagger.Service,
    make: Callable[..., Slipway],
    scanner: Callable[[str], dagger.Container],
    history: Callable[[], Awaitable[list[dict[str, Any]]]],
    keys: Any,
):
    slipway = await make({"cosign.pub": keys.public_key}).with_verification(repository=keys.policy().repository)
    signing = slipway.with_signer(key=keys.signer.key, password=keys.signer.password)
    configured = await at(signing, space, registry, scanner("clean"))
    shipment = await configured.ship(link="https://ci.example.com/run/1")
    summary = await shipment.summary()
    assert "to staging: passed" in summary
    assert space.live() == shipment.reference
    [entry] = await history()
    assert (entry["result"], entry["reference"]) == ("verified", shipment.reference)
    assert entry["link"] == "https://ci.example.com/run/1"
    assert entry["unsigned"] == ""
    assert json.loads(shipment.document)["environment"] == "staging"
    release = await configured.release(shipment.reference)
    assert release.context.commit.sha in await release.verify_release()


async def test_ship_does_not_begin_what_could_not_be_deployed_unsigned(
    space: Any, registry: dagger.Service, make: Callable[..., Slipway], keys: Any
):
    broken = {"service/test/unit.test.js": "process.exit(1)"}
    for files, problem in (
        (broken, "no verification policy is configured"),
        (broken | {"cosign.pub": keys.public_key}, "no signer is configured"),
    ):
        shipment = await (await at(make(files), space, registry)).ship()
        assert shipment.error.startswith(f"ship: {problem}")
        assert "✔" not in shipment.table


async def test_ship_reports_a_cluster_that_is_not_there_before_anything_else_is_done(
    space: Any, registry: dagger.Service, make: Callable[..., Slipway], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("pipeline.core.retry.pause", lambda _: 0)
    config = space.control.kubeconfig(space.token(), server="https://127.0.0.1:1")
    unsigned = await make({"service/test/unit.test.js": "process.exit(1)"}).with_verification(allow_unsigned=True)
    slipway = await at(unsigned, space, registry, kubeconfig=space.kubeconfig(config), api_server=None)
    shipment = await slipway.ship()
    assert not shipment.passed
    assert "https://127.0.0.1:1 cannot be reached" in shipment.error
    assert "✔" not in shipment.table
    assert shipment.error in await shipment.report().file("report.md").contents()


async def test_ship_reports_a_rollout_that_failed_and_the_state_of_the_environment(
    space: Any, registry: dagger.Service, make: Callable[..., Slipway], scanner: Callable[[str], dagger.Container]
):
    unsigned = await make().with_verification(allow_unsigned=True)
    slipway = await at(unsigned, space, registry, scanner("clean"), manifests=space.manifests("crash-loop"))
    shipment = await slipway.ship()
    assert not shipment.passed
    assert "crashed 4 times" in shipment.table
    assert "no release was verified in staging before: removed what this run created" in shipment.table
    assert shipment.reference
    assert space.live() == ""


async def test_ship_refuses_at_once_to_deploy_to_production(space: Any, registry: dagger.Service, make: Make):
    space.add("production")
    slipway = await at(make(BROKEN), space, registry)
    target = await space.target("production")
    slipway.configured.environments.append(target)
    shipment = await slipway.ship(environment="production")
    assert shipment.error.startswith("deploy: production is reached by a promotion only")
    assert "✔" not in shipment.table


async def test_ship_refuses_at_once_a_cluster_without_a_registry(space: Any, registry: dagger.Service, make: Make):
    slipway = await at(make(BROKEN), space, registry)
    slipway.configured.registry = None
    shipment = await slipway.ship()
    assert shipment.error.startswith("ship: a cluster needs a registry to pull from")


async def at(
    slipway: Slipway, space: Any, registry: dagger.Service, scanner: dagger.Container | None = None, **options: Any
) -> Slipway:
    """Return the module with the registry, the test's staging environment and a scanner."""
    published = slipway.with_registry("localhost:5000/tiny", service=registry).with_scanner(scanner)
    published.configured.environments = [await space.target(**options)]
    return published


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


async def test_the_smoke_test_can_use_a_url(
    space: Any, releases: dict[str, Release], deploy: Deploy, answering: Callable[[str], dagger.Service]
):
    # A Job inside would fail here: the address is what is asked.
    service = answering(releases["good"].context.commit.sha)
    deployment = await deploy("good", "smoke-fails", url=ADDRESS, url_service=service)
    verification = await deployment.smoke(stable_seconds=1)
    assert (verification.reference, verification.attempts) == (releases["good"].reference, 1)


async def test_another_commit_at_the_address_is_a_failure(
    space: Any,
    releases: dict[str, Release],
    deploy: Deploy,
    ship: Callable[..., Awaitable[Any]],
    answering: Callable[[str], dagger.Service],
):
    await ship("good")
    service = answering(releases["good"].context.commit.sha)
    deployment = await deploy("better", url=ADDRESS, url_service=service)
    with pytest.raises(SmokeFailedError, match="failed 2 of 2 attempts"):
        await deployment.smoke(stable_seconds=1, attempts=2)
    assert space.live() == releases["good"].reference


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("staging.example.com", "--url is not the address of a service"),
        ("https://captain:secret@staging.example.com", "--url is not the address of a service"),
        ("http://localhost:8080", "is the test's own container"),
    ],
)
async def test_a_malformed_url_is_refused(space: Any, url: str, problem: str):
    with pytest.raises(InvalidInputError, match=problem) as caught:
        await space.target(url=url)
    assert "secret" not in str(caught.value)


async def test_the_dora_metrics_are_computed_from_the_history(
    space: Any, deploy: Deploy, ship: Callable[..., Awaitable[Any]], environment: Callable[..., Awaitable[Any]]
):
    await ship("good")
    with pytest.raises(RolloutError):
        await deploy("bad", "crash-loop")
    measured = await (await environment()).dora(since="2026-01-01")
    document = json.loads(measured.document)
    assert (document["changes"], document["change_failure_rate"]) == (2, 0.5)
    assert document["deployments"] == 1
    assert 0 < document["time_to_restore_seconds"] < 120
    assert document["lead_time_seconds"] > 0
    assert "change failure rate 50% 1 of 2 changes" in " ".join(measured.summary.split())
    files = await measured.report().entries()
    assert files == ["dora.json", "dora.md", "dora.svg"]
