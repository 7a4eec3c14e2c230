"""The smoke test of a release in a cluster: at an address, or by a Job inside the cluster."""

from collections.abc import Sequence

from pipeline.core.errors import InvalidInputError
from pipeline.deploy import smoke
from pipeline.deploy.context import DeployContext
from pipeline.deploy.jobs import run_job
from pipeline.deploy.smoke import SmokeOptions, SmokeTest
from pipeline.kubernetes import manifests, rollout
from pipeline.kubernetes.job_manifests import JobSpec, files_for, mount, tool_job
from pipeline.kubernetes.manifests import Manifest
from pipeline.observe.records import DeploymentRecord
from pipeline.oci.references import DigestReference

TERMINATION_LOG = "/dev/termination-log"
SMOKE = "smoke"
SMOKE_RESTORED = "smoke-restored"


async def smoke_test(
    context: DeployContext,
    objects: Sequence[Manifest],
    record: DeploymentRecord,
    options: SmokeOptions,
    *,
    run: str,
    role: str = SMOKE,
) -> int:
    """Test a deployed release; return the number of attempts.

    Args:
        context: the environment.
        objects: the manifests that the release was deployed with.
        record: the run that deployed it.
        options: where and how it is tested.
        run: the run that this is a part of.
        role: of the Job: one run may test two releases.

    Raises:
        SlipwayError: if it fails, or the test cannot be run.
    """
    test = SmokeTest(record.reference, record.commit, options.test, options.attempts)
    if options.url:
        return await context.ask_url(context.tool_image, test, options.url, options.services)
    deployment = manifests.deployment_of_release(objects, DigestReference.parse(record.reference))
    service = manifests.service_of(objects, deployment)
    if service is None:
        raise InvalidInputError("no Service leads to the pods", hint="add one to the manifests, or give --url")
    url = f"http://{service['metadata']['name']}.{context.client.namespace}:{service['spec']['ports'][0]['port']}"
    spec = JobSpec(
        service=context.service,
        role=role,
        run=run,
        command=test.argv(TERMINATION_LOG, url),
        seconds=context.timing.smoke_seconds,
    )
    job = tool_job(deployment, context.tool_image, spec)
    files = files_for(job, test.files)
    mount(job, files, smoke.FOLDER)
    hint = "the test itself could not run; its output is shown above"
    async with run_job(context, job, [files], hint=hint) as pod:
        return test.judge(rollout.termination_message(pod))
