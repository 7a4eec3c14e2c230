"""Finding what is pinned in a source, and since when."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import PurePosixPath

import dagger

from pipeline.check import pins
from pipeline.check.pins import Pin
from pipeline.core.errors import InvalidInputError
from pipeline.core.execution import run
from pipeline.core.programs import program
from pipeline.images import Images
from pipeline.source.commit import git_in
from pipeline.source.delivery import FOLDER

PROGRAM = "/slipway/since.sh"
QUERIES = "/slipway/queries"
# Where the stages' images are pinned, in Slipway's own repository: in another one, since when is not known.
IMAGES = "pipeline/images.py"
WORKFLOWS = ".github"
INSTALL_SCRIPT = ".github/actions/slipway/install.sh"
MODULE, PROJECT, LOCK = "dagger.json", "pyproject.toml", "uv.lock"

Finder = Callable[[str, str], Iterator[Pin]]
BY_NAME: Mapping[str, Finder] = {MODULE: pins.in_module, PROJECT: pins.in_pyproject, LOCK: pins.in_uv_lock}


async def find(source: dagger.Directory, path: str, service: str, images: Images) -> list[Pin]:
    """Return what is fetched at run time: for the stages, the service and the workflows.

    Args:
        source: the root of the repository.
        path: the service's folder, without `./` or a slash at the end.
        service: its name.
        images: that the stages run in.

    Raises:
        InvalidInputError: if a file that pins is malformed.
    """
    found = [pins.image(reference) for reference in dataclasses.astuple(images)]
    files = sorted(await _files(source, path))
    for file in files:
        if finder := _finder(PurePosixPath(file), PurePosixPath(path), service):
            found += finder(await source.file(file).contents(), file)
    for module in (PurePosixPath(file).parent for file in files if PurePosixPath(file).name == MODULE):
        project = str(module / PROJECT)
        if project in files and str(module / LOCK) not in files:
            found += pins.without_lock(await source.file(project).contents(), project)
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
    asked = git.with_new_file(PROGRAM, program("pipeline.check", "since.sh")).with_new_file(
        QUERIES, "".join(map(_query, found))
    )
    dates = (await run(asked, ["sh", PROGRAM, QUERIES], what="pins")).splitlines()
    return [dataclasses.replace(pin, since=date) for pin, date in zip(found, dates, strict=True)]


def _query(pin: Pin) -> str:
    """Return the two lines that ask since when a pin stands: that of a lock file, since the file was changed."""
    if not pin.pinned:
        return "\n\n"
    return f"{'' if pin.kind == 'packages' else pin.pinned}\n{pin.file or IMAGES}\n"


def _finder(file: PurePosixPath, folder: PurePosixPath, service: str) -> Finder | None:
    """Return what finds the pins in a file, if any does.

    Args:
        file: relative to the root of the repository, as is the service's folder.
        folder: of the service.
        service: its name.
    """
    own = file.relative_to(folder) if file.is_relative_to(folder) else PurePosixPath("..")
    if own == PurePosixPath("package-lock.json"):
        return pins.in_npm_lock
    if own.parts[0] == FOLDER:
        return partial(pins.in_manifests, service=service)
    if file == PurePosixPath(INSTALL_SCRIPT):
        return pins.in_install_script
    if file.parts[0] == WORKFLOWS:
        return pins.in_workflow
    return BY_NAME.get(file.name)


async def _files(source: dagger.Directory, path: str) -> set[str]:
    """Return the files that may pin something."""
    found = {file for name in (*BY_NAME, INSTALL_SCRIPT) for file in await source.glob(f"**/{name}")}
    for folder in (WORKFLOWS, str(PurePosixPath(path) / FOLDER)):
        if await source.exists(folder, expected_type=dagger.ExistsType.DIRECTORY_TYPE):
            within = source.directory(folder)
            for pattern in ("**/*.yml", "**/*.yaml", "**/Kustomization"):
                found |= {str(PurePosixPath(folder) / file) for file in await within.glob(pattern)}
    if await source.exists(lock := str(PurePosixPath(path) / "package-lock.json")):
        found.add(lock)
    if odd := next((file for file in found if not file.isprintable()), ""):
        raise InvalidInputError(f"pins: the file name {odd!r} is not printable", hint="rename it")
    return found
