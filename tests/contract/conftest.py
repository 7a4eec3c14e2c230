"""A small service in a Git repository, and what misbehaves on purpose around it."""

import os
import shutil
import subprocess
import uuid
from collections.abc import Callable
from pathlib import Path

import dagger
import pytest

from pipeline import images
from pipeline.slipway import Slipway

FIXTURES = Path(__file__).resolve().parent.parent / "fixtures"

Make = Callable[..., Slipway]


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


@pytest.fixture
def registry(dag: dagger.Client) -> dagger.Container:
    """A registry of this test and run: what an exec was told by one of another run is not its answer."""
    return dag.container().from_(images.REGISTRY).with_env_variable("RUN", uuid.uuid4().hex).with_exposed_port(5000)


@pytest.fixture
def faulty(dag: dagger.Client, registry: dagger.Container) -> Callable[[str], dagger.Service]:
    """Return a registry that misbehaves in one of the modes of faulty-registry.mjs."""

    def build(mode: str) -> dagger.Service:
        return (
            dag.container()
            .from_(images.NODE)
            .with_file("/faulty.mjs", dag.host().file(str(FIXTURES / "faulty-registry.mjs")))
            .with_service_binding("upstream", registry.as_service(use_entrypoint=True))
            .with_exposed_port(5000)
            .as_service(args=["node", "/faulty.mjs", mode, "http://upstream:5000"])
        )

    return build
