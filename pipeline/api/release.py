"""A published image, by digest."""

import time
from typing import Annotated

import dagger
from dagger import Doc, dag

from pipeline.api.arguments import (
    AllowUnsigned,
    ApiServer,
    Context,
    ForceConflicts,
    IgnoreFile,
    KubeconfigSecret,
    Link,
    Manifests,
    Namespace,
    OptionalKubeconfig,
    RolloutSeconds,
    Scanner,
    Severity,
    Wait,
)
from pipeline.api.deployment import Deployment
from pipeline.api.shipment import Shipment
from pipeline.build.node import PORT
from pipeline.core.errors import InvalidInputError, RegistryError
from pipeline.core.execution import check_positive, run, run_id, start
from pipeline.core.log import log
from pipeline.core.sdk import field, object_type, uncached
from pipeline.deploy.database import database, database_url
from pipeline.deploy.jobs import MIGRATION, MIGRATION_SECONDS
from pipeline.deploy.place import LEASE_SECONDS, ROLLOUT_SECONDS, DeployRequest, EnvironmentTarget
from pipeline.images import Images
from pipeline.kubernetes.cluster import REHEARSAL, check_deployable
from pipeline.oci.content import content_of
from pipeline.oci.references import DigestReference
from pipeline.oci.registry import Registry, check_credentials
from pipeline.report.report import FAILED, PASSED, Run, Stage
from pipeline.report.verdict import Status
from pipeline.scan.scan import check_scanned, examine
from pipeline.signing.policy import VerificationPolicy
from pipeline.signing.verify import verify
from pipeline.source.delivery import ignores_in, manifests_in


@object_type
class Release:
    """An image in a registry, by digest. Made only by `publish`, or by `release`, which checks the reference."""

    reference: Annotated[str, Doc("host/path@sha256:…")] = field()
    digest: Annotated[str, Doc("sha256:…, of the manifest or the index.")] = field()
    config_digests: Annotated[list[str], Doc("Digest of each platform's config.")] = field()
    commit: Annotated[str, Doc("The commit it was built from.")] = field()
    registry: Annotated[Registry, Doc("Where it is kept.")] = field()
    images: Annotated[Images, Doc("The images that the stages run in.")] = field()
    trust: Annotated[VerificationPolicy, Doc("Whose signature it needs to be deployed.")] = field()
    name: Annotated[str, Doc("Name of the service.")] = field()
    committed: Annotated[str, Doc("When that commit was made, RFC 3339, or empty.")] = field(default="")
    rehearsal: Annotated[bool, Doc("Whether the registry is a throwaway one.")] = field(default=False)
    delivery: Annotated[dagger.Directory, Doc("The service's own manifests (deploy/) and smoke test.")] = field()

    @classmethod
    async def from_reference(
        cls,
        ref: str,
        *,
        username: str,
        password: dagger.Secret | None,
        registry_service: dagger.Service | None,
        images: Images,
        trust: VerificationPolicy,
        name: str,
        delivery: dagger.Directory,
    ) -> "Release":
        """Take up a release that was published before.

        Args:
            ref: host/path@sha256:…
            username: of the registry, or empty.
            password: of the registry, or None.
            registry_service: the registry as a service, for localhost addresses.
            images: that the stages run in.
            trust: whose signature it needs.
            name: of the service; the last part of the repository's path if empty.
            delivery: what the service brings for its delivery.

        Raises:
            InvalidInputError: if it is no digest, is not there, or does not say of which commit it is.
        """
        pinned = DigestReference.parse(ref)
        check_credentials(username, password)
        registry = Registry(
            address=str(pinned.repository),
            username=username,
            password=password,
            service=registry_service,
            client_image=images.node,
        )
        stored = await registry.stored(pinned.digest)
        if stored is None:
            raise InvalidInputError(
                f"release: {pinned} does not exist", hint="`ship` prints the reference of each release"
            )
        if not stored.revision:
            raise InvalidInputError(
                f"release: {pinned} does not say which commit it is of",
                hint="it needs the label org.opencontainers.image.revision, as `build` gives it",
            )
        return cls(
            reference=str(pinned),
            digest=pinned.digest,
            config_digests=stored.content.configs,
            commit=stored.revision,
            committed=stored.created,
            registry=registry,
            images=images,
            trust=trust,
            name=name or pinned.repository.path.rpartition("/")[2],
            delivery=delivery,
        )

    @uncached
    async def deploy(
        self,
        environment: Annotated[str, Doc("Where to, such as staging. Needs --kubeconfig.")] = REHEARSAL,
        kubeconfig: OptionalKubeconfig = None,
        context: Context = "",
        namespace: Namespace = "",
        api_server: ApiServer = None,
        manifests: Manifests = None,
        seconds: RolloutSeconds = ROLLOUT_SECONDS,
        wait: Wait = LEASE_SECONDS,
        force_conflicts: ForceConflicts = False,
        link: Link = "",
        allow_unsigned: AllowUnsigned = False,
    ) -> Deployment:
        """Deploy by digest: to a cluster's environment, or in a rehearsal beside a PostgreSQL of its own.

        The migration is rehearsed (`--dry-run`) before it is done; an image without dist/migrate.js has none. If the
        rollout fails, what was proven in the environment before is brought back, and the run fails all the same.
        Production is reached by a promotion only. In a cluster, signature, provenance and SBOM are checked first.

        Errors: no signature, or another's; other bytes than the digest; a failing migration; manifests that may not be
        applied; a rollout that cannot heal or is not done in time, with its events and last words; another run that
        holds the environment.
        """
        check_positive("seconds", seconds)
        if environment == REHEARSAL and kubeconfig is None:
            return await self._rehearse(seconds)
        check_deployable(environment)
        return await Deployment.into(
            await self._place(environment, kubeconfig, context, namespace, api_server),
            await self._subject(link),
            manifests,
            registry=self.registry,
            allow_unsigned=allow_unsigned,
            seconds=seconds,
            wait=wait,
            force_conflicts=force_conflicts,
        )

    @uncached
    async def plan(
        self,
        environment: Annotated[str, Doc("Where to, such as staging.")],
        kubeconfig: KubeconfigSecret,
        context: Context = "",
        namespace: Namespace = "",
        api_server: ApiServer = None,
        manifests: Manifests = None,
    ) -> str:
        """What a deployment would change and replace, and what the migration's dry run says. Changes nothing."""
        place = await self._place(environment, kubeconfig, context, namespace, api_server)
        folder = await manifests_in(self.delivery, manifests)
        return await place.preview(await self._subject(""), folder, run_id())

    @uncached
    async def verify_release(self) -> str:
        """Check signature, provenance and SBOM as `deploy` and `promote` do; tell whose they are.

        Errors: one of them is missing, or of another signer, repository or commit.
        """
        whom = await verify(
            self.registry, self.digest, self.commit, images=self.images, trust=self.trust, what="verify-release"
        )
        return f"signed by {whom}: provenance of {self.trust.repository} at {self.commit}, and an SBOM"

    @uncached
    async def rescan(self, ignore: IgnoreFile = None, scanner: Scanner = None, severity: Severity = None) -> Shipment:
        """Scan a release again, with today's database: what was clean when it was published may not be any more.

        Of an image for several platforms, that of the engine is scanned. `rescan report export --path report` gives
        what was found; `rescan` alone fails if something closes the gate, or nothing could be scanned.

        Errors: an ignore without reason, without date or past its date; a scanner that fails.
        """
        began = time.monotonic()
        image = await self._pulled()
        content = await content_of([image], dag.container().from_(self.images.node))
        own = await ignores_in(self.delivery, ignore)
        verdict, evidence = await examine([image], self.images.trivy, ignore=own, scanner=scanner, severity=severity)
        check_scanned(verdict, content)
        for warning in verdict.warnings:
            log("rescan", f"warning: {warning}")
        clean = verdict.status == Status.PASSED
        stage = Stage("rescan", PASSED if clean else FAILED, time.monotonic() - began, verdict.reason)
        told = Run(
            name=self.name,
            stages=[stage],
            commit=self.commit,
            rehearsal=self.rehearsal,
            reference=self.reference,
            verdict=verdict,
            error="" if clean else "\n".join([f"rescan: {verdict.reason}", *verdict.blocking]),
        )
        return Shipment.of(told, evidence)

    async def _place(
        self,
        environment: str,
        kubeconfig: dagger.Secret | None,
        context: str,
        namespace: str,
        api_server: dagger.Service | None,
    ) -> EnvironmentTarget:
        """Return the environment in its cluster."""
        if self.rehearsal:
            raise InvalidInputError(
                f"deploy: a rehearsal's release cannot go to {environment}: its registry is gone with the run",
                hint="publish with --registry first",
            )
        return await EnvironmentTarget.connect(
            environment,
            self.name,
            kubeconfig,
            context=context,
            namespace=namespace,
            api_server=api_server,
            images=self.images,
            trust=self.trust,
            delivery=self.delivery,
        )

    async def _subject(self, link: str) -> DeployRequest:
        """Return what is deployed; the image is asked whether it has migrations."""
        return DeployRequest(
            reference=self.reference,
            commit=self.commit,
            committed=self.committed,
            migrates=await (await self._pulled()).exists(MIGRATION[-1]),
            action="deploy",
            link=link,
        )

    async def _pulled(self) -> dagger.Container:
        """Return the image, pulled by its digest."""
        image = self.registry.pull(self.digest)
        pulled = await image.image_ref()
        if not pulled.endswith(f"@{self.digest}"):
            raise RegistryError(f"deploy: asked for {self.reference}, got {pulled}", hint="do not deploy this")
        return image

    async def _rehearse(self, seconds: int) -> Deployment:
        """Run the image beside a database, in the engine."""
        image = await self._pulled()

        # An environment of its own for every run, so that nothing of an earlier one is found in it.
        run_of = run_id()
        db = database(self.images.postgres).with_env_variable("SLIPWAY_RUN", run_of).as_service(use_entrypoint=True)
        await start(db, seconds, what="deploy: the database", hint="look at the image given as --postgres-image")
        bound = (
            image.with_service_binding("db", db)
            .with_env_variable("DATABASE_URL", database_url("db"))
            .with_env_variable("SLIPWAY_RUN", run_of)
        )
        if await image.exists(MIGRATION[-1]):
            await run(
                bound,
                [*MIGRATION, "--dry-run"],
                what="deploy: migration, dry run",
                hint="nothing was changed",
                seconds=MIGRATION_SECONDS,
            )
            await run(
                bound,
                MIGRATION,
                what="deploy: migration",
                hint="the environment is half migrated: look at it",
                seconds=MIGRATION_SECONDS,
            )
            log("deploy", "migrated, after a dry run")
        service = bound.with_exposed_port(PORT).as_service(use_entrypoint=True)
        await start(service, seconds, what="deploy: the service", hint=f"it must listen on port {PORT}")
        return Deployment(
            release=self.reference,
            commit=self.commit,
            environment=REHEARSAL,
            images=self.images,
            service=service,
        )
