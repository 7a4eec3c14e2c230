"""Rolling back by hand to a release that was verified before."""

import dataclasses

from pipeline.core.errors import InvalidInputError, SlipwayError, error_context
from pipeline.deploy.context import DeployContext
from pipeline.deploy.jobs import remove_leftovers
from pipeline.deploy.preflight import check_access
from pipeline.deploy.recovery import record_if_possible, restore
from pipeline.deploy.request import DeployRequest
from pipeline.observe.events import EventType
from pipeline.observe.history import History
from pipeline.observe.records import DeploymentRecord, rollback_candidates


async def roll_back(context: DeployContext, run: str, digest: str = "", *, link: str = "") -> DeploymentRecord:
    """Restore a release that was verified before, with the manifests of that time, and verify it again.

    Args:
        context: the environment.
        run: identifies this run; unique.
        digest: sha256:… of the release; empty for the last one verified before the live one.
        link: address of the CI run, or empty.

    Returns the run, verified.

    Raises:
        SlipwayError: if there is no such release, or restoring it fails.
    """
    with error_context(f"rollback of {context.environment}"):
        user = await check_access(context)
        async with context.hold(run):
            past = await context.store.read()
            await remove_leftovers(context, past)
            live = await context.live_digest()
            target = choose_target(past, live, digest)
            request = DeployRequest(
                target.reference, target.commit, target.committed_at, target.migrates, action="rollback", link=link
            )
            details = dataclasses.asdict(request) | {"started_by": user, "replaced_digest": live}
            attachments = {"manifests": past.attachment(target.run, "manifests")}
            started = await context.record(past, run, EventType.STARTED, details, attachments)
            try:
                attempts = await restore(context, started, target, run)
            except SlipwayError as error:
                await record_if_possible(context, started, run, EventType.FAILED, error.problem)
                raise
            verified = {"attempts": attempts, "url": target.url}
            test = {"test": past.attachment(target.run, "test")}
            return (await context.record(started, run, EventType.VERIFIED, verified, test)).deployments[-1]


def choose_target(past: History, live: str, digest: str) -> DeploymentRecord:
    """Return the run of the release to restore.

    Args:
        past: the history.
        live: digest of the live release, or empty.
        digest: sha256:… of the release to restore; empty for the last one verified before the live one.

    Raises:
        InvalidInputError: if there is none with recorded manifests.
    """
    runs = [r for r in past.deployments if r.result == "verified" and past.attachment(r.run, "manifests")]
    allowed = {record.run for record in rollback_candidates(past.deployments, live)}
    chosen = [record for record in runs if (record.digest == digest if digest else record.run in allowed)]
    if not chosen:
        known = ", ".join(dict.fromkeys(record.digest for record in runs)) or "none"
        raise InvalidInputError(
            f"{digest} was not verified here" if digest else "no release was verified here before the live one",
            hint=f"--digest, one of those that were verified and have recorded manifests: {known}",
        )
    return chosen[-1]
