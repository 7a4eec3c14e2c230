"""A service called tiny, its releases, and runs that deploy them to a cluster in memory."""

import contextlib
import copy
import dataclasses
import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import anyio
import pytest

from pipeline.deploy.context import DeployContext, Timing
from pipeline.deploy.request import DeployRequest
from pipeline.deploy.rollout import roll_out
from pipeline.deploy.smoke import SmokeOptions, SmokeTest
from pipeline.deploy.status import read_history
from pipeline.deploy.verification import verify
from pipeline.kubernetes.job_manifests import ROLE_LABEL
from pipeline.kubernetes.manifests import Manifest
from pipeline.observe.records import DeploymentRecord
from tests.fakes.cluster import FakeClient, FakeServer, Matches
from tests.fakes.workloads import BEHAVIOUR, GONE_SECONDS

NAME = "tiny"
TOOL = f"registry.example.com/node@sha256:{'f' * 64}"
RELEASES = {
    name: f"ghcr.io/org/tiny@sha256:{digit * 64}" for name, digit in (("good", "a"), ("better", "b"), ("bad", "c"))
}
COMMITS = {name: digit * 40 for name, digit in (("good", "a"), ("better", "b"), ("bad", "c"))}
_runs = itertools.count(1)


def manifests(behaviour: str = "good", *, replicas: int = 2, extra: str = "", image: str = NAME) -> list[Manifest]:
    """Return the service's manifests; pods behave as named, and a further ConfigMap is added if it has a name."""
    labels = {"app": NAME}
    pod = {
        "serviceAccountName": NAME,
        "containers": [{"name": NAME, "image": image, "env": [{"name": "SECRET", "value": "x"}]}],
    }
    objects: list[Manifest] = [
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": NAME},
            "spec": {
                "replicas": replicas,
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels, "annotations": {BEHAVIOUR: behaviour}}, "spec": pod},
            },
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": NAME},
            "spec": {"selector": labels, "ports": [{"port": 80}]},
        },
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": NAME}},
    ]
    if extra:
        objects.append({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": extra}, "data": {"a": "b"}})
    return objects


def request(name: str = "good", **fields: Any) -> DeployRequest:
    """Return the request to deploy a release."""
    known: dict[str, Any] = {
        "reference": RELEASES[name],
        "commit": COMMITS[name],
        "committed_at": "2026-01-02T03:04:05Z",
        "migrates": True,
        "action": "deploy",
    }
    return DeployRequest(**known | fields)


@dataclasses.dataclass
class Url:
    """The smoke test at an address: how often it was asked, and what its answer is."""

    asked: list[tuple[str, SmokeTest, str, Mapping[str, object]]] = dataclasses.field(default_factory=list)
    passed: bool = True

    async def __call__(self, tool_image: str, test: SmokeTest, url: str, services: Mapping[str, object]) -> int:
        """Answer."""
        self.asked.append((tool_image, test, url, services))
        checks = ["/healthz ok"] if self.passed else ["/healthz failed: 503"]
        return test.judge({"passed": self.passed, "attempts": 3, "checks": checks})


class Run:
    """One run of Slipway against an environment."""

    def __init__(self, fake: FakeServer, environment: str = "staging", **timing: float) -> None:
        self.id = f"{next(_runs):032x}"[::-1]
        self.client = FakeClient(fake)
        self.url = Url()
        known: dict[str, Any] = {"rollout_seconds": 60, "lease_wait_seconds": 30, "stable_seconds": 15}
        self.context = DeployContext(environment, NAME, self.client, TOOL, Timing(**known | timing), ask_url=self.url)

    def resumed(self, fake: FakeServer) -> "Run":
        """Return the same run, in a copy of the cluster."""
        run = copy.copy(self)
        run.client = FakeClient(fake)
        run.context = dataclasses.replace(self.context, client=run.client)
        return run

    async def deploy(
        self, name: str = "good", behaviour: str = "good", *, force_conflicts: bool = False, **of: Any
    ) -> None:
        """Deploy a release; further arguments are those of `manifests` or fields of the request."""
        fields = {key: of.pop(key) for key in list(of) if key in DeployRequest.__dataclass_fields__}
        objects = manifests(behaviour, **of)
        await roll_out(self.context, request(name, **fields), objects, self.id, force_conflicts=force_conflicts)

    async def verify(self, **options: Any) -> DeploymentRecord:
        """Verify what was deployed."""
        return await verify(self.context, self.id, SmokeOptions(**options))

    async def ship(self, name: str = "good", behaviour: str = "good", **of: Any) -> DeploymentRecord:
        """Deploy a release, and verify it."""
        await self.deploy(name, behaviour, **of)
        return await self.verify()


async def ship(fake: FakeServer, name: str = "good", behaviour: str = "good", **of: Any) -> DeploymentRecord:
    """Deploy a release, and verify it, in a run of its own."""
    return await Run(fake).ship(name, behaviour, **of)


async def history(fake: FakeServer) -> list[DeploymentRecord]:
    """Return the runs in an environment, oldest first."""
    return (await read_history(Run(fake).context)).deployments


def lease_holder(fake: FakeServer) -> str:
    """Return who holds the environment, or an empty string."""
    lease = fake.store.objects.get(f"lease.coordination.k8s.io/slipway-{NAME}")
    return str(lease["spec"]["holderIdentity"] or "") if lease else ""


async def leftovers(fake: FakeServer) -> list[str]:
    """Return what a run should have removed: Jobs, their pods and files, and the hold on the environment."""
    await anyio.sleep(2 * GONE_SECONDS)
    fake.workloads.advance()
    objects = [item for kind in ("Job", "Pod", "ConfigMap") for item in fake.store.all(kind)]
    of_jobs = [item for item in objects if ROLE_LABEL in (item["metadata"].get("labels") or {})]
    return [*(item["metadata"]["name"] for item in of_jobs), *filter(None, [lease_holder(fake)])]


@contextlib.contextmanager
def killed(run: Run, step: Matches) -> Iterator[None]:
    """Expect that the body ends because the run is killed after a step, before it gets the reply."""
    run.client.kill(step)
    with pytest.raises(BaseException) as caught:  # noqa: PT011 - a Killed, in as many groups as there are tasks
        yield
    assert run.client.is_dead, f"the step was never done: {caught.value!r}"
