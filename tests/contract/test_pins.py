"""Pins of a real repository with their dates, and what `ship --frozen` refuses."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import anyio
import dagger
import pytest

from pipeline import images
from pipeline.check import find_pins as pinning
from pipeline.check import pins
from pipeline.images import Images
from pipeline.slipway import Slipway

Make = Callable[..., Slipway]
Scanner = Callable[[str], dagger.Container]

ROOT = Path(__file__).resolve().parents[2]
SHA = "0123456789abcdef0123456789abcdef01234567"
LOCK = {
    "name": "tiny",
    "lockfileVersion": 3,
    "packages": {"": {}, "node_modules/x": {"resolved": "https://x.example/x.tgz"}},
}


def workflow(*actions: str) -> str:
    return "".join(["jobs:\n  a:\n    steps:\n", *(f"      - uses: {action}\n" for action in actions)])


async def test_the_age_of_a_pin_counts_from_its_commit(make: Make, repository: Path):
    file = ".github/workflows/it's a $(test).yml"
    make({file: workflow(f"a/b@{SHA} # v1")})
    slipway = make({file: "# changed since\n" + workflow(f"a/b@{SHA} # v1", "c/d@v2")})
    listed = {pin["name"]: pin for pin in json.loads(await slipway.pins_json())}
    assert listed["a/b v1"]["since"] == "2026-01-02"  # the date of the tests' commits
    assert listed["a/b v1"]["days"] > 300
    assert (listed["c/d"]["pinned"], listed["c/d"]["since"]) == ("", "")
    # The history of another repository has no dates of Slipway's own pins.
    assert listed["node:24-alpine"]["since"] == ""
    assert "NOT PINNED" in await slipway.pins()


async def test_a_shallow_clone_does_not_know_ages(make: Make, repository: Path, tmp_path: Path, dag: dagger.Client):
    make({".github/workflows/a.yml": workflow(f"a/b@{SHA}")})
    make({"file": "another commit"})
    shallow = tmp_path / "shallow"
    await anyio.run_process(["git", "clone", "-q", "--depth", "1", f"file://{repository}", str(shallow)])
    slipway = Slipway(source=dag.host().directory(str(shallow), no_cache=True), path="service")
    assert {pin["days"] for pin in json.loads(await slipway.pins_json())} == {None}


@pytest.mark.parametrize(
    ("files", "entry"),
    [
        ({".github/workflows/a.yml": workflow("actions/checkout@v7")}, "action actions/checkout in .github"),
        ({"service/package-lock.json": json.dumps(LOCK)}, "packages x in service/package-lock.json"),
        (
            {"service/deploy/kustomization.yaml": "resources: ['https://x.example/y.yaml']\n"},
            "module https://x.example",
        ),
        (
            {"service/deploy/base/a.yaml": "spec: {containers: [{image: 'redis:8'}]}\n"},
            "image redis:8 in service/deploy",
        ),
        (
            {"service/deploy/base/Kustomization": "resources: ['https://x.example/y.yaml']\n"},
            "module https://x.example",
        ),
        ({"dagger.json": '{"dependencies": [{"source": "github.com/o/m@main"}]}'}, "module github.com/o/m@main"),
        (
            {"ci/dagger.json": "{}", "ci/pyproject.toml": "[project]\ndependencies = ['x']\n"},
            "packages x in ci/pyproject",
        ),
    ],
)
async def test_frozen_refuses_at_once_what_is_not_pinned(make: Make, files: dict[str, str], entry: str):
    shipment = await make(files).ship(frozen=True)
    assert not shipment.passed
    assert shipment.error.startswith("ship --frozen: not everything that a run fetches is pinned (1)")
    assert entry in shipment.error
    assert "✔" not in shipment.table


@pytest.mark.parametrize("path", ["./service", "service/", "s[1]*", "."])
async def test_the_service_is_found_however_its_folder_is_written(make: Make, repository: Path, path: str):
    folder = {"./service": "service", "service/": "service"}.get(path, path)
    (repository / "service").rename(repository / "moved")
    shutil.copytree(repository / "moved", repository / folder, dirs_exist_ok=True)
    shutil.rmtree(repository / "moved")
    slipway = make({f"{folder}/package-lock.json": json.dumps(LOCK)}, path=path)
    listed = json.loads(await slipway.pins_json())
    assert [pin["pinned"] for pin in listed if pin["name"] == "x"] == [""]


async def test_an_image_option_with_a_tag_is_not_frozen(make: Make):
    shipment = await make(node_image=images.NODE.partition("@")[0]).ship(frozen=True)
    assert "image node:24-alpine" in shipment.error


async def test_a_repository_that_pins_everything_ships_frozen(make: Make, scanner: Scanner):
    shipment = await make().with_scanner(scanner("clean")).ship(frozen=True)
    assert shipment.passed, shipment.table


async def test_this_repository_pins_everything(dag: dagger.Client):
    source = dag.host().directory(str(ROOT), exclude=["**/node_modules", "**/.venv", ".git"], no_cache=True)
    listed = await pinning.find_pins(source, "app", "harbour", Images())
    pins.check_frozen(listed)
    assert {pin.kind for pin in listed} == {"image", "action", "packages", "engine", "cli"}
