"""The migrations of a release, run by a Job in the cluster."""

from collections.abc import Sequence

from pipeline.core.errors import error_context
from pipeline.core.log import log
from pipeline.deploy.context import DeployContext
from pipeline.deploy.jobs import run_job
from pipeline.deploy.request import DeployRequest
from pipeline.kubernetes import manifests
from pipeline.kubernetes.job_manifests import JobSpec, container_of, release_job
from pipeline.kubernetes.manifests import Manifest
from pipeline.kubernetes.watch import tail_logs

MIGRATION = ("node", "dist/migrate.js")
MIGRATION_SECONDS = 600


async def migrate(
    context: DeployContext, objects: Sequence[Manifest], request: DeployRequest, run: str, *, dry_run: bool
) -> str:
    """Run a release's migrations in its own image; return the end of their log.

    Args:
        context: the environment.
        objects: the manifests with the release.
        request: the release.
        run: the run that this is a part of.
        dry_run: change nothing, and log what would be done.

    Raises:
        SlipwayError: if they fail, are not done by the deadline, or cannot be started.
    """
    spec = JobSpec(
        service=context.service,
        role="migrate-dry-run" if dry_run else "migrate",
        run=run,
        command=[*MIGRATION, "--dry-run"] if dry_run else MIGRATION,
        seconds=context.timing.migration_seconds,
    )
    job = release_job(manifests.deployment_of_release(objects, request.image), request.image, spec)
    if dry_run:
        # The service's account may not exist yet, and a dry run must not create it.
        job["spec"]["template"]["spec"].pop("serviceAccountName", None)
    name = "migration, dry run" if dry_run else "migration"
    hint = "nothing was changed" if dry_run else "the database may be half migrated: look at it before anything else"
    with error_context(name):
        async with run_job(context, job, hint=hint) as pod:
            output = await tail_logs(context.client, pod["metadata"]["name"], container_of(job))
    log("deploy", f"{name} done")
    return output
