"""Watching a Deployment: until its rollout is done, and for a while afterwards."""

import dataclasses
import datetime
from collections.abc import Sequence

import anyio

from pipeline.core import clock
from pipeline.core.errors import ClusterError, RolloutError
from pipeline.core.log import log
from pipeline.kubernetes import rollout
from pipeline.kubernetes.client import ClusterClient
from pipeline.kubernetes.manifests import Manifest

LOG_LINES = 20
# The cluster's clock may be behind this one.
CLOCK_SKEW = datetime.timedelta(seconds=5)


async def tail_logs(client: ClusterClient, pod: str, container: str) -> str:
    """Return the end of a container's log, before its last restart if there was one; empty if there is none."""
    for previous in (True, False):
        try:
            return (await client.logs(pod, container, lines=LOG_LINES, previous=previous)).strip()
        except ClusterError:
            continue
    return ""


@dataclasses.dataclass(frozen=True, slots=True)
class Watch:
    """A Deployment that is watched from now on.

    Args:
        client: the namespace.
        deployment: name of the Deployment.
        poll_seconds: how often the cluster is asked.
        started_at: older events are ignored.
    """

    client: ClusterClient
    deployment: str
    poll_seconds: float
    started_at: datetime.datetime = dataclasses.field(default_factory=clock.now)

    async def wait_until_ready(self, seconds: float) -> None:
        """Wait until all pods are of the release, and have been ready for as long as the Deployment demands.

        Raises:
            RolloutError: as soon as the rollout cannot succeed, else at the deadline: with reasons, events and logs.
        """
        deadline = clock.monotonic() + seconds
        logged = ""
        while True:
            pods, progress = await self._progress()
            if progress.summary != logged:
                logged = progress.summary
                log("deploy", f"{self.deployment}: {logged}")
            if progress.done:
                return
            if progress.terminal_reason or clock.monotonic() > deadline:
                problem = progress.terminal_reason or f"not ready within {seconds:g} s ({progress.summary})"
                raise await self._failure(problem, progress.hint, progress, pods)
            await anyio.sleep(self.poll_seconds)

    async def wait_stable(self, seconds: float) -> None:
        """Watch the pods for a while: a crash ten seconds after the smoke test is a failure too.

        Raises:
            RolloutError: if a pod is restarted, or is no longer ready.
        """
        deadline = clock.monotonic() + seconds
        before: dict[str, int] | None = None
        while True:
            pods, progress = await self._progress()
            restarts = dict(rollout.restarts_of(pods))
            before = restarts if before is None else before
            crashed = [pod for pod, count in restarts.items() if count > before.get(pod, 0)]
            if crashed or not progress.done:
                problem = f"pod {crashed[0]} was restarted" if crashed else progress.terminal_reason or progress.summary
                hint = "crash" if crashed else progress.hint
                raise await self._failure(f"became unhealthy after the smoke test: {problem}", hint, progress, pods)
            if clock.monotonic() > deadline:
                log("smoke", f"stayed ready for {seconds:g} s")
                return
            await anyio.sleep(self.poll_seconds)

    async def _progress(self) -> tuple[list[Manifest], rollout.Progress]:
        """Return the Deployment's pods, and the progress of its rollout."""
        by_kind: dict[str, list[Manifest]] = {"Deployment": [], "ReplicaSet": [], "Pod": []}
        for item in await self.client.find(["deployments", "replicasets", "pods"]):
            by_kind[item["kind"]].append(item)
        live = next((item for item in by_kind["Deployment"] if item["metadata"]["name"] == self.deployment), None)
        if live is None:
            raise RolloutError(
                f"Deployment {self.deployment} does not exist any more",
                hint="the cluster's audit log shows who deleted it",
            )
        labels = (live["spec"]["selector"].get("matchLabels") or {}).items()
        pods = [pod for pod in by_kind["Pod"] if labels <= (pod["metadata"].get("labels") or {}).items()]
        return pods, rollout.assess(live, by_kind["ReplicaSet"], pods)

    async def _failure(
        self, problem: str, hint: str, progress: rollout.Progress, pods: Sequence[Manifest]
    ) -> RolloutError:
        """Return the error, with recent warnings and the end of the log that explains most."""
        events = await self.client.find(["events"])
        lines = [*progress.details, *rollout.recent_warnings(events, self.started_at - CLOCK_SKEW)]
        if (worst := rollout.most_telling_container(pods)) and (output := await tail_logs(self.client, *worst)):
            lines += [f"end of the log of {worst[0]}:", *output.splitlines()]
        return RolloutError(problem, output="\n".join(lines), hint=rollout.HINTS[hint])
