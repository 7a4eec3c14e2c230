"""The settings of a pipeline: they travel whole from stage to stage, so that credentials are given once."""

import dataclasses
from typing import Annotated

import dagger
from dagger import Doc

from pipeline.check.gates import SkippableGate
from pipeline.core.errors import InvalidInputError
from pipeline.core.sdk import field, object_type
from pipeline.deploy.environments import PRODUCTION, STAGING, check_deployable, check_environment
from pipeline.deploy.smoke import check_url
from pipeline.deploy.target import EnvironmentTarget
from pipeline.images import Images
from pipeline.oci.references import Repository
from pipeline.oci.registry import Registry
from pipeline.scan.scan import Scanner
from pipeline.signing.policy import Signer, VerificationPolicy


@object_type
class Settings:
    """How the stages work. Filled by the `with-*` functions of the module."""

    images: Annotated[Images, Doc("The images that the stages run in.")] = field(default=Images)
    npmrc: Annotated[dagger.Secret | None, Doc("npm's user configuration.")] = field(default=None)
    skip: Annotated[list[SkippableGate], Doc("Gates that are turned off.")] = field(default=list)
    registry: Annotated[Registry | None, Doc("Where to publish; none for a rehearsal.")] = field(default=None)
    environments: Annotated[list[EnvironmentTarget], Doc("Where to deploy.")] = field(default=list)
    scanner: Annotated[Scanner, Doc("How images are scanned.")] = field(default=Scanner)
    signer: Annotated[Signer | None, Doc("Signs what is published; none for unsigned.")] = field(default=None)
    verification: Annotated[VerificationPolicy, Doc("The signature that a release needs to be deployed.")] = field(
        default=VerificationPolicy
    )

    @property
    def rehearsal(self) -> bool:
        """Whether nothing leaves the engine: there is no registry to publish to."""
        return self.registry is None

    def environment(self, name: str) -> EnvironmentTarget:
        """Return a configured environment.

        Raises:
            InvalidInputError: if there is none of that name.
        """
        for target in self.environments:
            if target.name == name:
                return target
        configured = ", ".join(target.name for target in self.environments) or "none"
        raise InvalidInputError(
            f"no environment {name!r} is configured",
            hint=f"`with-environment --name {name} --kubeconfig env:KUBECONFIG`; configured: {configured}",
        )

    def ship_target(self, name: str) -> EnvironmentTarget | None:
        """Return the environment that `ship` deploys to, or None for a rehearsal.

        Args:
            name: the environment; empty for staging, else the only one that is not production.

        Raises:
            InvalidInputError: if it is not configured, or there are several to choose from.
        """
        if name:
            return self.environment(name)
        candidates = [target for target in self.environments if target.name != PRODUCTION]
        if not candidates:
            for target in self.environments:
                check_deployable(target.name)
            return None
        if len(candidates) > 1 and not any(target.name == STAGING for target in candidates):
            names = ", ".join(target.name for target in candidates)
            raise InvalidInputError(f"ship: several environments are configured: {names}", hint="give --environment")
        return next((target for target in candidates if target.name == STAGING), candidates[0])

    def with_environment(self, target: EnvironmentTarget) -> list[EnvironmentTarget]:
        """Return the environments with one added, or replaced where there is one of its name.

        Raises:
            InvalidInputError: if its name or URL is malformed.
        """
        check_environment(target.name)
        checked = dataclasses.replace(target, url=check_url(target.url, target.url_service))
        return [*(other for other in self.environments if other.name != target.name), checked]

    def registry_of(self, repository: Repository) -> Registry:
        """Return a repository, with the configured credentials where it is on the configured registry's host."""
        if self.registry:
            return self.registry.for_repository(repository)
        return Registry(address=str(repository), tool_image=self.images.tool)
