"""From source to staging in one run, the smoke test at an address, and what the history amounts to."""

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
ADDRESS = "http://staging:8080"


async def test_ship_delivers_to_staging_and_proves_it(
    space: Any,
    registry: dagger.Service,
    make: Callable[..., Slipway],
    scanner: Callable[[str], dagger.Container],
    history: Callable[[], Awaitable[list[dict[str, Any]]]],
    keys: Any,
):
    slipway = await make({"cosign.pub": keys.public_key}).with_verification(repository=keys.trust().repository)
    signing = slipway.with_signer(key=keys.signer.key, password=keys.signer.password)
    shipment = await signing.ship(
        registry="localhost:5000/tiny",
        registry_service=registry,
        scanner=scanner("clean"),
        namespace=f"{space.name}-staging",
        manifests=space.manifests(),
        link="https://ci.example.com/run/1",
        **space.access,
    )
    summary = await shipment.summary()
    assert "to staging: passed" in summary
    assert space.live() == shipment.reference
    [entry] = await history()
    assert (entry["result"], entry["reference"]) == ("proven", shipment.reference)
    assert entry["link"] == "https://ci.example.com/run/1"
    assert entry["unsigned"] == ""
    assert json.loads(shipment.document)["environment"] == "staging"
    release = await signing.release(shipment.reference, registry_service=registry)
    assert release.commit in await release.verify_release()


async def test_ship_does_not_begin_what_could_not_be_deployed_unsigned(
    space: Any, registry: dagger.Service, make: Callable[..., Slipway], keys: Any
):
    given = {"registry": "localhost:5000/tiny", "registry_service": registry, "manifests": space.manifests()}
    broken = {"service/test/unit.test.js": "process.exit(1)"}
    for files, words in (
        (broken, "nobody is trusted to sign releases"),
        (broken | {"cosign.pub": keys.public_key}, "nobody signs"),
    ):
        shipment = await make(files).ship(**given | space.access)
        assert shipment.error.startswith(f"ship: {words}")
        assert "✔" not in shipment.table


async def test_ship_reports_a_cluster_that_is_not_there_before_anything_else_is_done(
    space: Any, registry: dagger.Service, make: Callable[..., Slipway], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("pipeline.kubernetes.cluster.pause", lambda _: 0)
    config = space.control.kubeconfig(space.token(), server="https://127.0.0.1:1")
    shipment = await make({"service/test/unit.test.js": "process.exit(1)"}).ship(
        registry="localhost:5000/tiny",
        registry_service=registry,
        manifests=space.manifests(),
        kubeconfig=space.kubeconfig(config),
        allow_unsigned=True,
    )
    assert not shipment.passed
    assert "https://127.0.0.1:1 cannot be reached" in shipment.error
    assert "✔" not in shipment.table
    assert shipment.error in await shipment.report().file("report.md").contents()


async def test_ship_tells_of_a_rollout_that_failed_and_of_what_became_of_the_environment(
    space: Any, registry: dagger.Service, make: Callable[..., Slipway], scanner: Callable[[str], dagger.Container]
):
    shipment = await make().ship(
        registry="localhost:5000/tiny",
        registry_service=registry,
        scanner=scanner("clean"),
        namespace=f"{space.name}-staging",
        manifests=space.manifests("crash-loop"),
        allow_unsigned=True,
        **space.access,
    )
    assert not shipment.passed
    assert "crashed 4 times" in shipment.table
    assert "nothing was proven in staging before: removed what this run made" in shipment.table
    assert shipment.reference
    assert space.live() == ""


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"environment": "production"}, "production is reached by a promotion only"),
        ({"registry": None, "registry_service": None}, "a cluster needs a registry"),
        ({"kubeconfig": None}, "there is no cluster to deploy to"),
    ],
)
async def test_ship_refuses_at_once_what_it_must_not_do(
    space: Any,
    registry: dagger.Service,
    make: Callable[..., Slipway],
    arguments: dict[str, Any],
    words: str,
):
    given = {"registry": "localhost:5000/tiny", "registry_service": registry, "manifests": space.manifests()}
    with pytest.raises(InvalidInputError, match=words):
        await make({"service/test/unit.test.js": "process.exit(1)"}).ship(**given | space.access | arguments)


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


async def test_the_smoke_test_can_ask_at_an_address(
    space: Any, releases: dict[str, Release], deploy: Deploy, answering: Callable[[str], dagger.Service]
):
    # A Job inside would fail here: the address is what is asked.
    deployment = await deploy("good", "smoke-fails")
    service = answering(releases["good"].commit)
    proof = await deployment.smoke(url=ADDRESS, url_service=service, stable_seconds=1)
    assert (proof.release, proof.attempts) == (releases["good"].reference, 1)


async def test_another_commit_at_the_address_is_a_failure(
    space: Any,
    releases: dict[str, Release],
    deploy: Deploy,
    ship: Callable[..., Awaitable[Any]],
    answering: Callable[[str], dagger.Service],
):
    await ship("good")
    deployment = await deploy("better")
    service = answering(releases["good"].commit)
    with pytest.raises(SmokeFailedError, match="failed 2 of 2 attempts"):
        await deployment.smoke(url=ADDRESS, url_service=service, stable_seconds=1, attempts=2)
    assert space.live() == releases["good"].reference


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("staging.example.com", "--url is not the address of a service"),
        ("https://captain:secret@staging.example.com", "--url is not the address of a service"),
        ("http://localhost:8080", "is the test's own container"),
    ],
)
async def test_an_address_that_cannot_be_meant_is_refused(space: Any, deploy: Deploy, url: str, words: str):
    deployment = await deploy("good")
    with pytest.raises(InvalidInputError, match=words) as caught:
        await deployment.smoke(url=url)
    assert "secret" not in str(caught.value)
    assert space.live(), "nothing is undone for a slip of the pen"


async def test_the_history_amounts_to_the_dora_metrics(
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
    assert "change failure rate             50%  1 of 2 changes" in measured.summary
    files = await measured.report().entries()
    assert files == ["dora.json", "dora.md", "dora.svg"]
