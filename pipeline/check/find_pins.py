"""Finding the pins of a source, and the date of each."""

import dataclasses
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import PurePosixPath

import dagger

from pipeline.check import pin_parsers
from pipeline.check.pin_parsers import Parser
from pipeline.check.pins import Pin, image_pin, table, to_json
from pipeline.core import clock
from pipeline.core.errors import InvalidInputError, error_context
from pipeline.core.execution import run
from pipeline.core.programs import program
from pipeline.images import Images
from pipeline.source.git import open_git
from pipeline.source.project import MANIFESTS
from pipeline.source.source import Source

PROGRAM = "/slipway/since.sh"
QUERIES = "/slipway/queries"
# Slipway's own file with the images of the stages; the history of another repository does not have it.
IMAGES = "pipeline/images.py"
WORKFLOWS = ".github"
INSTALL_SCRIPT = ".github/actions/slipway/install.sh"
MODULE, PROJECT, LOCK, NPM_LOCK = "dagger.json", "pyproject.toml", "uv.lock", "package-lock.json"

BY_NAME: Mapping[str, Parser] = {
    MODULE: pin_parsers.module_pins,
    PROJECT: pin_parsers.pyproject_pins,
    LOCK: pin_parsers.uv_lock_pins,
}


async def find_pins(source: dagger.Directory, path: str, service: str, images: Images) -> list[Pin]:
    """Return everything that a run fetches: for the stages, the service and the workflows.

    Args:
        source: the root of the repository.
        path: the service's folder, without `./` or a slash at the end.
        service: its name.
        images: the images that the stages run in.

    Raises:
        InvalidInputError: if a file is malformed.
    """
    pins = [image_pin(reference) for reference in dataclasses.astuple(images)]
    files = sorted(await _files(source, path))
    for file in files:
        if parse := _parser(PurePosixPath(file), PurePosixPath(path), service):
            pins += parse(await source.file(file).contents(), file)
    for module in (PurePosixPath(file).parent for file in files if PurePosixPath(file).name == MODULE):
        project = str(module / PROJECT)
        if project in files and str(module / LOCK) not in files:
            pins += pin_parsers.unlocked_pins(await source.file(project).contents(), project)
    return list(dict.fromkeys(pins))


async def with_dates(pins: Sequence[Pin], source: dagger.Directory, *, image: str) -> list[Pin]:
    """Return the pins with the date on which each came into the repository, where Git knows it.

    Args:
        pins: the pins.
        source: the root of the repository, with its .git.
        image: an image with Git.
    """
    if not await source.exists(".git", expected_type=dagger.ExistsType.DIRECTORY_TYPE, do_not_follow_symlinks=True):
        return list(pins)
    git, _ = await open_git(source, image)
    reader = git.with_new_file(PROGRAM, program("pipeline.check", "since.sh")).with_new_file(
        QUERIES, "".join(map(_query, pins))
    )
    with error_context("pins"):
        dates = (await run(reader, ["sh", PROGRAM, QUERIES])).splitlines()
    return [dataclasses.replace(pin, since=date) for pin, date in zip(pins, dates, strict=True)]


def _query(pin: Pin) -> str:
    """Return the two lines with which since.sh is asked for a pin: the pin and the file.

    For packages the first line is empty: the date is that of the lock file's last change.
    """
    if not pin.pinned:
        return "\n\n"
    return f"{'' if pin.kind == 'packages' else pin.pinned}\n{pin.file or IMAGES}\n"


def _parser(file: PurePosixPath, folder: PurePosixPath, service: str) -> Parser | None:
    """Return the parser of a file, or None where it has none.

    Args:
        file: its path, relative to the repository's root.
        folder: the service's folder, relative to the same.
        service: name of the service.
    """
    in_service = file.relative_to(folder) if file.is_relative_to(folder) else PurePosixPath("..")
    if in_service == PurePosixPath(NPM_LOCK):
        return pin_parsers.npm_lock_pins
    if in_service.parts[0] == MANIFESTS:
        return partial(pin_parsers.manifest_pins, service=service)
    if file == PurePosixPath(INSTALL_SCRIPT):
        return pin_parsers.install_script_pins
    if file.parts[0] == WORKFLOWS:
        return pin_parsers.workflow_pins
    return BY_NAME.get(file.name)


async def _files(source: dagger.Directory, path: str) -> set[str]:
    """Return the files that may have pins."""
    files = {file for name in (*BY_NAME, INSTALL_SCRIPT) for file in await source.glob(f"**/{name}")}
    for folder in (WORKFLOWS, str(PurePosixPath(path) / MANIFESTS)):
        if await source.exists(folder, expected_type=dagger.ExistsType.DIRECTORY_TYPE):
            directory = source.directory(folder)
            for pattern in ("**/*.yml", "**/*.yaml", "**/Kustomization"):
                files |= {str(PurePosixPath(folder) / file) for file in await directory.glob(pattern)}
    if await source.exists(lock := str(PurePosixPath(path) / NPM_LOCK)):
        files.add(lock)
    if unprintable := next((file for file in files if not file.isprintable()), ""):
        raise InvalidInputError(f"pins: the file name {unprintable!r} is not printable", hint="rename it")
    return files


async def pins_table(source: Source, images: Images) -> str:
    """Return everything that a run fetches as a table."""
    return table(await _dated_pins(source, images), clock.today())


async def pins_document(source: Source, images: Images) -> str:
    """Return everything that a run fetches as JSON."""
    return to_json(await _dated_pins(source, images), clock.today())


async def _dated_pins(source: Source, images: Images) -> list[Pin]:
    project = await source.project_if_any()
    pins = await find_pins(source.root, source.path, project.name, images)
    return await with_dates(pins, source.root, image=images.git)
