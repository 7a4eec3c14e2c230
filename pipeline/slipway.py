"""The module's entry: source comes in here, once."""

from typing import Annotated

import anyio
import dagger
from dagger import DefaultPath, Doc, Ignore, dag

from pipeline import ignores, images
from pipeline.candidate import check_severities
from pipeline.cleared import Cleared
from pipeline.commit import Commit, check_releasable, read_commit
from pipeline.console import say
from pipeline.database import database, database_url
from pipeline.errors import InvalidInputError, NotReadyError, SlipwayError, causes, joined
from pipeline.execution import run
from pipeline.images import Images
from pipeline.references import Pinned, Repository, check_tag
from pipeline.registry import Registry, check_credentials
from pipeline.release import Release
from pipeline.report import UNAVAILABLE, Run
from pipeline.schema import check, field, function, object_type, uncached
from pipeline.shipment import Logbook, Shipment, StageStoppedError
from pipeline.toolchain import Toolchain, check_manifest
from pipeline.verdict import Status
from pipeline.verified import Verified, check_platforms

INTEGRATION_SECONDS = 600
SMOKE_TEST = "smoke.mjs"


@object_type
class Slipway:
    """From source to production: verify, build, scan, publish, deploy, smoke."""

    source: Annotated[
        dagger.Directory,
        DefaultPath("/"),
        Ignore(
            [
                "**/node_modules",
                "**/.venv",
                "**/__pycache__",
                "**/.mypy_cache",
                "**/.ruff_cache",
                "**/.pytest_cache",
            ]
        ),
        Doc("The root of the repository, with its .git."),
    ] = field()
    path: Annotated[str, Doc("The folder of the service in the repository: the one with package.json.")] = field(
        default="app"
    )
    commit: Annotated[str, Doc("Full hash of the commit, where the source has no .git.")] = field(default="")
    npmrc: Annotated[
        dagger.Secret | None, Doc("npm's user configuration, for private registries: file:$HOME/.npmrc")
    ] = field(default=None)
    node_image: Annotated[str, Doc("Node, for verifying, building and running the service.")] = field(
        default=images.NODE
    )
    postgres_image: Annotated[str, Doc("PostgreSQL, for integration tests and rehearsals.")] = field(
        default=images.POSTGRES
    )
    registry_image: Annotated[str, Doc("The throwaway registry of a rehearsal.")] = field(default=images.REGISTRY)
    git_image: Annotated[str, Doc("Git, which reads the commit of the source.")] = field(default=images.GIT)
    trivy_image: Annotated[str, Doc("Trivy, the scanner.")] = field(default=images.TRIVY)

    @property
    def images(self) -> Images:
        """The images that the stages run in."""
        return Images(
            node=self.node_image,
            postgres=self.postgres_image,
            registry=self.registry_image,
            git=self.git_image,
            trivy=self.trivy_image,
        )

    @property
    def service(self) -> dagger.Directory:
        """The folder of the service."""
        return self.source.directory(self.path)

    @property
    def toolchain(self) -> Toolchain:
        """The containers of the service, for the engine's own platform."""
        return Toolchain(self.service, self.images, self.npmrc)

    @function
    @check
    async def lint(self) -> str:
        """Lint the source: `npm run lint`."""
        return await self._npm("lint")

    @function
    @check
    async def types(self) -> str:
        """Check the types: `npm run typecheck`."""
        return await self._npm("typecheck")

    @function
    @check
    async def unit(self) -> str:
        """Run the unit tests: `npm test`."""
        return await self._npm("test")

    @function
    @check
    async def integration(
        self,
        seconds: Annotated[int, Doc("How long database and tests may take, in seconds.")] = INTEGRATION_SECONDS,
    ) -> str:
        """Run the integration tests beside a real PostgreSQL, once it is ready: `npm run test:integration`."""
        db = database(self.postgres_image).as_service(use_entrypoint=True)
        bound = (
            self.toolchain.workshop()
            .with_service_binding("db", db)
            .with_env_variable("DATABASE_URL", database_url("db"))
        )
        try:
            with anyio.fail_after(seconds):
                return await self._npm("test:integration", bound)
        except TimeoutError as error:
            raise NotReadyError(
                f"integration: not done within {seconds} s: the database never got ready, or a test hangs",
                hint="run `npm run test:integration` in the source folder, with DATABASE_URL set",
            ) from error

    @function
    async def verify(self) -> Verified:
        """Lint, types, unit and integration tests, all at the same time. The first failure stops the others.

        Errors: no package.json or lock file; a missing npm script; each failing tool's own last lines.
        """
        await self._check_path()
        name = await check_manifest(self.service)
        commit = await self._commit()
        failures: list[SlipwayError] = []
        try:
            async with anyio.create_task_group() as tasks:
                for member in (self.lint, self.types, self.unit, self.integration):
                    tasks.start_soon(member)
        except BaseExceptionGroup as group:
            failures = [cause for cause in causes(group) if isinstance(cause, SlipwayError)]
            if not failures:
                raise
        if failures:
            raise joined(failures)
        return Verified(source=self.service, commit=commit, images=self.images, name=name, npmrc=self.npmrc)

    @uncached
    async def release(
        self,
        ref: Annotated[str, Doc("host/path@sha256:… of an image that was published before.")],
        username: Annotated[str, Doc("User of the registry.")] = "",
        password: Annotated[dagger.Secret | None, Doc("Password or token of the registry.")] = None,
        registry_service: Annotated[
            dagger.Service | None, Doc("The registry as a service, for localhost addresses.")
        ] = None,
    ) -> Release:
        """Take up a release that was published before, by digest, after asking the registry for it.

        Errors: a tag instead of a digest; a reference that the registry does not have.
        """
        pinned = Pinned.parse(ref)
        registry = Registry(
            address=str(pinned.repository),
            username=username,
            password=password,
            service=registry_service,
            client_image=self.node_image,
        )
        stored = await registry.stored(pinned.digest)
        if stored is None:
            raise InvalidInputError(
                f"release: {pinned} does not exist", hint="`ship` prints the reference of each release"
            )
        return Release(
            reference=str(pinned),
            digest=pinned.digest,
            config_digests=stored.content.configs,
            commit=stored.revision,
            registry=registry,
            images=self.images,
            name=pinned.repository.path.rpartition("/")[2],
        )

    @uncached
    async def ship(
        self,
        registry: Annotated[str, Doc("Where to publish, such as ghcr.io/org/app. Default: a rehearsal.")] = "",
        username: Annotated[str, Doc("User of the registry.")] = "",
        password: Annotated[dagger.Secret | None, Doc("Password or token of the registry: env:TOKEN")] = None,
        tag: Annotated[str, Doc("Tag for people. Default: twelve digits of the commit.")] = "",
        registry_service: Annotated[
            dagger.Service | None, Doc("The registry as a service, for localhost addresses.")
        ] = None,
        platforms: Annotated[list[str] | None, Doc("Platforms to build, such as linux/amd64,linux/arm64.")] = None,
        ignore: Annotated[
            dagger.File | None, Doc("Ignores. Default: .trivyignore.yaml in the service's folder.")
        ] = None,
        scanner: Annotated[
            dagger.Container | None, Doc("Your own scanner: a container with trivy on its PATH.")
        ] = None,
        severity: Annotated[list[str] | None, Doc("What closes the gate. Default: CRITICAL,HIGH.")] = None,
    ) -> Shipment:
        """Run the whole chain: verify, build, scan, publish, deploy, smoke.

        Without --registry it is a rehearsal, against a throwaway registry and environment. Ends with a table and the
        digest. `ship report export --path report` gives the report, also of a run that failed.

        Errors: bad arguments at once; then the failing stage, its tool's last lines and a hint.
        """
        check_credentials(username, password)
        check_platforms(platforms)
        check_severities(severity)
        if tag:
            check_tag(tag)
        if registry:
            Repository.parse(registry)
            check_releasable(await self._commit())
        rehearsal = not registry
        log = Logbook()
        told = Run(name=self.path, stages=list(log.stages.values()), rehearsal=rehearsal)
        evidence = dag.directory()
        try:
            verified = await log.stage("verify", self.verify())
            told.name, told.commit, told.dirty = verified.name, verified.commit.sha, verified.commit.dirty
            candidate = await log.stage("build", verified.build(platforms))
            told.base_image = await self.toolchain.base().image_ref()

            async def scan() -> Cleared:
                nonlocal evidence
                told.verdict, evidence = await candidate.examine(ignore or await self._ignores(), scanner, severity)
                if told.verdict.status == Status.UNAVAILABLE and rehearsal:
                    log.stages["scan"].result, log.stages["scan"].detail = UNAVAILABLE, told.verdict.reason
                return await candidate.clear(told.verdict, evidence, rehearsal=rehearsal)

            cleared = await log.stage("scan", scan())
            release = await log.stage("publish", cleared.publish(registry, username, password, tag, registry_service))
            told.reference = release.reference
            deployment = await log.stage("deploy", release.deploy())
            proof = await log.stage("smoke", deployment.smoke(await self._smoke_test()))
            log.stages["smoke"].detail = f"attempt {proof.attempts}"
        except StageStoppedError:
            told.error = log.error
        return Shipment.of(told, evidence)

    async def _npm(self, name: str, container: dagger.Container | None = None) -> str:
        """Run one npm script; return its output."""
        argv = ["npm", "test"] if name == "test" else ["npm", "run", name]
        output = await run(
            container or self.toolchain.workshop(),
            argv,
            what=name,
            hint=f"run it in the source folder: {' '.join(argv)}",
        )
        say("verify", f"{name} passed")
        return output

    async def _commit(self) -> Commit:
        """Read the commit of the source."""
        return await read_commit(self.source, self.path, image=self.git_image, sha=self.commit)

    async def _check_path(self) -> None:
        """Refuse a folder that is not in the source."""
        if not await self.source.exists(self.path, expected_type=dagger.ExistsType.DIRECTORY_TYPE):
            raise InvalidInputError(
                f"the source has no folder {self.path!r}", hint="give the folder with package.json as --path"
            )

    async def _ignores(self) -> dagger.File | None:
        """Return the service's own ignore file, if it has one."""
        return self.service.file(ignores.FILE) if await self.service.exists(ignores.FILE) else None

    async def _smoke_test(self) -> dagger.File | None:
        """Return the service's own smoke test, if it has one."""
        return self.service.file(SMOKE_TEST) if await self.service.exists(SMOKE_TEST) else None
