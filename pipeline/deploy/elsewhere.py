"""The smoke test of a deployment outside a Kubernetes cluster: in a rehearsal, or by a deployer of another module."""

import dagger

from pipeline.core.errors import SmokeFailedError, error_context
from pipeline.core.interfaces import Deployer
from pipeline.core.log import log
from pipeline.deploy.rehearsal import HOST
from pipeline.deploy.smoke import SmokeTest, ask_url


async def smoke_directly(
    tool_image: str,
    test: SmokeTest,
    url: str,
    environment: str,
    *,
    service: dagger.Service | None,
    deployer: Deployer | None,
) -> int:
    """Smoke-test a deployment at its URL; return how many attempts it took.

    Args:
        tool_image: the image with Node in which the test runs.
        test: what is tested.
        url: where.
        environment: the name of the environment.
        service: the rehearsal's service, or None.
        deployer: the deployer of another module, or None; its rollback is called after a failure.

    Raises:
        SmokeFailedError: with the answers of the last attempt.
    """
    try:
        with error_context("smoke"):
            return await ask_url(tool_image, test, url, {HOST: service} if service else {})
    except SmokeFailedError:
        if deployer:
            log("smoke", f"rollback of {environment}: {await deployer.rollback(environment)}")
        raise
