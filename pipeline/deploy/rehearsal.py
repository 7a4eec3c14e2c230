"""The rehearsal environment: the release runs in the engine, beside a database of its own."""

import dataclasses
from typing import Annotated

import dagger
from dagger import Doc

from pipeline.core.errors import error_context
from pipeline.core.execution import run, start, with_run_id
from pipeline.core.log import log
from pipeline.deploy.database import database, database_url
from pipeline.deploy.migration import MIGRATION, MIGRATION_SECONDS
from pipeline.images import Images
from pipeline.oci.references import DigestReference
from pipeline.oci.registry import Registry

PORT = 3000
HOST = "service"
URL = f"http://{HOST}:{PORT}"


@dataclasses.dataclass(slots=True)
class RehearsalDeployer:
    """Runs a release in the engine.

    Args:
        registry: where the release is.
        images: PostgreSQL.
        seconds: deadline of database and service each.
        service: the running service, once it is deployed.
    """

    registry: Registry
    images: Images
    seconds: int
    service: dagger.Service | None = None

    async def deploy(
        self,
        reference: Annotated[str, Doc("The image, host/path@sha256:…")],
        environment: Annotated[str, Doc("Name of the environment.")],
    ) -> str:
        """Pull the image by digest, migrate a database after a dry run, and start the service beside it.

        Raises:
            SlipwayError: if the migration fails, or something does not become ready in time.
        """
        with error_context("deploy"):
            image = await self.registry.pull(DigestReference.parse(reference).digest)
            # An environment of its own for every run, so that nothing of an earlier one is found in it.
            db = database(self.images.postgres).with_(with_run_id).as_service(use_entrypoint=True)
            with error_context("the database"):
                await start(db, self.seconds, hint="look at the image given as --postgres-image")
            bound = (
                image.with_service_binding("db", db)
                .with_env_variable("DATABASE_URL", database_url("db"))
                .with_(with_run_id)
            )
            if await image.exists(MIGRATION[-1]):
                await self._migrate(bound)
            service = bound.with_exposed_port(PORT).as_service(use_entrypoint=True)
            with error_context("the service"):
                await start(service, self.seconds, hint=f"it must listen on port {PORT}")
        self.service = service
        log("deploy", f"{environment}: the service listens on port {PORT}")
        return URL

    async def rollback(self, environment: Annotated[str, Doc("Name of the environment.")]) -> str:
        """Restore nothing: a rehearsal's environment ends with the run."""
        return f"{environment} ends with the run"

    async def _migrate(self, container: dagger.Container) -> None:
        """Run the release's migrations, after a dry run."""
        with error_context("migration, dry run"):
            argv = [*MIGRATION, "--dry-run"]
            await run(container, argv, hint="nothing was changed", seconds=MIGRATION_SECONDS)
        with error_context("migration"):
            hint = "the environment is half migrated: look at it"
            await run(container, MIGRATION, hint=hint, seconds=MIGRATION_SECONDS)
        log("deploy", "migrated, after a dry run")
