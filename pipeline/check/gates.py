"""The gates of a source: its own lint, types and tests, its manifests, secrets, licenses."""

import enum

import dagger
from dagger import enum_type

from pipeline.check import licenses
from pipeline.check import secrets as leaks
from pipeline.core.execution import check_positive, run
from pipeline.core.log import log
from pipeline.deploy.database import database, database_url
from pipeline.deploy.kustomize import checked, environments
from pipeline.kubernetes.cluster import STAGING
from pipeline.source.commit import tracked
from pipeline.source.delivery import FOLDER, ignores_in
from pipeline.source.project import read_manifest
from pipeline.source.source import Source

SECONDS = 1800
INTEGRATION_SECONDS = 600


@enum_type
class Gate(enum.Enum):
    """A gate that `--skip` turns off: it is told at the terminal and in the report."""

    SECRETS = "secrets"
    """The search for secrets."""

    LICENSES = "licenses"
    """The policy for the licenses of production dependencies."""


async def npm(
    source: Source, name: str, container: dagger.Container | None = None, seconds: int = SECONDS, beside: str = ""
) -> str:
    """Run one npm script, dependencies and services included; return its output.

    Args:
        source: the service.
        name: of the script.
        container: to run it in, where that needs more than the service.
        seconds: how long all may take.
        beside: what a person who runs it needs beside it, for the hint.
    """
    await source.check()
    argv = ["npm", "test"] if name == "test" else ["npm", "run", name]
    output = await run(
        container or source.toolchain.dev_container(),
        argv,
        what=name,
        hint=f"run it in the source folder{beside}: {' '.join(argv)}",
        seconds=seconds,
    )
    log("verify", f"{name} passed")
    return output


async def integration(source: Source, seconds: int) -> str:
    """Run the integration tests beside a database; return their output."""
    check_positive("seconds", seconds)
    db = database(source.images.postgres).as_service(use_entrypoint=True)
    bound = (
        source.toolchain.dev_container()
        .with_service_binding("db", db)
        .with_env_variable("DATABASE_URL", database_url("db"))
    )
    return await npm(source, "test:integration", bound, seconds, beside=", beside a database that gets ready")


async def manifests(source: Source) -> str:
    """Check the manifests of each environment; return how many objects each has."""
    await source.check()
    name = await read_manifest(source.service, ())
    if not await source.service.exists(FOLDER):
        return "the service has none"
    folder = source.service.directory(FOLDER)
    told = []
    for environment in await environments(folder) or [STAGING]:
        what = f"manifests of {environment}"
        rendered = await checked(source.images.kubectl, folder, environment, name, what=what)
        told.append(f"{environment}: {len(rendered)} objects")
    log("verify", f"manifests passed ({', '.join(told)})")
    return "\n".join(told)


async def secrets(source: Source) -> str:
    """Look for secrets in the repository; return how it went."""
    told = await leaks.search(await tracked(source.root, image=source.images.git), source.images.gitleaks)
    log("verify", f"secrets passed ({told})")
    return told


async def licensed(source: Source) -> str:
    """Check the licenses of the production dependencies; return how many there are."""
    await source.check()
    await read_manifest(source.service, ())
    file = await ignores_in(source.delivery, None)
    installed = source.toolchain.dependencies(production=True)
    packages = licenses.parse_packages(await run(installed, licenses.QUERY, what="licenses"))
    for warning in licenses.check(packages, await file.contents() if file else ""):
        log("verify", f"warning: {warning}")
    told = f"{len(packages)} production dependencies"
    log("verify", f"licenses passed ({told})")
    return told
