"""What all operations on an environment share: the service, its namespace, the history and the deadlines."""

import dataclasses
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any

import dagger

from pipeline.core import clock
from pipeline.deploy.smoke import SmokeTest, ask_url
from pipeline.kubernetes import lease, manifests
from pipeline.kubernetes.client import ClusterClient
from pipeline.observe.events import EventType, HistoryEvent
from pipeline.observe.history import History
from pipeline.observe.history_store import HistoryStore

ROLLOUT_SECONDS = 300
LEASE_WAIT_SECONDS = 600
STABLE_SECONDS = 15

AskUrl = Callable[[str, SmokeTest, str, Mapping[str, dagger.Service]], Awaitable[int]]


@dataclasses.dataclass(frozen=True, slots=True)
class Timing:
    """Deadlines and intervals, in seconds.

    Args:
        rollout_seconds: within which a rollout must be done.
        lease_wait_seconds: for which another run's hold on the environment is waited for.
        stable_seconds: for which pods must stay ready after the smoke test.
        migration_seconds: within which a migration must be done.
        smoke_seconds: within which a smoke test inside the cluster must be done.
        poll_seconds: how often a rollout is looked at.
        job_poll_seconds: how often a Job is looked at.
        no_pod_seconds: after which a Job without a pod is reported with the cluster's warnings.
        leftover_seconds: within which pods of a killed run must be gone.
    """

    rollout_seconds: float = ROLLOUT_SECONDS
    lease_wait_seconds: float = LEASE_WAIT_SECONDS
    stable_seconds: float = STABLE_SECONDS
    migration_seconds: int = 600
    smoke_seconds: int = 300
    poll_seconds: float = 2
    job_poll_seconds: float = 1
    no_pod_seconds: float = 10
    leftover_seconds: float = 90


@dataclasses.dataclass(frozen=True, slots=True)
class DeployContext:
    """One service in one environment of a cluster.

    Args:
        environment: such as staging.
        service: name of the service.
        client: the environment's namespace.
        tool_image: with Node, by digest: runs the smoke test in the engine and in the cluster.
        timing: deadlines and intervals.
        ask_url: runs the smoke test in the engine.
    """

    environment: str
    service: str
    client: ClusterClient
    tool_image: str
    timing: Timing = dataclasses.field(default_factory=Timing)
    ask_url: AskUrl = ask_url

    @property
    def store(self) -> HistoryStore:
        """Where the history is stored."""
        return HistoryStore(self.client, self.service, self.environment)

    def hold(self, run: str) -> AbstractAsyncContextManager[lease.Hold]:
        """Hold the environment during the body: one run at a time changes it."""
        return lease.hold(self.client, f"slipway-{self.service}", f"run-{run}", seconds=self.timing.lease_wait_seconds)

    async def record(
        self,
        past: History,
        run: str,
        event: EventType,
        details: Mapping[str, Any] | None = None,
        attachments: Mapping[str, str] | None = None,
    ) -> History:
        """Record an event of a run; return the history with it."""
        return await self.store.append(past, HistoryEvent(run, event, clock.timestamp(), details or {}), attachments)

    async def live_digest(self) -> str:
        """Return the digest of the release that runs in the environment, or an empty string."""
        deployments = await self.client.find(["deployments"])
        digests = (manifests.released(deployment, self.service) for deployment in deployments)
        return next((digest for digest in digests if digest), "")
