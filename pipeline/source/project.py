"""The service that is delivered: its folder, its package.json, and the files for its delivery."""

import json
import re
from collections.abc import Sequence
from typing import Annotated

import dagger
from dagger import Doc

from pipeline.core.errors import InvalidInputError
from pipeline.core.sdk import field, object_type

SCRIPTS = ("lint", "typecheck", "test", "test:integration", "build")
MANIFESTS = "deploy"
SMOKE_TEST = "smoke.mjs"
IGNORE_FILE = ".trivyignore.yaml"
_NAME = re.compile(r"[a-z0-9]+(?:[._-]+[a-z0-9]+)*")


@object_type
class Project:
    """The service that is delivered: one folder of a repository."""

    name: Annotated[str, Doc("Name of the service, from package.json; empty where the folder has none.")] = field()
    path: Annotated[str, Doc("Its folder, relative to the root of the repository.")] = field()
    directory: Annotated[dagger.Directory, Doc("That folder.")] = field()

    async def regular_file(self, name: str) -> dagger.File | None:
        """Return a file of the service, or None where it has none.

        Raises:
            InvalidInputError: if it is not a regular file.
        """
        return await regular_file(self.directory, name)

    async def ignore_file(self) -> dagger.File | None:
        """Return the service's file of accepted findings, or None."""
        return await self.regular_file(IGNORE_FILE)

    async def smoke_test(self) -> dagger.File | None:
        """Return the service's own smoke test, or None."""
        return await self.regular_file(SMOKE_TEST)

    async def manifests(self) -> dagger.Directory | None:
        """Return the folder of the service's Kubernetes manifests, or None."""
        return self.directory.directory(MANIFESTS) if await self.directory.exists(MANIFESTS) else None


async def regular_file(folder: dagger.Directory, name: str) -> dagger.File | None:
    """Return a file of a folder, or None where there is none.

    Raises:
        InvalidInputError: if it is not a regular file: the target of a link may be outside the commit.
    """
    if not await folder.exists(name, do_not_follow_symlinks=True):
        return None
    await check_regular_file(folder, name)
    return folder.file(name)


async def check_regular_file(folder: dagger.Directory, name: str) -> None:
    """Refuse a symbolic link: its target may be outside the service, and outside the commit.

    Raises:
        InvalidInputError: if it is one, or is not a file.
    """
    kind = dagger.ExistsType.REGULAR_TYPE
    if not await folder.exists(name, expected_type=kind, do_not_follow_symlinks=True):
        raise InvalidInputError(f"{name} is not a regular file", hint="put the file itself into the service's folder")


async def read_name(service: dagger.Directory, scripts: Sequence[str] = ()) -> str:
    """Check that a folder is an npm package with the given scripts and a lock file; return its name.

    Raises:
        InvalidInputError: without package.json, lock file or one of the scripts.
    """
    entries = {entry.rstrip("/") for entry in await service.entries()}
    for needed in ("package.json", "package-lock.json"):
        if needed not in entries:
            raise InvalidInputError(
                f"the source has no {needed}",
                hint="point --source and --path at the folder of an npm package with a lock file",
            )
        await check_regular_file(service, needed)
    return parse_package(await service.file("package.json").contents(), scripts)


def parse_package(text: str, scripts: Sequence[str]) -> str:
    """Return the name in a package.json that has `scripts`.

    Raises:
        InvalidInputError: if it is not a JSON object, lacks one of the scripts, or its name cannot name an image.
    """
    try:
        package = json.loads(text)
        present = package.get("scripts", {})
    except (ValueError, AttributeError) as error:
        raise InvalidInputError(f"package.json is not a JSON object: {error}") from error
    if not isinstance(present, dict):
        raise InvalidInputError("package.json's scripts are not an object", hint='such as {"lint": "eslint ."}')
    if missing := [script for script in scripts if script not in present]:
        raise InvalidInputError(
            f"package.json has no script {', '.join(map(repr, missing))}",
            hint=f"Slipway calls the npm scripts {', '.join(SCRIPTS)}",
        )
    name = str(package.get("name") or "service").rpartition("/")[2]
    if not _NAME.fullmatch(name):
        raise InvalidInputError(
            f"package.json's name {name!r} cannot name an image",
            hint="use lower-case letters and digits, with dots, dashes or underscores between them",
        )
    return name
