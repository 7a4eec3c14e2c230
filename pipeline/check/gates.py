"""The gates of the source: its own lint, types and tests, its manifests, secrets, licenses."""

import dataclasses
import enum
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial

import dagger
from dagger import enum_type

from pipeline.build.node import NodeBuilder
from pipeline.check import licenses
from pipeline.check import secrets as secret_scan
from pipeline.core.errors import GateClosedError, error_context
from pipeline.core.execution import check_positive, gather, run
from pipeline.core.interfaces import Gate
from pipeline.core.log import log
from pipeline.deploy.database import database, database_url
from pipeline.deploy.environments import STAGING
from pipeline.deploy.kustomize import environments, load_manifests
from pipeline.images import Images
from pipeline.kubernetes.manifests import Manifest
from pipeline.source.git import tracked_files
from pipeline.source.project import IGNORE_FILE, MANIFESTS, Project, regular_file
from pipeline.source.source import Source

GATE_SECONDS = 1800
INTEGRATION_SECONDS = 600


@enum_type
class SkippableGate(enum.Enum):
    """A gate that `--skip` turns off; the log and the report say so."""

    SECRETS = "secrets"
    """The search for secrets."""

    LICENSES = "licenses"
    """The policy for the licenses of production dependencies."""


@dataclasses.dataclass(frozen=True, slots=True)
class NpmGate:
    """One npm script of the service.

    Args:
        builder: has the container with dependencies and source.
        script: name of the script.
        seconds: how long it may take, dependencies and services included.
        database: image of a PostgreSQL to run beside it, or empty.
    """

    builder: NodeBuilder
    script: str
    seconds: int = GATE_SECONDS
    database: str = ""

    async def check(self, source: dagger.Directory) -> str:
        """Run the script; return its output."""
        argv = ["npm", "test"] if self.script == "test" else ["npm", "run", self.script]
        container = self.builder.dev_container(source)
        requirement = ""
        if self.database:
            service = database(self.database).as_service(use_entrypoint=True)
            container = container.with_service_binding("db", service).with_env_variable(
                "DATABASE_URL", database_url("db")
            )
            requirement = ", with DATABASE_URL of a PostgreSQL that accepts connections"
        with error_context(self.script):
            hint = f"run it in the source folder{requirement}: {' '.join(argv)}"
            return await run(container, argv, hint=hint, seconds=self.seconds)


@dataclasses.dataclass(frozen=True, slots=True)
class ManifestsGate:
    """The Kubernetes manifests of every environment, by schema and policy.

    Args:
        kubectl_image: the image with kubectl.
        service: name of the service.
        rendered: the service's own manifests that were rendered and checked before, by environment.
    """

    kubectl_image: str
    service: str
    rendered: Mapping[str, Sequence[Manifest]] = dataclasses.field(default_factory=dict)

    async def check(self, source: dagger.Directory) -> str:
        """Render and check the manifests; return how many objects each environment has."""
        if not await source.exists(MANIFESTS):
            return "none: the service has no manifests"
        folder = source.directory(MANIFESTS)
        counts = []
        for environment in await environments(folder) or [STAGING]:
            objects = self.rendered.get(environment) or await load_manifests(
                self.kubectl_image, folder, environment, self.service
            )
            counts.append(f"{environment}: {len(objects)} objects")
        return "\n".join(counts)


@dataclasses.dataclass(frozen=True, slots=True)
class SecretsGate:
    """Secrets in the files of a repository.

    Args:
        git_image: an image with Git, which tells what is ignored.
        gitleaks_image: the image with gitleaks.
    """

    git_image: str
    gitleaks_image: str

    async def check(self, source: dagger.Directory) -> str:
        """Search the repository; return how it went."""
        return await secret_scan.search(await tracked_files(source, image=self.git_image), self.gitleaks_image)


@dataclasses.dataclass(frozen=True, slots=True)
class LicensesGate:
    """The licenses of the production dependencies.

    Args:
        builder: installs them.
    """

    builder: NodeBuilder

    async def check(self, source: dagger.Directory) -> str:
        """Check the licenses; return how many dependencies there are."""
        ignore_file = await regular_file(source, IGNORE_FILE)
        with error_context("licenses"):
            output = await run(self.builder.dependencies(source, production=True), licenses.QUERY)
        packages = licenses.parse_packages(output)
        for warning in licenses.check(packages, await ignore_file.contents() if ignore_file else ""):
            log("check", f"warning: {warning}")
        return f"{len(packages)} production dependencies"


@dataclasses.dataclass(frozen=True, slots=True)
class Gates:
    """All gates of one source.

    Args:
        source: the service in its repository.
        images: the images that the gates run in.
        npmrc: npm's user configuration, for private registries.
        project: the service, where it was read before.
        rendered: its own manifests that were rendered and checked before, by environment.
    """

    source: Source
    images: Images
    npmrc: dagger.Secret | None = None
    project: Project | None = None
    rendered: Mapping[str, Sequence[Manifest]] = dataclasses.field(default_factory=dict)

    async def npm(self, name: str, script: str) -> str:
        """Run one npm script of the service."""
        return await self._passed(name, NpmGate(self._builder, script), quiet=True)

    async def integration(self, seconds: int = INTEGRATION_SECONDS) -> str:
        """Run the integration tests beside a database."""
        check_positive("seconds", seconds)
        gate = NpmGate(self._builder, "test:integration", seconds, self.images.postgres)
        return await self._passed("integration", gate, quiet=True)

    async def manifests(self) -> str:
        """Check the Kubernetes manifests."""
        project = self.project or await self.source.project()
        return await self._passed("manifests", ManifestsGate(self.images.kubectl, project.name, self.rendered))

    async def secrets(self) -> str:
        """Search the whole repository for secrets."""
        report = await SecretsGate(self.images.git, self.images.gitleaks).check(self.source.root)
        log("check", f"secrets passed ({report})")
        return report

    async def licenses(self) -> str:
        """Check the licenses of the production dependencies."""
        return await self._passed("licenses", LicensesGate(self._builder))

    async def all(self, skip: Sequence[SkippableGate], further: Sequence[Gate]) -> None:
        """Run all gates at the same time; the first failure stops the others.

        Args:
            skip: gates that are turned off.
            further: gates of other modules.

        Raises:
            SlipwayError: with what each failing gate says.
        """
        gates: list[Callable[[], Awaitable[str]]] = [
            partial(self.npm, "lint", "lint"),
            partial(self.npm, "types", "typecheck"),
            partial(self.npm, "unit", "test"),
            self.integration,
            self.manifests,
            *(partial(self._further, number, gate) for number, gate in enumerate(further, 1)),
        ]
        for skippable, gate in ((SkippableGate.SECRETS, self.secrets), (SkippableGate.LICENSES, self.licenses)):
            if skippable in skip:
                log("check", f"{skippable.value}: SKIPPED by --skip")
            else:
                gates.append(gate)
        await gather(*gates)

    @property
    def _builder(self) -> NodeBuilder:
        return NodeBuilder(self.images, self.npmrc)

    async def _passed(self, name: str, gate: Gate, *, quiet: bool = False) -> str:
        """Run a gate on the service's folder; log that it passed, with its report unless that is a tool's output."""
        if self.project is None:
            await self.source.check()
        report = await gate.check(self.source.service)
        summary = "" if quiet else report.strip().replace("\n", ", ")
        log("check", f"{name} passed{f' ({summary})' if summary else ''}")
        return report

    async def _further(self, number: int, gate: Gate) -> str:
        """Run a gate of another module."""
        try:
            return await self._passed(f"gate {number}", gate)
        except dagger.QueryError as error:
            raise GateClosedError(
                f"gate {number}: closed",
                output=str(error),
                hint="it is a gate of another module: read its output above",
            ) from error
