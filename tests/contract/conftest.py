"""Registries that behave, and some that misbehave on purpose."""

import uuid
from collections.abc import Callable
from pathlib import Path

import dagger
import pytest

from pipeline import images
from pipeline.core import retry
from pipeline.slipway import Slipway

FIXTURES = Path(__file__).resolve().parent.parent / "fixtures"

Make = Callable[..., Slipway]


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the module retry sooner than it does for its users; how its pauses grow is a unit test."""
    monkeypatch.setattr(retry, "FIRST_PAUSE", 0.1)


@pytest.fixture
def registry(dag: dagger.Client) -> dagger.Container:
    """A registry of this test and run: what an exec was told by one of another run is not its answer."""
    return dag.container().from_(images.REGISTRY).with_env_variable("RUN", uuid.uuid4().hex).with_exposed_port(5000)


@pytest.fixture
def faulty(dag: dagger.Client, registry: dagger.Container) -> Callable[..., dagger.Service]:
    """Return a registry that misbehaves in one of the modes of faulty-registry.mjs, before another one."""

    def build(mode: str, upstream: dagger.Service | None = None) -> dagger.Service:
        return (
            dag.container()
            .from_(images.NODE)
            .with_file("/faulty.mjs", dag.host().file(str(FIXTURES / "faulty-registry.mjs")))
            .with_service_binding("upstream", upstream or registry.as_service(use_entrypoint=True))
            .with_exposed_port(5000)
            .as_service(args=["node", "/faulty.mjs", mode, "http://upstream:5000"])
        )

    return build
