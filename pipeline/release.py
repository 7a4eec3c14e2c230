"""A published image, by digest."""

from typing import Annotated

import dagger
from dagger import Doc

from pipeline.console import say
from pipeline.database import database, database_url
from pipeline.delivery import manifests_in
from pipeline.deployment import Deployment
from pipeline.errors import InvalidInputError, RegistryError
from pipeline.execution import check_positive, run, run_id, start
from pipeline.images import Images
from pipeline.place import (
    LEASE_SECONDS,
    MIGRATION,
    MIGRATION_SECONDS,
    ROLLOUT_SECONDS,
    Place,
    Subject,
)
from pipeline.registry import Registry
from pipeline.schema import field, object_type, uncached
from pipeline.toolchain import PORT

REHEARSAL = "rehearsal"


@object_type
class Release:
    """An image in a registry, by digest. Made only by `publish`, or by `release`, which checks the reference."""

    reference: Annotated[str, Doc("host/path@sha256:…")] = field()
    digest: Annotated[str, Doc("sha256:…, of the manifest or the index.")] = field()
    config_digests: Annotated[list[str], Doc("Digest of each platform's config.")] = field()
    commit: Annotated[str, Doc("The commit it was built from.")] = field()
    registry: Annotated[Registry, Doc("Where it is kept.")] = field()
    images: Annotated[Images, Doc("The images that the stages run in.")] = field()
    name: Annotated[str, Doc("Name of the service.")] = field()
    committed: Annotated[str, Doc("When that commit was made, RFC 3339, or empty.")] = field(default="")
    rehearsal: Annotated[bool, Doc("Whether the registry is a throwaway one.")] = field(default=False)
    delivery: Annotated[dagger.Directory, Doc("The service's own manifests (deploy/) and smoke test.")] = field()

    @uncached
    async def deploy(
        self,
        environment: Annotated[str, Doc("Where to, such as staging. Needs --kubeconfig.")] = REHEARSAL,
        kubeconfig: Annotated[
            dagger.Secret | None, Doc("Kubeconfig of the cluster, raw or in base64: env:KUBECONFIG, file:PATH")
        ] = None,
        context: Annotated[str, Doc("Context in the kubeconfig. Default: its current one.")] = "",
        namespace: Annotated[str, Doc("Default: the context's, else SERVICE-ENVIRONMENT.")] = "",
        api_server: Annotated[
            dagger.Service | None, Doc("The API server, where only this machine reaches it: tcp://127.0.0.1:6443")
        ] = None,
        manifests: Annotated[
            dagger.Directory | None, Doc("Folder with overlays/ENVIRONMENT. Default: deploy/ of the service.")
        ] = None,
        seconds: Annotated[
            int, Doc("How long the rollout (in a rehearsal, database and service) may take, in seconds.")
        ] = ROLLOUT_SECONDS,
        wait: Annotated[int, Doc("How long another run may hold the environment, in seconds.")] = LEASE_SECONDS,
        force_conflicts: Annotated[bool, Doc("Take over fields of the manifests that somebody else manages.")] = False,
        link: Annotated[str, Doc("Address of the CI run, for the history.")] = "",
    ) -> Deployment:
        """Deploy by digest: to a cluster's environment, or in a rehearsal beside a PostgreSQL of its own.

        The migration is rehearsed (`--dry-run`) before it is done; an image without dist/migrate.js has none. If the
        rollout fails, what was proven in the environment before is brought back, and the run fails all the same.

        Errors: other bytes than the digest; a failing migration; manifests that may not be applied; a rollout that
        cannot heal or is not done in time, with its events and last words; another run that holds the environment.
        """
        check_positive("seconds", seconds)
        if environment != REHEARSAL or kubeconfig:
            place = await self._place(environment, kubeconfig, context, namespace, api_server)
            folder = await manifests_in(self.delivery, manifests)
            run = run_id()
            subject = await self._subject(link)
            await place.roll_out(subject, folder, run, seconds=seconds, wait=wait, force_conflicts=force_conflicts)
            return Deployment(
                release=self.reference,
                commit=self.commit,
                environment=environment,
                images=self.images,
                place=place,
                run=run,
            )
        return await self._rehearse(seconds)

    @uncached
    async def plan(
        self,
        environment: Annotated[str, Doc("Where to, such as staging.")],
        kubeconfig: Annotated[
            dagger.Secret, Doc("Kubeconfig of the cluster, raw or in base64: env:KUBECONFIG, file:PATH")
        ],
        context: Annotated[str, Doc("Context in the kubeconfig. Default: its current one.")] = "",
        namespace: Annotated[str, Doc("Default: the context's, else SERVICE-ENVIRONMENT.")] = "",
        api_server: Annotated[
            dagger.Service | None, Doc("The API server, where only this machine reaches it: tcp://127.0.0.1:6443")
        ] = None,
        manifests: Annotated[
            dagger.Directory | None, Doc("Folder with overlays/ENVIRONMENT. Default: deploy/ of the service.")
        ] = None,
    ) -> str:
        """What a deployment would change and replace, and what the migration's dry run says. Changes nothing."""
        place = await self._place(environment, kubeconfig, context, namespace, api_server)
        folder = await manifests_in(self.delivery, manifests)
        return await place.foresee(await self._subject(""), folder, run_id())

    async def _place(
        self,
        environment: str,
        kubeconfig: dagger.Secret | None,
        context: str,
        namespace: str,
        api_server: dagger.Service | None,
    ) -> Place:
        """Return the environment in its cluster."""
        if self.rehearsal:
            raise InvalidInputError(
                f"deploy: a rehearsal's release cannot go to {environment}: its registry is gone with the run",
                hint="publish with --registry first",
            )
        return await Place.connect(
            environment,
            self.name,
            kubeconfig,
            context=context,
            namespace=namespace,
            api_server=api_server,
            images=self.images,
            delivery=self.delivery,
        )

    async def _subject(self, link: str) -> Subject:
        """Return what is deployed; the image is asked whether it has migrations."""
        return Subject(
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
            say("deploy", "migrated, after a dry run")
        service = bound.with_exposed_port(PORT).as_service(use_entrypoint=True)
        await start(service, seconds, what="deploy: the service", hint=f"it must listen on port {PORT}")
        return Deployment(
            release=self.reference,
            commit=self.commit,
            environment=REHEARSAL,
            images=self.images,
            service=service,
        )
