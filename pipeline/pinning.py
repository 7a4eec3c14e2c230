"""Finding what is pinned in a source, and since when."""

import dataclasses
import fnmatch
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import dagger

from pipeline import pins
from pipeline.commit import git_in
from pipeline.errors import InvalidInputError
from pipeline.execution import run
from pipeline.images import Images
from pipeline.pins import Pin
from pipeline.scripts import script

PROGRAM = "/slipway/since.sh"
QUERIES = "/slipway/queries"
# Where the stages' images are pinned, in Slipway's own repository: in another one, since when is not known.
IMAGES = "pipeline/images.py"
# Of a path in the repository, the first that matches.
FINDERS: Sequence[tuple[str, Callable[[str, str], Iterator[Pin]]]] = (
    (".github/*.yml", pins.in_workflow),
    (".github/*.yaml", pins.in_workflow),
    (".github/actions/slipway/install.sh", pins.in_install_script),
    ("*dagger.json", pins.in_module),
    ("*pyproject.toml", pins.in_pyproject),
    ("*uv.lock", pins.in_uv_lock),
)


async def find(source: dagger.Directory, path: str, service: str, images: Images) -> list[Pin]:
    """Return what is fetched at run time: for the stages, the service and the workflows.

    Args:
        source: the root of the repository.
        path: the service's folder.
        service: its name.
        images: that the stages run in.

    Raises:
        InvalidInputError: if a file that pins is malformed.
    """
    found = [pins.image(reference) for reference in dataclasses.astuple(images)]
    finders: list[tuple[str, Callable[[str, str], Iterator[Pin]]]] = [
        (f"{path}/package-lock.json", pins.in_npm_lock),
        (f"{path}/deploy/*.yaml", partial(pins.in_manifests, service=service)),
        (f"{path}/deploy/*.yml", partial(pins.in_manifests, service=service)),
        *FINDERS,
    ]
    for file in sorted(await _files(source, path)):
        finder = next((finder for pattern, finder in finders if fnmatch.fnmatchcase(file, pattern)), None)
        if finder:
            found += finder(await source.file(file).contents(), file)
    return list(dict.fromkeys(found))


async def dated(found: Sequence[Pin], source: dagger.Directory, *, image: str) -> list[Pin]:
    """Return the pins with the date at which each came into the repository, where its history tells.

    Args:
        found: the pins.
        source: the root of the repository, with its .git.
        image: an image with Git.
    """
    if not await source.exists(".git", expected_type=dagger.ExistsType.DIRECTORY_TYPE, do_not_follow_symlinks=True):
        return list(found)
    git, _ = await git_in(source, image)
    asked = git.with_new_file(PROGRAM, script("since.sh")).with_new_file(QUERIES, "".join(map(_query, found)))
    dates = (await run(asked, ["sh", PROGRAM, QUERIES], what="pins")).splitlines()
    return [dataclasses.replace(pin, since=date) for pin, date in zip(found, dates, strict=True)]


def _query(pin: Pin) -> str:
    """Return the two lines that ask since when a pin stands: that of a lock file, since the file was changed."""
    if not pin.pinned:
        return "\n\n"
    return f"{'' if pin.kind == 'packages' else pin.pinned}\n{pin.file or IMAGES}\n"


async def _files(source: dagger.Directory, path: str) -> set[str]:
    """Return the files that may pin something."""
    patterns = (
        ".github/**/*.yml",
        ".github/**/*.yaml",
        ".github/actions/slipway/install.sh",
        "**/dagger.json",
        "**/pyproject.toml",
        "**/uv.lock",
        f"{path}/package-lock.json",
        f"{path}/deploy/**/*.yaml",
        f"{path}/deploy/**/*.yml",
    )
    found = {file for pattern in patterns for file in await source.glob(pattern)}
    if odd := next((file for file in found if not file.isprintable()), ""):
        raise InvalidInputError(f"pins: the file name {odd!r} is not printable", hint="rename it")
    return found
