"""What follows a failure: restoring the last verified release."""

from collections.abc import Sequence
from typing import NoReturn

import anyio

from pipeline.core.errors import BusyError, ClusterError, SlipwayError
from pipeline.core.log import log
from pipeline.deploy.context import DeployContext
from pipeline.deploy.smoke import SmokeOptions
from pipeline.deploy.smoke_job import SMOKE_RESTORED, smoke_test
from pipeline.kubernetes import manifests
from pipeline.kubernetes.lease import Hold
from pipeline.kubernetes.manifests import Manifest
from pipeline.kubernetes.watch import Watch
from pipeline.observe.events import EventType
from pipeline.observe.history import History
from pipeline.observe.records import DeploymentRecord, last_verified
from pipeline.oci.references import DigestReference


async def recover(context: DeployContext, hold: Hold, past: History, run: str, error: SlipwayError) -> NoReturn:
    """Record a failure, restore the last verified release, and raise the failure with the outcome.

    Args:
        context: the environment.
        hold: of this run on the environment.
        past: the history.
        run: the run that failed.
        error: the failure.

    Raises:
        SlipwayError: always, of the type of the failure.
    """
    name = context.environment
    # It completes even if the Lease is lost meanwhile: half a rollback is worse than a late one.
    with anyio.CancelScope(shield=True):
        try:
            past = await context.record(past, run, EventType.FAILED, {"problem": error.problem})
            outcome = await _undo(context, hold, past, run)
        except SlipwayError as second:
            await record_if_possible(context, past, run, EventType.ROLLBACK_FAILED, second.problem)
            raise type(error)(
                f"{error.problem}; and {name} could not be rolled back: {second.problem}",
                output=f"{error.output}\nrollback: {second.output}",
                hint=f"{name} needs an operator now: look at `status`; {second.hint}",
            ) from error
    log("rollback", outcome)
    raise type(error)(f"{error.problem}\n{outcome}", output=error.output, hint=error.hint) from error


async def _undo(context: DeployContext, hold: Hold, past: History, run: str) -> str:
    """Restore the last verified release, or remove what the run created; return the outcome for people."""
    if not await hold.is_current():
        raise BusyError("another run has taken over the environment", hint="look at `history`")
    target = last_verified(past.deployments)
    if target is None:
        return await _remove_created(context, past, run)
    await restore(context, past, target, run)
    await context.record(past, run, EventType.ROLLED_BACK, {"reference": target.reference})
    return f"{context.environment} was rolled back to {target.reference}, and smoke-tested"


async def restore(context: DeployContext, past: History, target: DeploymentRecord, run: str) -> int:
    """Apply the recorded manifests of a verified run, wait and smoke-test; return the attempts.

    Args:
        context: the environment.
        past: the history.
        target: the verified run.
        run: the run that this is a part of.

    Raises:
        SlipwayError: if the release cannot be applied, or is not healthy.
    """
    objects = past.manifests(target.run)
    log("rollback", f"{context.environment}: restoring {target.reference}")
    await context.client.apply(objects, force=True)
    await watch_release(context, objects, target.reference).wait_until_ready(context.timing.rollout_seconds)
    await context.client.delete(past.created_since(target, objects))
    options = SmokeOptions(test=past.attachment(target.run, "test"), url=target.url)
    return await smoke_test(context, objects, target, options, run=run, role=SMOKE_RESTORED)


async def _remove_created(context: DeployContext, past: History, run: str) -> str:
    """Remove what a run created where no release was verified before; return the outcome for people."""
    await context.client.delete(past.created_by(run))
    problem = f"no release was verified in {context.environment} before"
    await context.record(past, run, EventType.ROLLBACK_FAILED, {"problem": problem})
    existing = ", ".join(sorted(past.existing_before(run)))
    kept = f"; changed, and not removed: {existing}" if existing else ""
    return f"{problem}: removed what this run created{kept}"


async def record_if_possible(context: DeployContext, past: History, run: str, event: EventType, problem: str) -> None:
    """Record a problem that an error reports anyway; if that fails, log why."""
    try:
        await context.record(past, run, event, {"problem": problem})
    except ClusterError as error:
        log("rollback", f"warning: not recorded: {error.problem}")


def watch_release(context: DeployContext, objects: Sequence[Manifest], reference: str) -> Watch:
    """Watch the Deployment of a release from now on."""
    deployment = manifests.deployment_of_release(objects, DigestReference.parse(reference))
    return Watch(context.client, deployment["metadata"]["name"], context.timing.poll_seconds)
