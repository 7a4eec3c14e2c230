"""Verifying a deployed release: smoke test, and pods that stay ready."""

from pipeline.core.errors import BusyError, SlipwayError, error_context
from pipeline.deploy.context import DeployContext
from pipeline.deploy.recovery import recover, watch_release
from pipeline.deploy.smoke import SmokeOptions
from pipeline.deploy.smoke_job import smoke_test
from pipeline.observe.events import EventType
from pipeline.observe.records import DeploymentRecord


async def verify(context: DeployContext, run: str, options: SmokeOptions) -> DeploymentRecord:
    """Smoke-test what a run deployed, watch its pods for a while, and record the verification.

    If that fails, the last verified release is restored. Returns the verified run.

    Args:
        context: the environment.
        run: the run that deployed the release.
        options: where and how it is tested.

    Raises:
        SlipwayError: with what failed, and the outcome of the rollback.
    """
    with error_context(f"smoke in {context.environment}"):
        async with context.hold(run) as hold:
            past = await context.store.read()
            record = past.deployments[-1] if past.deployments else None
            if record is None or record.run != run:
                later = f"another run ({record.run}) deployed after this one" if record else "the history is empty"
                raise BusyError(f"{later}: this run cannot be verified", hint="look at `history`, then deploy again")
            objects = past.manifests(run)
            try:
                attempts = await smoke_test(context, objects, record, options, run=run)
                watch = watch_release(context, objects, record.reference)
                await watch.wait_stable(context.timing.stable_seconds)
            except SlipwayError as error:
                await recover(context, hold, past, run, error)
            # A service of this engine's session does not exist when the release has to be tested again.
            details = {"attempts": attempts, "url": "" if options.url_service else options.url}
            past = await context.record(past, run, EventType.VERIFIED, details, {"test": options.test})
            return past.deployments[-1]
