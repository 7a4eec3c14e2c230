"""A published image, by digest."""

from typing import Annotated

from dagger import Doc

from pipeline.console import say
from pipeline.database import database, database_url
from pipeline.deployment import Deployment, Environment
from pipeline.errors import RegistryError
from pipeline.execution import check_positive, run, run_id, start
from pipeline.images import Images
from pipeline.registry import Registry
from pipeline.schema import field, object_type, uncached
from pipeline.toolchain import PORT

MIGRATION = ("node", "dist/migrate.js")
START_SECONDS = 120
MIGRATION_SECONDS = 600


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
    rehearsal: Annotated[bool, Doc("Whether the registry is a throwaway one.")] = field(default=False)

    @uncached
    async def deploy(
        self,
        environment: Annotated[Environment, Doc("Where to.")] = Environment.REHEARSAL,
        start_seconds: Annotated[
            int, Doc("How long database and service may take to start, in seconds.")
        ] = START_SECONDS,
    ) -> Deployment:
        """Pull the image back by digest and run it beside a PostgreSQL of its own, migrated first.

        The migration is rehearsed (`--dry-run`) before it is done; an image without dist/migrate.js has none.

        Errors: other bytes than the digest; a database or service that does not start in time; a failing migration.
        """
        check_positive("start-seconds", start_seconds)
        image = self.registry.pull(self.digest)
        pulled = await image.image_ref()
        if not pulled.endswith(f"@{self.digest}"):
            raise RegistryError(f"deploy: asked for {self.reference}, got {pulled}", hint="do not deploy this")

        # An environment of its own for every run, so that nothing of an earlier one is found in it.
        run_of = run_id()
        db = database(self.images.postgres).with_env_variable("SLIPWAY_RUN", run_of).as_service(use_entrypoint=True)
        await start(db, start_seconds, what="deploy: the database", hint="look at the image given as --postgres-image")
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
        await start(service, start_seconds, what="deploy: the service", hint=f"it must listen on port {PORT}")
        return Deployment(
            release=self.reference,
            commit=self.commit,
            environment=environment,
            service=service,
            images=self.images,
        )
