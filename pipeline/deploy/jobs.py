"""Running Jobs in an environment's namespace, and removing those of killed runs."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import anyio

from pipeline.core import clock
from pipeline.core.errors import ClusterError, NotReadyError, StageFailedError
from pipeline.core.log import log
from pipeline.deploy.context import DeployContext
from pipeline.kubernetes import manifests, rollout
from pipeline.kubernetes.client import ClusterClient, get_one
from pipeline.kubernetes.job_manifests import SERVICE_LABEL, container_of
from pipeline.kubernetes.manifests import Manifest
from pipeline.kubernetes.watch import tail_logs
from pipeline.observe.history import History

JOB_LABEL = "batch.kubernetes.io/job-name"


async def remove_leftovers(context: DeployContext, past: History) -> None:
    """Remove all Jobs of a service and their files, and wait until the pods are gone: migrations must not overlap.

    To be called while the environment is held: then only runs that were killed can have left any.

    Raises:
        NotReadyError: if a pod is not gone by the deadline.
    """
    last = past.deployments[-1] if past.deployments else None
    if last and last.result == "running":
        log("deploy", f"the last run, started at {last.started_at}, never ended; this one repairs it")
    labels = {SERVICE_LABEL: context.service}
    await context.client.delete_selected(["jobs", "configmaps"], labels)
    started = clock.monotonic()
    while pods := await context.client.find(["pods"], labels=labels):
        if clock.monotonic() - started > context.timing.leftover_seconds:
            raise NotReadyError(
                f"pod {pods[0]['metadata']['name']} of a killed run does not end",
                hint="its node may be lost: look at it, delete the pod, and run again",
            )
        await anyio.sleep(context.timing.job_poll_seconds)


@asynccontextmanager
async def run_job(
    context: DeployContext, job: Manifest, files: Sequence[Manifest] = (), *, hint: str
) -> AsyncIterator[Manifest]:
    """Run a Job; its pod, which succeeded, is there during the body. Job and files are deleted in any case.

    Args:
        context: the environment.
        job: the Job.
        files: objects that it needs.
        hint: what to try if it fails.

    Raises:
        StageFailedError: as soon as it failed or can never start, with its state and the end of its log.
        NotReadyError: if it has not ended by its deadline.
    """
    objects = [*files, job]
    try:
        for manifest in objects:
            if not await context.client.create(manifest):
                raise ClusterError(f"{manifests.identity(manifest)} exists already", hint="run again")
        yield await _wait_until_ended(context, job, hint)
    finally:
        with anyio.CancelScope(shield=True):
            await context.client.delete(map(manifests.identity, objects))


async def _wait_until_ended(context: DeployContext, job: Manifest, hint: str) -> Manifest:
    """Wait until a Job ends; return its pod."""
    name, seconds = str(job["metadata"]["name"]), int(job["spec"]["activeDeadlineSeconds"])
    client = context.client
    started = clock.monotonic()
    while (elapsed := clock.monotonic() - started) < seconds:
        live = await get_one(client, manifests.identity(job)) or {}
        pods = await client.find(["pods"], labels={JOB_LABEL: name})
        status = live.get("status") or {}
        if status.get("succeeded") and pods:
            return pods[-1]
        reason = next((text for pod in pods if (text := rollout.terminal_reason(pod))), "")
        if status.get("failed") or reason:
            lines = [line for pod in pods for line in rollout.describe_pod(pod)]
            lines += [await tail_logs(client, pods[-1]["metadata"]["name"], container_of(job))] if pods else []
            raise StageFailedError(reason or "the Job failed", output="\n".join(lines), hint=hint)
        if not pods and elapsed > context.timing.no_pod_seconds and (warnings := await _warnings(client, name)):
            raise StageFailedError("its pod cannot be created", output="\n".join(warnings), hint=hint)
        await anyio.sleep(context.timing.job_poll_seconds)
    raise NotReadyError(f"not done within {seconds} s", hint=hint)


async def _warnings(client: ClusterClient, job: str) -> list[str]:
    """Return the cluster's warnings about a Job."""
    fields = {"involvedObject.kind": "Job", "involvedObject.name": job, "type": "Warning"}
    return [f"{event.get('reason')}: {event.get('message')}" for event in await client.find(["events"], fields=fields)]
