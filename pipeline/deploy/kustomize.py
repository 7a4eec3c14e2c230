"""Kustomize folders, rendered for one environment."""

from collections.abc import Sequence

import dagger
from dagger import dag

from pipeline.core.errors import InvalidInputError, StageFailedError
from pipeline.core.execution import run
from pipeline.deploy import policy
from pipeline.kubernetes import manifests
from pipeline.kubernetes.manifests import Manifest
from pipeline.source.delivery import FOLDER

NAMES = ("kustomization.yaml", "kustomization.yml", "Kustomization")


def candidates(environment: str) -> Sequence[str]:
    """Return where an environment's kustomization may be, in the order in which it is looked for."""
    return f"overlays/{environment}", environment, "."


async def render(kubectl_image: str, folder: dagger.Directory, environment: str) -> str:
    """Return the manifests of an environment as a YAML stream.

    Args:
        kubectl_image: the image with kubectl.
        folder: with overlays/ENVIRONMENT, ENVIRONMENT or a kustomization of its own.
        environment: such as staging.

    Raises:
        InvalidInputError: if there is none, or it cannot be rendered.
    """
    for path in candidates(environment):
        for name in NAMES:
            if await folder.exists(f"{path}/{name}"):
                return await _render(kubectl_image, folder, path)
    raise InvalidInputError(
        f"manifests: no kustomization for {environment}",
        hint=f"add {FOLDER}/overlays/{environment}/kustomization.yaml to the service, or give --manifests",
    )


async def checked(
    kubectl_image: str, folder: dagger.Directory, environment: str, service: str, *, what: str
) -> list[Manifest]:
    """Return the manifests of an environment, after schemas and policy have nothing to say.

    Args:
        kubectl_image: the image with kubectl.
        folder: as for `render`.
        environment: such as staging.
        service: name of the service.
        what: opens an error, such as "deploy to staging".

    Raises:
        InvalidInputError: with every violation.
    """
    objects = manifests.parse(await render(kubectl_image, folder, environment))
    policy.check(objects, service, what=what)
    return objects


async def environments(folder: dagger.Directory) -> list[str]:
    """Return the environments that a folder has manifests for; empty where it is one for all, or none."""
    if not await folder.exists("overlays", expected_type=dagger.ExistsType.DIRECTORY_TYPE):
        return []
    return sorted(name.rstrip("/") for name in await folder.directory("overlays").entries() if name.endswith("/"))


async def _render(kubectl_image: str, folder: dagger.Directory, path: str) -> str:
    container = dag.container().from_(kubectl_image).with_user("0").with_mounted_directory("/manifests", folder)
    try:
        return await run(container, ["kubectl", "kustomize", f"/manifests/{path}"], what="manifests")
    except StageFailedError as error:
        raise InvalidInputError(
            f"manifests: {path} cannot be rendered", output=error.output, hint="kubectl kustomize says why"
        ) from error
