"""What the engine's own contracts share: base images, and a session of the embedded engine with a cache of its own."""

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import dagger
import pytest

ROOT = Path(__file__).resolve().parents[3]

Start = Callable[..., AbstractContextManager[subprocess.Popen[str]]]


@pytest.fixture
def debian(dag: dagger.Client) -> dagger.Container:
    return dag.container().from_("debian:trixie-slim")


@pytest.fixture
def python(dag: dagger.Client) -> dagger.Container:
    return dag.container().from_("python:3.13-slim")


@pytest.fixture
def fresh() -> str:
    """Something no earlier run can have answered."""
    return uuid.uuid4().hex


@pytest.fixture
def start_engine(tmp_path: Path) -> Start:
    """Start an embedded engine: `with start_engine(cache) as process`, whose first line of output is read already."""

    @contextmanager
    def start(cache: Path = tmp_path / "cache", **variables: str) -> Iterator[subprocess.Popen[str]]:
        env = os.environ | {"SLIPWAY_CACHE": str(cache)} | variables
        command = [sys.executable, "-m", "drydock", "session"]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env, cwd=ROOT
        ) as process:
            process.answer = json.loads(process.stdout.readline())  # type: ignore[attr-defined,union-attr]
            yield process
            process.stdin.close()  # type: ignore[union-attr]

    return start


@pytest.fixture
def run_script(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run lines of Python against an embedded engine with a cache of its own; `dag` is connected."""

    def run(lines: str, cache: Path = tmp_path / "cache", **variables: str) -> subprocess.CompletedProcess[str]:
        body = "\n".join(f"        {line}" for line in lines.strip().splitlines())
        script = f"import anyio, dagger\nfrom dagger import dag\nasync def main():\n    async with dagger.connection():\n{body}\nanyio.run(main)\n"  # noqa: E501
        env = {k: v for k, v in os.environ.items() if not k.startswith("DAGGER_SESSION")}
        env |= {"SLIPWAY_CACHE": str(cache)} | variables
        command = [sys.executable, "-m", "drydock", "run", "--", sys.executable, "-c", script]
        return subprocess.run(command, capture_output=True, text=True, env=env, cwd=ROOT, timeout=120, check=False)

    return run
