"""package.json: what names the service, and the scripts that the stages call."""

import json
import re
from collections.abc import Iterable, Sequence

import dagger

from pipeline.core.errors import InvalidInputError

SCRIPTS = ("lint", "typecheck", "test", "test:integration", "build")
_NAME = re.compile(r"[a-z0-9]+(?:[._-]+[a-z0-9]+)*")


async def read_manifest(source: dagger.Directory, scripts: Iterable[str] = SCRIPTS) -> str:
    """Check that the source is an npm package with the scripts that the stages call; return its name.

    Raises:
        InvalidInputError: without package.json, lock file or one of the scripts.
    """
    entries = {entry.rstrip("/") for entry in await source.entries()}
    for needed in ("package.json", "package-lock.json"):
        if needed not in entries:
            raise InvalidInputError(
                f"the source has no {needed}",
                hint="point --source and --path at the folder of an npm package with a lock file",
            )
        await check_regular_file(source, needed)
    return parse_manifest(await source.file("package.json").contents(), tuple(scripts))


async def check_regular_file(source: dagger.Directory, name: str) -> None:
    """Refuse a file that is a link: what it leads to may be no part of the service, and of no commit.

    Raises:
        InvalidInputError: if it is one, or is no file at all.
    """
    kind = dagger.ExistsType.REGULAR_TYPE
    if not await source.exists(name, expected_type=kind, do_not_follow_symlinks=True):
        raise InvalidInputError(f"{name} is not a regular file", hint="put the file itself into the service's folder")


def parse_manifest(text: str, scripts: Sequence[str]) -> str:
    """Return the name in a package.json that has `scripts`.

    Raises:
        InvalidInputError: if it is no JSON object, or lacks one of the scripts.
    """
    try:
        manifest = json.loads(text)
        present = manifest.get("scripts", {})
    except (ValueError, AttributeError) as error:
        raise InvalidInputError(f"package.json is not a JSON object: {error}") from error
    if not isinstance(present, dict):
        raise InvalidInputError("package.json's scripts are not an object", hint='such as {"lint": "eslint ."}')
    missing = [script for script in scripts if script not in present]
    if missing:
        raise InvalidInputError(
            f"package.json has no script {', '.join(map(repr, missing))}",
            hint=f"Slipway calls the npm scripts {', '.join(SCRIPTS)}",
        )
    name = str(manifest.get("name") or "service").rpartition("/")[2]
    if not _NAME.fullmatch(name):
        raise InvalidInputError(
            f"package.json's name {name!r} cannot name an image",
            hint="use lower-case letters and digits, with dots, dashes or underscores between them",
        )
    return name
