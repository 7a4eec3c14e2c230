"""The engines that tests run on: each contract holds on both, wherever both can be had."""

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import dagger
import pytest

from launch import engine as launcher

ROOT = Path(__file__).resolve().parent.parent
ENGINES = ("embedded", "dagger")


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
