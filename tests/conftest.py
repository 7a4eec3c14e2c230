"""The engines that tests run on, and a small service in a Git repository: each contract holds on both engines."""

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

import dagger
import pytest

from launch import engine as launcher
from pipeline import images
from pipeline.images import Images
from pipeline.signing.policy import Signatures, Signer, VerificationPolicy
from pipeline.signing.sign import key_pair
from pipeline.slipway import Slipway

REPOSITORY = "https://git.example.com/org/tiny"
ROOT = Path(__file__).resolve().parent.parent
FIXTURES = ROOT / "tests" / "fixtures"
ENGINES = ("embedded", "dagger")

Make = Callable[..., Slipway]


@dataclasses.dataclass(frozen=True, slots=True)
class KeyPair:
    """A key to sign with, and what is trusted where that is asked for."""

    signer: Signer
    public_key: str

    @classmethod
    async def make(cls, dag: dagger.Client) -> "KeyPair":
        """Make one, as `key-pair` does."""
        password = dag.set_secret(f"password-{uuid.uuid4().hex}", uuid.uuid4().hex)
        made = await key_pair(Images(), password)
        key = dag.set_secret(f"key-{uuid.uuid4().hex}", await made.file("cosign.key").contents())
        return cls(Signer(key=key, password=password), await made.file("cosign.pub").contents())

    def trust(self, repository: str = REPOSITORY) -> VerificationPolicy:
        """Return the trust in this key."""
        return VerificationPolicy(public_key=self.public_key, repository=repository, path="service")

    def signatures(self, repository: str = REPOSITORY) -> Signatures:
        """Return this key as signer and trusted."""
        return Signatures(signer=self.signer, trust=self.trust(repository))


@pytest.fixture(scope="session", params=ENGINES)
def engine(request: pytest.FixtureRequest) -> Iterator[str]:
    """Open a session on one engine; its name is the value."""
    name = str(request.param)
    if reason := launcher.why_not(name, os.environ):
        pytest.skip(reason)
    with session(name) as variables:
        before = {key: os.environ.get(key) for key in variables}
        os.environ.update(variables)
        yield name
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

    def build(files: dict[str, str] | None = None, *, dirty: str = "", **arguments: str) -> Slipway:
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
