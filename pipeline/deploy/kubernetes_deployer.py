"""Deploying a release to a cluster: its signature is verified first, then it is rolled out."""

import dataclasses
from collections.abc import Sequence
from typing import Annotated

import dagger
from dagger import Doc

from pipeline.core.errors import InvalidInputError, error_context
from pipeline.core.execution import check_positive, run_id
from pipeline.deploy.context import LEASE_WAIT_SECONDS, ROLLOUT_SECONDS, STABLE_SECONDS, DeployContext, Timing
from pipeline.deploy.kustomize import load_manifests
from pipeline.deploy.migration import MIGRATION
from pipeline.deploy.request import DeployRequest
from pipeline.deploy.rollout import roll_out
from pipeline.deploy.target import EnvironmentTarget
from pipeline.images import Images
from pipeline.kubernetes.kubectl import KubectlClient
from pipeline.kubernetes.manifests import Manifest
from pipeline.oci.registry import Registry
from pipeline.signing.policy import VerificationPolicy
from pipeline.signing.verify import verify_for_deploy
from pipeline.source.project import MANIFESTS, Project


@dataclasses.dataclass(frozen=True, slots=True)
class RolloutOptions:
    """How a release is rolled out.

    Args:
        seconds: deadline of the rollout.
        wait: how long another run may hold the environment, in seconds.
        stable_seconds: how long the pods must stay ready after the smoke test.
        force_conflicts: take over fields that another field manager owns.
        link: address of the CI run, or empty.
    """

    seconds: int = ROLLOUT_SECONDS
    wait: int = LEASE_WAIT_SECONDS
    stable_seconds: int = STABLE_SECONDS
    force_conflicts: bool = False
    link: str = ""

    def __post_init__(self) -> None:
        """Refuse a deadline of no time."""
        check_positive("seconds", self.seconds)


def context_of(
    target: EnvironmentTarget, service: str, images: Images, options: RolloutOptions | None = None
) -> DeployContext:
    """Return an environment of a service, with a client of its cluster."""
    options = options or RolloutOptions()
    return DeployContext(
        environment=target.name,
        service=service,
        client=KubectlClient(target.cluster, target.namespace_of(service), images.kubectl),
        tool_image=images.tool,
        timing=Timing(
            rollout_seconds=options.seconds,
            lease_wait_seconds=options.wait,
            stable_seconds=options.stable_seconds,
        ),
    )


async def manifests_of(target: EnvironmentTarget, project: Project, images: Images) -> list[Manifest]:
    """Render and check the manifests of an environment: the target's own, else the service's.

    Raises:
        InvalidInputError: if there are none, or they must not be applied.
    """
    folder = target.manifests or await project.manifests()
    if folder is None:
        raise InvalidInputError(
            f"{target.name}: the service has no manifests",
            hint=f"add {MANIFESTS}/ to it (docs/kubernetes.md), or `with-environment --manifests`",
        )
    return await load_manifests(images.kubectl, folder, target.name, project.name)


@dataclasses.dataclass(slots=True)
class KubernetesDeployer:
    """Deploys a release to one environment of a cluster.

    Args:
        target: the environment.
        project: the service.
        images: kubectl, and the tool image.
        registry: where the release is.
        policy: the signature that it needs.
        request: what is deployed, and how that was asked for.
        options: how it is rolled out.
        manifests: rendered and checked before, or None.
        run: of this deployment; the history names it.
        unsigned: why it was deployed without a signature, or empty.
    """

    target: EnvironmentTarget
    project: Project
    images: Images
    registry: Registry
    policy: VerificationPolicy
    request: DeployRequest
    options: RolloutOptions
    manifests: Sequence[Manifest] | None = None
    run: str = dataclasses.field(default_factory=run_id)
    unsigned: str = ""

    async def deploy(
        self,
        reference: Annotated[str, Doc("The image, host/path@sha256:…")],
        environment: Annotated[str, Doc("Name of the environment.")],
    ) -> str:
        """Verify the release and roll it out; a failed rollout restores the last verified release.

        Raises:
            SlipwayError: with what failed, and how the rollback went.
        """
        manifests = self.manifests or await manifests_of(self.target, self.project, self.images)
        with error_context(f"deploy to {environment}"):
            digest = reference.partition("@")[2]
            self.unsigned = await verify_for_deploy(
                self.registry, digest, self.request.commit, images=self.images, policy=self.policy
            )
        request = dataclasses.replace(self.request, unsigned=self.unsigned)
        context = context_of(self.target, self.project.name, self.images, self.options)
        await roll_out(context, request, manifests, self.run, force_conflicts=self.options.force_conflicts)
        return self.target.url

    async def rollback(self, environment: Annotated[str, Doc("Name of the environment.")]) -> str:
        """Do nothing: a rollout or smoke test that fails has restored the last verified release itself."""
        return f"{environment} was restored by the deployment itself"


async def has_migrations(image: dagger.Container) -> bool:
    """Whether an image has migrations."""
    return await image.exists(MIGRATION[-1])
