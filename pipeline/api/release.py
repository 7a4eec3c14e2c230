"""A published image, by digest."""

import dataclasses
from collections.abc import Sequence
from typing import Annotated

import dagger
from dagger import Doc

from pipeline.api.arguments import DeployEnvironment, ForceConflicts, Link, OwnDeployer, RolloutSeconds, Wait
from pipeline.api.context import PipelineContext
from pipeline.api.deployment import Deployment
from pipeline.api.shipment import Shipment
from pipeline.core.errors import InvalidInputError, error_context
from pipeline.core.execution import run_id
from pipeline.core.interfaces import Deployer
from pipeline.core.sdk import field, object_type, uncached
from pipeline.deploy.context import LEASE_WAIT_SECONDS, ROLLOUT_SECONDS
from pipeline.deploy.elsewhere import ExternalRequest, deploy_elsewhere
from pipeline.deploy.environments import REHEARSAL, check_deployable
from pipeline.deploy.kubernetes_deployer import (
    KubernetesDeployer,
    RolloutOptions,
    context_of,
    has_migrations,
    manifests_of,
)
from pipeline.deploy.rehearsal import RehearsalDeployer
from pipeline.deploy.request import DeployRequest
from pipeline.deploy.status import preview
from pipeline.deploy.target import EnvironmentTarget
from pipeline.kubernetes.manifests import Manifest
from pipeline.oci.references import DigestReference
from pipeline.oci.registry import Registry
from pipeline.scan.rescan import rescan
from pipeline.settings import Settings
from pipeline.signing.verify import verify
from pipeline.source.commit import Commit
from pipeline.source.project import Project


@object_type
class Release:
    """An image in a registry, by digest. Made only by `publish`, or by `release`, which checks the reference."""

    reference: Annotated[str, Doc("host/path@sha256:…")] = field()
    digest: Annotated[str, Doc("sha256:…, of the manifest or the index.")] = field()
    config_digests: Annotated[list[str], Doc("Digest of each platform's config.")] = field()
    registry: Annotated[Registry, Doc("The repository in which it is.")] = field()
    context: Annotated[PipelineContext, Doc("The service, its commit, the settings.")] = field()

    @classmethod
    async def from_reference(cls, ref: str, project: Project, settings: Settings) -> "Release":
        """Read a release that was published before.

        Args:
            ref: host/path@sha256:…
            project: the service; the last part of the repository's path is its name if it has none.
            settings: with the credentials of the registry.

        Raises:
            InvalidInputError: if it is not a digest, does not exist, or does not name its commit.
        """
        parsed = DigestReference.parse(ref)
        registry = settings.registry_of(parsed.repository)
        stored = await registry.stored(parsed.digest)
        if stored is None:
            raise InvalidInputError(
                f"release: {parsed} does not exist", hint="`ship` prints the reference of each release"
            )
        if not stored.revision:
            raise InvalidInputError(
                f"release: {parsed} does not name its commit",
                hint="it needs the label org.opencontainers.image.revision, as `build` sets it",
            )
        named = dataclasses.replace(project, name=project.name or parsed.repository.path.rpartition("/")[2])
        commit = Commit(sha=stored.revision, created=stored.created, path=project.path)
        return cls(
            reference=str(parsed),
            digest=parsed.digest,
            config_digests=stored.content.configs,
            registry=registry,
            context=PipelineContext(project=named, commit=commit, settings=settings),
        )

    @uncached
    async def deploy(
        self,
        environment: DeployEnvironment = REHEARSAL,
        seconds: RolloutSeconds = ROLLOUT_SECONDS,
        wait: Wait = LEASE_WAIT_SECONDS,
        force_conflicts: ForceConflicts = False,
        link: Link = "",
        deployer: OwnDeployer = None,
    ) -> Deployment:
        """Deploy by digest: to an environment in a cluster, or in a rehearsal beside a PostgreSQL of its own.

        The migration is rehearsed (`--dry-run`) before it is done; an image without dist/migrate.js has none. If the
        rollout fails, the release that was verified in the environment before is restored, and the run still fails.
        Production is reached by a promotion only. Signature, provenance and SBOM are verified first.

        Errors: no signature, or another signer's; other bytes than the digest; a failing migration; manifests that
        must not be applied; a rollout that cannot succeed or misses its deadline, with its events and logs; another
        run that holds the environment.
        """
        options = RolloutOptions(seconds=seconds, wait=wait, force_conflicts=force_conflicts, link=link)
        return await self.roll_out(environment, options, deployer=deployer)

    @uncached
    async def plan(self, environment: DeployEnvironment) -> str:
        """What a deployment would change and replace, and the output of the migration's dry run. Changes nothing."""
        settings, project = self.context.settings, self.context.project
        target = self._target(environment)
        context = context_of(target, project.name, settings.images)
        manifests = await manifests_of(target, project, settings.images)
        return await preview(context, await self._request(""), manifests, run_id())

    @uncached
    async def verify_release(self) -> str:
        """Verify signature, provenance and SBOM as `deploy` and `promote` do; return the signer.

        Errors: one of them is missing, or of another signer, repository or commit.
        """
        policy, images, commit = self.context.settings.verification, self.context.settings.images, self.context.commit
        with error_context("verify-release"):
            signer = await verify(self.registry, self.digest, commit.sha, images=images, policy=policy)
        return f"signed by {signer}: provenance of {policy.repository} at {commit.sha}, and an SBOM"

    @uncached
    async def rescan(self) -> Shipment:
        """Scan a release again, with today's database: a release that was clean when published may not be any more.

        Of an image for several platforms, that of the engine is scanned. `rescan report export --path report` gives
        the findings; `rescan` alone fails if something closes the gate, or there is no verdict.

        Errors: an ignore without reason, without date or past its date; a scanner that fails.
        """
        settings, project = self.context.settings, self.context.project
        image = await self.registry.pull(self.digest)
        run, reports = await rescan(
            image, settings.scanner, settings.images, await project.ignore_file(), name=project.name
        )
        run.commit, run.rehearsal, run.reference = self.context.commit.sha, settings.rehearsal, self.reference
        return Shipment.of(run, reports)

    async def roll_out(
        self,
        environment: str,
        options: RolloutOptions,
        *,
        manifests: Sequence[Manifest] | None = None,
        deployer: Deployer | None = None,
    ) -> Deployment:
        """Deploy, with manifests that were rendered and checked before, if any."""
        settings = self.context.settings
        if deployer:
            policy = None if settings.rehearsal else settings.verification
            request = ExternalRequest(self.registry, self.digest, self.context.commit.sha, environment)
            url, unsigned = await deploy_elsewhere(request, deployer, images=settings.images, policy=policy)
            return self._deployment(environment, url=url, unsigned=unsigned, deployer=deployer)
        if environment == REHEARSAL:
            rehearsal = RehearsalDeployer(self.registry, settings.images, options.seconds)
            url = await rehearsal.deploy(self.reference, environment)
            return self._deployment(environment, url=url, service=rehearsal.service)
        check_deployable(environment)
        kubernetes = KubernetesDeployer(
            target=self._target(environment),
            project=self.context.project,
            images=settings.images,
            registry=self.registry,
            policy=settings.verification,
            request=await self._request(options.link),
            options=options,
            manifests=manifests,
        )
        url = await kubernetes.deploy(self.reference, environment)
        return self._deployment(environment, url=url, run=kubernetes.run, unsigned=kubernetes.unsigned)

    def _deployment(
        self,
        environment: str,
        *,
        url: str,
        service: dagger.Service | None = None,
        run: str = "",
        unsigned: str = "",
        deployer: Deployer | None = None,
    ) -> Deployment:
        return Deployment(
            reference=self.reference,
            environment=environment,
            url=url,
            service=service,
            run=run,
            unsigned=unsigned,
            deployer=deployer,
            context=self.context,
        )

    def _target(self, environment: str) -> EnvironmentTarget:
        """Return a configured environment of a cluster."""
        if self.context.settings.rehearsal and self.registry.service:
            raise InvalidInputError(
                f"deploy: a rehearsal's release cannot go to {environment}: its registry ends with the run",
                hint="publish with `with-registry` first",
            )
        return self.context.settings.environment(environment)

    async def _request(self, link: str) -> DeployRequest:
        """Return what is deployed; the image is read to know whether it has migrations."""
        return DeployRequest(
            reference=self.reference,
            commit=self.context.commit.sha,
            committed_at=self.context.commit.created,
            migrates=await has_migrations(await self.registry.pull(self.digest)),
            action="deploy",
            link=link,
        )
