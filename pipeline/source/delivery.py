"""What a service brings for its delivery: a Kustomize folder, rendered for one environment, a smoke test, ignores."""

import dagger

from pipeline.core.errors import InvalidInputError
from pipeline.source.project import check_regular_file

FOLDER = "deploy"
SMOKE_TEST = "smoke.mjs"
IGNORE_FILE = ".trivyignore.yaml"


def delivery_of(service: dagger.Directory) -> dagger.Directory:
    """Return what of a service's folder is for delivering it: manifests, smoke test and ignores."""
    return service.filter(include=[f"{FOLDER}/**", SMOKE_TEST, IGNORE_FILE])


async def ignores_in(delivery: dagger.Directory, given: dagger.File | None) -> dagger.File | None:
    """Return the file of ignores: the given one, else the service's own, if it has one.

    Raises:
        InvalidInputError: if its own is no regular file.
    """
    if given or not await delivery.exists(IGNORE_FILE, do_not_follow_symlinks=True):
        return given
    await check_regular_file(delivery, IGNORE_FILE)
    return delivery.file(IGNORE_FILE)


async def manifests_in(delivery: dagger.Directory, given: dagger.Directory | None) -> dagger.Directory:
    """Return the folder of manifests: the given one, else the service's own.

    Raises:
        InvalidInputError: if there is none.
    """
    if given:
        return given
    if not await delivery.exists(FOLDER):
        raise InvalidInputError(
            "manifests: the service has none", hint=f"add {FOLDER}/ to it (docs/kubernetes.md), or give --manifests"
        )
    return delivery.directory(FOLDER)


async def test_in(delivery: dagger.Directory, given: dagger.File | None) -> dagger.File | None:
    """Return the smoke test: the given one, else the service's own, if it has one.

    Raises:
        InvalidInputError: if its own is no regular file.
    """
    if given or not await delivery.exists(SMOKE_TEST, do_not_follow_symlinks=True):
        return given
    await check_regular_file(delivery, SMOKE_TEST)
    return delivery.file(SMOKE_TEST)
