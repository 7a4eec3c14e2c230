"""Deployments outside a Kubernetes cluster: the smoke test of a rehearsal, and deployers of other modules."""

import dataclasses

import dagger

from pipeline.core.errors import RolloutError, SlipwayError, SmokeFailedError, error_context
from pipeline.core.interfaces import Deployer
from pipeline.core.log import log
from pipeline.deploy.rehearsal import HOST
from pipeline.deploy.smoke import SmokeTest, ask_url
from pipeline.images import Images
from pipeline.oci.registry import Registry
from pipeline.signing.policy import VerificationPolicy
from pipeline.signing.verify import verify_for_deploy


@dataclasses.dataclass(frozen=True, slots=True)
class ExternalRequest:
    """A release for a deployer of another module.

    Args:
        registry: where the release is.
        digest: sha256:… of it.
        commit: that it was built from.
        environment: name of the environment.
    """

    registry: Registry
    digest: str
    commit: str
    environment: str


async def deploy_elsewhere(
    request: ExternalRequest, deployer: Deployer, *, images: Images, policy: VerificationPolicy | None
) -> tuple[str, str]:
    """Verify a release and hand it to a deployer; return its URL, and why it is unsigned or an empty string.

    Args:
        request: the release.
        deployer: of another module.
        images: the images that the stages run in.
        policy: the signature that the release needs; None in a rehearsal, which signs nothing.

    Raises:
        VerificationFailedError: if the release must not be deployed.
        RolloutError: if the deployer fails; it was asked to roll back.
    """
    unsigned = ""
    with error_context(f"deploy to {request.environment}"):
        if policy:
            unsigned = await verify_for_deploy(
                request.registry, request.digest, request.commit, images=images, policy=policy
            )
        try:
            reference = f"{request.registry.address}@{request.digest}"
            return await deployer.deploy(reference, request.environment), unsigned
        except dagger.QueryError as error:
            failure = RolloutError("the deployer failed", output=str(error))
            raise await _rolled_back(failure, deployer, request.environment) from error


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
    with error_context("smoke"):
        try:
            return await ask_url(tool_image, test, url, {HOST: service} if service else {})
        except SmokeFailedError as error:
            if deployer:
                await _rolled_back(error, deployer, environment)
            raise


async def _rolled_back(failure: SlipwayError, deployer: Deployer, environment: str) -> SlipwayError:
    """Ask a deployer to roll back after a failure; return the failure, which a failing rollback never hides."""
    try:
        log("rollback", f"{environment}: {await deployer.rollback(environment)}")
    except dagger.QueryError as error:
        failure.problem += f"; and {environment} could not be rolled back: {' '.join(str(error).split())}"
    return failure
