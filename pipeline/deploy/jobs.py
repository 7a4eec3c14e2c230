"""Jobs in the cluster, of the release's own image: its migrations, and the smoke test from inside."""

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import anyio

from pipeline.core.errors import ClusterError, InvalidInputError, NotReadyError, SmokeFailedError, StageFailedError
from pipeline.core.log import log
from pipeline.deploy import smoke
from pipeline.kubernetes import manifests, rollout
from pipeline.kubernetes.cluster import Cluster
from pipeline.kubernetes.manifests import Manifest
from pipeline.kubernetes.watch import tail_logs
from pipeline.oci.references import DigestReference

MIGRATION = ("node", "dist/migrate.js")
MIGRATION_SECONDS = 600
SMOKE_SECONDS = 300
POLL_SECONDS = 1
PODLESS_SECONDS = 10
GONE_SECONDS = 90
TERMINATION_LOG = "/dev/termination-log"


async def migrate(
    cluster: Cluster,
    objects: Sequence[Manifest],
    service: str,
    reference: DigestReference,
    run: str,
    *,
    what: str,
    dry: bool,
) -> str:
    """Run a release's migrations; return what they said.

    Args:
        cluster: where.
        objects: the manifests that the release was put into.
        service: name of the service.
        reference: the release.
        run: the run that this is a part of.
        what: what is being done, for errors.
        dry: change nothing, and tell what would be done.

    Raises:
        SlipwayError: if they fail, are not done in time, or cannot be started.
    """
    role = "migrate-dry-run" if dry else "migrate"
    command = [*MIGRATION, *(["--dry-run"] if dry else [])]
    deployment = manifests.deployment_of_release(objects, reference)
    work = manifests.job(deployment, service, reference, role=role, run=run, command=command, seconds=MIGRATION_SECONDS)
    if dry:
        # The service's own account may not be there yet, and nothing is to be changed for a rehearsal.
        work["spec"]["template"]["spec"].pop("serviceAccountName", None)
    told = f"migration{', dry run' if dry else ''}"
    hint = "nothing was changed" if dry else "the database may be half migrated: look at it before anything else"
    async with _made(cluster, [work], what=f"{what}: {told}"):
        pod = await _ended(cluster, work, what=f"{what}: {told}", seconds=MIGRATION_SECONDS, hint=hint)
        said = await tail_logs(cluster, str(pod["metadata"]["name"]), manifests.container_of(work))
    log("deploy", f"{told} done")
    return said


async def ask_from_inside(
    cluster: Cluster,
    objects: Sequence[Manifest],
    service: str,
    reference: DigestReference,
    run: str,
    *,
    commit: str,
    test: str,
    attempts: int,
    what: str,
) -> int:
    """Smoke-test a release through its Service; return how many attempts it took.

    Args:
        cluster: where.
        objects: the manifests that the release was put into.
        service: name of the service.
        reference: the release.
        run: the run that this is a part of.
        commit: what /version must answer.
        test: the service's own test, or empty.
        attempts: how often to try.
        what: what is being done, for errors.

    Raises:
        SlipwayError: if it fails, or cannot be asked.
    """
    deployment = manifests.deployment_of_release(objects, reference)
    door = manifests.service_of(objects, deployment)
    if door is None:
        raise InvalidInputError(f"{what}: no Service leads to the pods", hint="add one to the manifests, or give --url")
    base = f"http://{door['metadata']['name']}.{cluster.namespace}:{door['spec']['ports'][0]['port']}"
    command = smoke.argv(TERMINATION_LOG, base, commit, attempts, test=bool(test))
    work = manifests.job(deployment, service, reference, role="smoke", run=run, command=command, seconds=SMOKE_SECONDS)
    files = {smoke.SCRIPT: smoke.smoke_script()} | ({smoke.TEST: test} if test else {})
    scripts = manifests.scripts(work, files)
    manifests.mount(work, scripts, smoke.FOLDER)
    async with _made(cluster, [scripts, work], what=what):
        hint = "the test itself could not run: its words stand above"
        pod = await _ended(cluster, work, what=what, seconds=SMOKE_SECONDS, hint=hint)
    answer = rollout.message_of(pod)
    if not answer:
        raise SmokeFailedError(f"{what}: {smoke.NO_RESULT}", hint="its own test must return or throw, not exit")
    return smoke.judged(answer, str(reference), attempts, what=what, hint="what it answered stands above")


async def remove_all(cluster: Cluster, service: str, *, what: str) -> None:
    """Remove all Jobs and scripts of a service, and wait until their pods are gone: two migrations must never meet.

    Raises:
        NotReadyError: if a pod does not go in time.
    """
    selector = f"--selector={manifests.PREFIX}/service={service}"
    await cluster.ask(["delete", "jobs,configmaps", selector, "--wait=false"], what=what)
    began = time.monotonic()
    while pods := await cluster.objects("pods", selector, what=what):
        if time.monotonic() - began > GONE_SECONDS:
            raise NotReadyError(
                f"{what}: pod {pods[0]['metadata']['name']} of a run that was killed does not end",
                hint="look at it: its node may be gone; then remove it, and run again",
            )
        await anyio.sleep(POLL_SECONDS)


@asynccontextmanager
async def _made(cluster: Cluster, objects: Sequence[Manifest], *, what: str) -> AsyncIterator[None]:
    """Create objects for the time of the body; they are removed in any case."""
    try:
        for made in objects:
            if not await cluster.create(made, what=what):
                raise ClusterError(f"{what}: there is {manifests.identity(made)} already", hint="run again")
        yield
    finally:
        with anyio.CancelScope(shield=True):
            await cluster.remove(map(manifests.identity, objects), what=what)


async def _ended(cluster: Cluster, work: Manifest, *, what: str, seconds: int, hint: str) -> Manifest:
    """Wait for a Job's end; return its pod, which succeeded.

    Raises:
        StageFailedError: if it failed or can never start: at once, with its last words.
        NotReadyError: when time is up.
    """
    name = work["metadata"]["name"]
    container = manifests.container_of(work)
    began = time.monotonic()
    while time.monotonic() - began < seconds:
        job = await cluster.read("get", "job", name, what=what)
        pods = await cluster.objects("pods", f"--selector=batch.kubernetes.io/job-name={name}", what=what)
        status = job.get("status") or {}
        if status.get("succeeded") and pods:
            return dict(pods[-1])
        reason = next((text for pod in pods if (text := rollout.terminal_reason(pod))), "")
        if status.get("failed") or reason:
            words = await tail_logs(cluster, pods[-1]["metadata"]["name"], container) if pods else ""
            told = [line for pod in pods for line in rollout.describe_pod(pod)]
            raise StageFailedError(f"{what}: {reason or 'it failed'}", output="\n".join([*told, words]), hint=hint)
        if not pods and time.monotonic() - began > PODLESS_SECONDS and (why := await _why_no_pod(cluster, name)):
            raise StageFailedError(f"{what}: its pod cannot be created", output="\n".join(why), hint=hint)
        await anyio.sleep(POLL_SECONDS)
    raise NotReadyError(f"{what}: not done within {seconds} s", hint=hint)


async def _why_no_pod(cluster: Cluster, job: str) -> list[str]:
    """Return what the cluster says about a Job that got no pod."""
    about = f"--field-selector=involvedObject.kind=Job,involvedObject.name={job},type=Warning"
    found = await cluster.objects("events", about, what="events")
    return [f"{event.get('reason')}: {event.get('message')}" for event in found]
