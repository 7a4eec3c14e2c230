"""The engines that tests run on, and a small service in a Git repository: each contract holds on both engines.

Which engines are there is decided when tests are collected: a missing one has no tests, and the header says why.
"""

import dataclasses
import json
import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagger
import pytest
from xdist.scheduler import LoadScopeScheduling

from launch import engine as launcher
from pipeline import images
from pipeline.images import Images
from pipeline.signing.policy import Signer, VerificationPolicy
from pipeline.signing.sign import generate_key_pair
from pipeline.slipway import Slipway

REPOSITORY = "https://git.example.com/org/tiny"
ROOT = Path(__file__).resolve().parent.parent
FIXTURES = ROOT / "tests" / "fixtures"
ENGINES = ("embedded", "dagger")
# Marker to the only engine that makes the promise.
ONLY_ON = {"drydock": "embedded", "dagger": "dagger"}
MISSING = pytest.StashKey[dict[str, str]]()

Make = Callable[..., Slipway]


def pytest_configure(config: pytest.Config) -> None:
    """Find out which engines are missing and why; processes of one run ask once."""
    known = getattr(config, "workerinput", {}).get("missing_engines")
    asked = known if known is not None else {name: launcher.why_not(name, os.environ) for name in ENGINES}
    config.stash[MISSING] = {name: reason for name, reason in asked.items() if reason}


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Pass the answer on to a process of pytest-xdist."""
    node.workerinput["missing_engines"] = node.config.stash[MISSING]


def process_group(test: str) -> str:
    """Return what runs in one process: an end-to-end file, because its tests share a clone; of others, each test."""
    return test.partition("::")[0] if test.startswith("tests/e2e/") else test


class Scheduler(LoadScopeScheduling):  # type: ignore[misc] # pytest-xdist has no types
    """Distributes tests over processes by `process_group`."""

    def _split_scope(self, nodeid: str) -> str:
        return process_group(nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Scheduler:
    """Distribute tests over processes; `--dist loadgroup` would, but pytest-xdist 3.8 loses groups on pytest 9."""
    return Scheduler(config, log)


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Show which engines tests run on."""
    missing = config.stash[MISSING]
    there = [name for name in ENGINES if name not in missing]
    lines = [f"engines: {', '.join(there) or 'none, so that nothing is tested on one'}"]
    return lines + [f"engines: no tests on {name}: {reason}" for name, reason in missing.items()]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each test that needs an engine on each engine that is there and makes the promise."""
    if "engine_name" in metafunc.fixturenames:
        names = engines_of(metafunc.definition, metafunc.config)
        metafunc.parametrize("engine_name", names or [pytest.param("", id="no-engine")], scope="session")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the tests for which no engine is there."""
    left_out = [item for item in items if needs_engine(item) and not engines_of(item, config)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in set(left_out)]


def engines_of(node: pytest.Item, config: pytest.Config) -> list[str]:
    """Return the engines that are there and make a test's promise."""
    promising = [engine for marker, engine in ONLY_ON.items() if node.get_closest_marker(marker)] or ENGINES
    return [name for name in promising if name not in config.stash[MISSING]]


def needs_engine(item: pytest.Item) -> bool:
    """Whether a test runs on an engine."""
    fixtures = getattr(item, "fixturenames", ())
    return "engine_name" in fixtures or any(item.get_closest_marker(marker) for marker in ONLY_ON)


@dataclasses.dataclass(frozen=True, slots=True)
class KeyPair:
    """A signer with a key, and the public key to verify with."""

    signer: Signer
    public_key: str

    @classmethod
    async def make(cls, dag: dagger.Client) -> "KeyPair":
        """Make one, as `key-pair` does."""
        password = dag.set_secret(f"password-{uuid.uuid4().hex}", uuid.uuid4().hex)
        pair = await generate_key_pair(Images(), password)
        key = dag.set_secret(f"key-{uuid.uuid4().hex}", await pair.file("cosign.key").contents())
        return cls(Signer(key=key, password=password), await pair.file("cosign.pub").contents())

    def policy(self, repository: str = REPOSITORY) -> VerificationPolicy:
        """Return the policy that requires a signature by this key."""
        return VerificationPolicy(public_key=self.public_key, repository=repository, path="service")


@pytest.fixture(scope="session")
def engine(engine_name: str) -> Iterator[str]:
    """Open a session on one engine; its name is the value."""
    with session(engine_name) as variables:
        before = {key: os.environ.get(key) for key in variables}
        os.environ.update(variables)
        yield engine_name
        for key, value in before.items():
            if value is None:
                os.environ.pop(key)
            else:
                os.environ[key] = value


@pytest.fixture(scope="session")
async def dag(engine: str) -> AsyncIterator[dagger.Client]:
    """The SDK's global client, connected to the engine."""
    async with dagger.connection():
        yield dagger.dag


@pytest.fixture(scope="session")
async def keys(dag: dagger.Client) -> KeyPair:
    """A key pair of this run."""
    return await KeyPair.make(dag)


@contextmanager
def session(engine: str) -> Iterator[dict[str, str]]:
    """Run an engine's own session command; give the variables by which an SDK finds it."""
    command = ["dagger", "session"] if engine == "dagger" else [sys.executable, "-m", "drydock", "session"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdin
        assert process.stdout
        answer = json.loads(process.stdout.readline())
        yield {"DAGGER_SESSION_PORT": str(answer["port"]), "DAGGER_SESSION_TOKEN": answer["session_token"]}
        process.stdin.close()


def commit(folder: Path) -> str:
    """Commit everything in a folder, always at the same time; return the hash: the same content is the same commit."""
    when = {"GIT_AUTHOR_DATE": "2026-01-02T03:04:05Z", "GIT_COMMITTER_DATE": "2026-01-02T03:04:05Z"}
    git = ["git", "-c", "user.name=Test", "-c", "user.email=test@example.com", "-C", str(folder)]
    if not (folder / ".git").exists():
        subprocess.run([*git, "init", "-q", "-b", "main"], check=True)
    subprocess.run([*git, "add", "-A"], check=True)
    if subprocess.run([*git, "diff", "--cached", "--quiet"], check=False).returncode:
        subprocess.run([*git, "commit", "-q", "-m", "a commit"], check=True, env=os.environ | when)
    return subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def commit_all() -> Callable[[Path], str]:
    """Return what commits everything in a folder, and gives the hash."""
    return commit


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with the service in `service/`, not yet committed."""
    shutil.copytree(FIXTURES / "service", tmp_path / "repository" / "service")
    return tmp_path / "repository"


@pytest.fixture
def make(dag: dagger.Client, repository: Path) -> Make:
    """Return the module for the repository: `make({"service/file": "text"}, path=…)` writes, commits, constructs."""

    def build(files: dict[str, str] | None = None, *, dirty: str = "", **arguments: Any) -> Slipway:
        for name, text in (files or {}).items():
            target = repository / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text)
        commit(repository)
        if dirty:
            (repository / dirty).write_text("not in any commit")
        source = dag.host().directory(str(repository), no_cache=True)
        return Slipway(source=source, **({"path": "service"} | arguments))

    return build


@pytest.fixture
def scanner(dag: dagger.Client) -> Callable[[str], dagger.Container]:
    """Return a stand-in for Trivy in one of its modes."""

    def build(mode: str) -> dagger.Container:
        return (
            dag.container()
            .from_(images.NODE)
            .with_file(
                "/usr/local/bin/trivy",
                dag.host().file(str(FIXTURES / "trivy-stand-in")),
                permissions=0o755,
            )
            .with_directory("/recorded", dag.host().directory(str(FIXTURES / "trivy-0.74.0")))
            .with_env_variable("STAND_IN", mode)
        )

    return build
