"""Gates, builders and deployers of other modules take the place of Slipway's own, and are held to the same rules."""

import subprocess
import uuid
from collections.abc import Callable
from pathlib import Path

import dagger
import pytest

from pipeline import images
from pipeline.core.errors import GateClosedError, SmokeFailedError
from pipeline.slipway import Slipway

Make = Callable[..., Slipway]
Scanner = Callable[[str], dagger.Container]

SERVER = """
const commit = process.argv[1];
require("http").createServer((request, response) => {
  response.statusCode = process.argv[2] === "broken" ? 500 : 200;
  response.end(JSON.stringify({ commit }));
}).listen(3000);
"""


class Marker:
    """A gate that refuses a marker in the sources."""

    def __init__(self, marker: str) -> None:
        self.marker = marker

    async def check(self, source: dagger.Directory) -> str:
        for path in await source.glob("src/*.js"):
            if self.marker in await source.file(path).contents():
                # As an error of another module's function arrives here: from the engine.
                argv = ["node", "-e", f"console.error('{self.marker} in {path}'); process.exit(1)"]
                await dagger.dag.container().from_(images.NODE).with_exec(argv).sync()
        return f"no {self.marker}"


class Sources:
    """A builder that runs the sources as they are."""

    def build(self, source: dagger.Directory, platform: str) -> dagger.Container:
        assert platform == ""
        return (
            dagger.dag.container()
            .from_(images.NODE)
            .with_directory("/app", source)
            .with_workdir("/app")
            .with_exposed_port(3000)
            .with_entrypoint(["node", "src/main.js"])
        )


class Platform:
    """A deployer: a server of the engine stands in for a platform; it answers with a commit."""

    def __init__(self, commit: str, mode: str = "healthy") -> None:
        self.commit = commit
        self.mode = mode
        self.calls: list[tuple[str, ...]] = []

    async def deploy(self, reference: str, environment: str) -> str:
        self.calls.append(("deploy", reference, environment))
        server = dagger.dag.container().from_(images.NODE).with_exposed_port(3000)
        server = server.with_env_variable("RUN", uuid.uuid4().hex)
        service = server.as_service(args=["node", "-e", SERVER, self.commit, self.mode])
        return await (await service.start()).endpoint(scheme="http")

    async def rollback(self, environment: str) -> str:
        self.calls.append(("rollback", environment))
        return "restored"


def head(repository: Path) -> str:
    argv = ["git", "-C", str(repository), "rev-parse", "HEAD"]
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout.strip()


async def test_a_gate_of_another_module_passes(make: Make, capsys: pytest.CaptureFixture[str]):
    checked = await make().check(gates=[Marker("FIXME")])
    assert checked.context.project.name == "tiny"
    assert "gate 1 passed (no FIXME)" in capsys.readouterr().out


async def test_a_gate_of_another_module_closes(make: Make):
    with pytest.raises(GateClosedError, match=r"gate 2: closed(.|\n)*FIXME in src/left\.js"):
        await make({"service/src/left.js": "// FIXME"}).check(gates=[Marker("TODO"), Marker("FIXME")])


async def test_a_closed_gate_of_another_module_ends_the_shipment(make: Make, scanner: Scanner):
    slipway = make({"service/src/left.js": "// FIXME"}).with_scanner(scanner("clean"))
    shipment = await slipway.ship(gates=[Marker("FIXME")])
    assert not shipment.passed
    assert shipment.error.startswith("gate 1: closed")
    assert "code: gate-closed" in shipment.error


async def test_the_image_of_another_builder_is_labelled_scanned_and_published(
    make: Make, repository: Path, scanner: Scanner
):
    slipway = make().with_scanner(scanner("clean"))
    built = await (await slipway.check()).build(builder=Sources())
    assert built.base_image == ""
    labels = {await label.name(): await label.value() for label in await built.container.labels()}
    assert labels["org.opencontainers.image.revision"] == head(repository)
    assert "src/" in await built.container.directory("/app").entries()
    release = await (await built.scan()).publish()
    assert release.reference.startswith("localhost:5000/tiny@sha256:")


async def test_another_deployer_gets_the_digest_and_is_smoke_tested_at_its_url(
    make: Make, repository: Path, scanner: Scanner
):
    slipway = make().with_scanner(scanner("clean"))
    platform = Platform(head(repository))
    shipment = await slipway.ship(environment="preview", deployer=platform)
    assert shipment.passed, shipment.error
    assert platform.calls == [("deploy", shipment.reference, "preview")]


@pytest.mark.parametrize("mode", ["broken", "healthy"])
async def test_another_deployer_rolls_back_after_a_failed_smoke_test(make: Make, scanner: Scanner, mode: str):
    release = await (await (await (await make().with_scanner(scanner("clean")).check()).build()).scan()).publish()
    platform = Platform("another commit", mode)
    deployment = await release.deploy("preview", deployer=platform)
    problem = "answered 500" if mode == "broken" else "answered commit another commit"
    with pytest.raises(SmokeFailedError, match=problem):
        await deployment.smoke(attempts=1)
    assert platform.calls == [("deploy", release.reference, "preview"), ("rollback", "preview")]
