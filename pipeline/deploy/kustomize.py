"""Kustomize folders: which environments they have, and their manifests, rendered and checked."""

from collections.abc import Sequence

import dagger
from dagger import dag

from pipeline.core.errors import InvalidInputError, StageFailedError, error_context
from pipeline.core.execution import run
from pipeline.deploy import policy
from pipeline.kubernetes import manifests
from pipeline.kubernetes.manifests import Manifest
from pipeline.source.project import MANIFESTS

NAMES = ("kustomization.yaml", "kustomization.yml", "Kustomization")


def candidates(environment: str) -> Sequence[str]:
    """Return where an environment's kustomization may be, in the order in which it is searched."""
    return f"overlays/{environment}", environment, "."


async def load_manifests(
    kubectl_image: str, folder: dagger.Directory, environment: str, service: str
) -> list[Manifest]:
    """Return the manifests of an environment, rendered and checked against schemas and policy.

    Args:
        kubectl_image: with kubectl.
        folder: with overlays/ENVIRONMENT, ENVIRONMENT or a kustomization of its own.
        environment: such as staging.
        service: name of the service.

    Raises:
        InvalidInputError: if there is none, it cannot be rendered, or violates schemas or policy.
    """
    with error_context(f"manifests for {environment}"):
        path = await _find(folder, environment)
        objects = manifests.parse(await _render(kubectl_image, folder, path))
        policy.check(objects, service)
        return objects


async def environments(folder: dagger.Directory) -> list[str]:
    """Return the environments that a folder has overlays for."""
    if not await folder.exists("overlays", expected_type=dagger.ExistsType.DIRECTORY_TYPE):
        return []
    return sorted(name.rstrip("/") for name in await folder.directory("overlays").entries() if name.endswith("/"))


async def _find(folder: dagger.Directory, environment: str) -> str:
    """Return the path of an environment's kustomization."""
    for path in candidates(environment):
        for name in NAMES:
            if await folder.exists(f"{path}/{name}"):
                return path
    raise InvalidInputError(
        "there is no kustomization",
        hint=f"add {MANIFESTS}/overlays/{environment}/kustomization.yaml to the service, or give --manifests",
    )


async def _render(kubectl_image: str, folder: dagger.Directory, path: str) -> str:
    """Return the manifests at a path as a YAML stream."""
    container = dag.container().from_(kubectl_image).with_user("0").with_mounted_directory("/manifests", folder)
    try:
        return await run(container, ["kubectl", "kustomize", f"/manifests/{path}"])
    except StageFailedError as error:
        raise InvalidInputError(
            f"{path} cannot be rendered", output=error.output, hint=f"fix what `kubectl kustomize {path}` reports"
        ) from error
