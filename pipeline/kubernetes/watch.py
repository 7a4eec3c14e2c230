"""Watching a Deployment: until its rollout is done, and for a while afterwards."""

import dataclasses
import datetime
import time
from collections.abc import Sequence

import anyio

from pipeline.core.errors import ClusterError, RolloutError
from pipeline.core.log import log
from pipeline.kubernetes import rollout
from pipeline.kubernetes.cluster import Cluster
from pipeline.kubernetes.manifests import Manifest

POLL_SECONDS = 2
LOG_LINES = 20
# The cluster's clock and ours may differ a little.
CLOCKS_APART = datetime.timedelta(seconds=5)


async def tail_logs(cluster: Cluster, pod: str, container: str) -> str:
    """Return the last lines of a container, of the run before if it was restarted; what there is, if anything."""
    for previous in (["--previous"], []):
        try:
            argv = ["logs", pod, f"--container={container}", f"--tail={LOG_LINES}", *previous]
            return (await cluster.ask(argv, what="logs", patient=False)).strip()
        except ClusterError:
            continue
    return ""


@dataclasses.dataclass(frozen=True, slots=True)
class Watch:
    """A Deployment that is watched from now on.

    Args:
        what: what is being done, for errors.
        began: when; older events tell of something else.
    """

    cluster: Cluster
    deployment: str
    what: str
    began: datetime.datetime = dataclasses.field(default_factory=lambda: datetime.datetime.now(datetime.UTC))

    async def wait_until_ready(self, seconds: int) -> None:
        """Wait until all pods are of the release, ready for as long as the Deployment asks.

        Raises:
            RolloutError: at once where waiting is in vain, else when time is up: with events, reasons and last words.
        """
        deadline = time.monotonic() + seconds
        told = ""
        while True:
            pods, progress = await self._progress()
            if progress.done:
                log("deploy", f"{self.deployment}: {progress.summary}")
                return
            if progress.summary != told:
                told = progress.summary
                log("deploy", f"{self.deployment}: {told}")
            if progress.terminal_reason or time.monotonic() > deadline:
                problem = progress.terminal_reason or f"not done within {seconds} s ({progress.summary})"
                raise await self._failed(problem, progress, pods, rollout.HINTS[progress.hint])
            await anyio.sleep(POLL_SECONDS)

    async def wait_stable(self, seconds: int) -> None:
        """Watch the pods for a while: a crash ten seconds after the smoke test is a failure too.

        Raises:
            RolloutError: when a pod is restarted, or no longer ready.
        """
        deadline = time.monotonic() + seconds
        first: dict[str, int] | None = None
        while True:
            pods, progress = await self._progress()
            restarts = dict(rollout.restarts_of(pods))
            first = restarts if first is None else first
            crashed = [pod for pod, count in restarts.items() if count > first.get(pod, 0)]
            if not progress.done or crashed:
                problem = f"pod {crashed[0]} was restarted" if crashed else progress.terminal_reason or progress.summary
                hint = rollout.HINTS["crash" if crashed else progress.hint]
                raise await self._failed(f"it passed, and then did not stay: {problem}", progress, pods, hint)
            if time.monotonic() > deadline:
                log("smoke", f"stayed for {seconds} s")
                return
            await anyio.sleep(POLL_SECONDS)

    async def _progress(self) -> tuple[list[Manifest], rollout.Progress]:
        """Ask how the rollout goes; return the Deployment's pods, too."""
        kinds: dict[str, list[Manifest]] = {"Deployment": [], "ReplicaSet": [], "Pod": []}
        for item in await self.cluster.objects("deployments,replicasets,pods", what=self.what):
            kinds[item["kind"]].append(item)
        live = next((item for item in kinds["Deployment"] if item["metadata"]["name"] == self.deployment), None)
        if live is None:
            raise RolloutError(
                f"{self.what}: Deployment {self.deployment} is gone",
                hint="somebody removed it: look at the cluster's audit log",
            )
        labels = (live["spec"]["selector"].get("matchLabels") or {}).items()
        pods = [pod for pod in kinds["Pod"] if labels <= (pod["metadata"].get("labels") or {}).items()]
        return pods, rollout.assess(live, kinds["ReplicaSet"], pods)

    async def _failed(
        self, problem: str, progress: rollout.Progress, pods: Sequence[Manifest], hint: str
    ) -> RolloutError:
        """Return the error, with warnings since the beginning, and the last words of the container that tells most."""
        events = await self.cluster.objects("events", what="events")
        lines = [*progress.details, *rollout.recent(events, self.began - CLOCKS_APART)]
        if (worst := rollout.unready(pods)) and (words := await tail_logs(self.cluster, *worst)):
            lines += [f"last words of {worst[0]}:", *words.splitlines()]
        return RolloutError(f"{self.what}: {problem}", output="\n".join(lines), hint=hint)
