"""Strict validation of manifests by the JSON schemas of the Kubernetes API: an unknown field is an error, too.

Source: the package kubernetes-validate, which derives its schemas from Kubernetes' own OpenAPI documents.
"""

import textwrap
from collections.abc import Iterable
from typing import Any

from pipeline.kubernetes.manifests import group_of

# The API of the pinned kubectl. A cluster of another version validates them again in its own dry run.
VERSION = "1.34"
# Custom resources that Slipway deploys: only the cluster has their schemas.
CUSTOM = {"gateway.networking.k8s.io"}
MESSAGE_LENGTH = 200


def violations(manifests: Iterable[dict[str, Any]], version: str = VERSION) -> list[str]:
    """Return a line for each manifest that is not valid."""
    import kubernetes_validate  # noqa: PLC0415 - slow to load, and few calls need it

    problems = []
    for manifest in manifests:
        name = f"{manifest['kind']}/{manifest['metadata']['name']}".lower()
        try:
            kubernetes_validate.validate(manifest, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            path = ".".join(map(str, error.absolute_path))
            problems.append(f"{name}: {path}: {textwrap.shorten(error.message, MESSAGE_LENGTH)}")
        except kubernetes_validate.SchemaNotFoundError:
            if group_of(manifest) not in CUSTOM:
                problems.append(f"{name}: Kubernetes {version} has no such kind in {manifest['apiVersion']}")
    return problems
