"""Kubernetes manifests of a service: reading them, and putting a release into them.

Pure functions on the documents that `kubectl kustomize` renders. Source: Kubernetes API v1.34.
"""

import copy
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import yaml

from pipeline.core.errors import InvalidInputError
from pipeline.oci.references import DigestReference

Manifest = dict[str, Any]

PLURALS = {"NetworkPolicy": "networkpolicies", "Ingress": "ingresses"}
PREFIX = "slipway"
MANAGED_BY = "app.kubernetes.io/managed-by"


def parse(rendered: str) -> list[Manifest]:
    """Read the documents of a YAML stream.

    Raises:
        InvalidInputError: if one is not a Kubernetes object.
    """
    try:
        documents = [document for document in yaml.safe_load_all(rendered) if document]
    except yaml.YAMLError as error:
        raise InvalidInputError(f"manifests: not YAML: {error}") from error
    flat: list[Manifest] = []
    for document in documents:
        is_list = isinstance(document, dict) and document.get("kind") == "List"
        flat += list(document.get("items") or []) if is_list else [document]
    for document in flat:
        metadata = document.get("metadata") if isinstance(document, dict) else None
        if not isinstance(metadata, dict) or not all(
            (document.get("apiVersion"), document.get("kind"), metadata.get("name"))
        ):
            raise InvalidInputError("manifests: a document lacks apiVersion, kind or metadata.name")
    return flat


def group_of(manifest: Manifest) -> str:
    """Return the API group, empty for the core's."""
    group, slash, _ = str(manifest["apiVersion"]).partition("/")
    return group if slash else ""


def identity(manifest: Manifest) -> str:
    """Return `kind.group/name` in lower case, which kubectl accepts."""
    group = group_of(manifest)
    return f"{manifest['kind']}{f'.{group}' if group else ''}/{manifest['metadata']['name']}".lower()


def resource_of(manifest: Manifest) -> tuple[str, str]:
    """Return API group and resource, as RBAC rules name them."""
    kind = str(manifest["kind"])
    return group_of(manifest), PLURALS.get(kind, f"{kind.lower()}s")


def deployment_of(manifests: Iterable[Manifest], name: str) -> Manifest:
    """Return the one Deployment that runs the release.

    Raises:
        InvalidInputError: if there is none, or several, with a container that has the service's name as image.
    """
    deployments = [m for m in manifests if m["kind"] == "Deployment"]
    of_release = [m for m in deployments if any(is_release(container, name) for container in containers_of(m))]
    if len(of_release) != 1:
        raise InvalidInputError(
            f"manifests: {len(of_release)} Deployments have a container with image {name!r}, expected one",
            hint=f"write `image: {name}` where the release belongs; Slipway replaces it by the digest",
        )
    return of_release[0]


def settings(manifests: Iterable[Manifest]) -> list[Manifest]:
    """Return what a pod needs in order to start: ServiceAccounts and ConfigMaps."""
    return [manifest for manifest in manifests if manifest["kind"] in {"ServiceAccount", "ConfigMap"}]


def deployment_of_release(manifests: Iterable[Manifest], reference: DigestReference) -> Manifest:
    """Return the Deployment that runs a release."""
    return next(
        m
        for m in manifests
        if m["kind"] == "Deployment" and any(c["image"] == str(reference) for c in containers_of(m))
    )


def service_of(manifests: Iterable[Manifest], deployment: Manifest) -> Manifest | None:
    """Return the Service that selects the Deployment's pods."""
    labels = deployment["spec"]["template"]["metadata"].get("labels") or {}
    for manifest in manifests:
        selector = (manifest.get("spec") or {}).get("selector") if manifest["kind"] == "Service" else None
        if selector and selector.items() <= labels.items():
            return manifest
    return None


def containers_of(manifest: Manifest) -> list[dict[str, Any]]:
    """Return the containers of a workload, init containers first."""
    pod = ((manifest.get("spec") or {}).get("template") or {}).get("spec") or {}
    return [*(pod.get("initContainers") or []), *(pod.get("containers") or [])]


def is_release(container: Mapping[str, Any], name: str) -> bool:
    """Whether a container runs the release: its image has the name of the service."""
    image = str(container.get("image", ""))
    return image.partition("@")[0].partition(":")[0] == name


def with_release(
    manifests: Sequence[Manifest], name: str, reference: DigestReference, annotations: Mapping[str, str]
) -> list[Manifest]:
    """Return the manifests with the release as image, and annotations on every object.

    Pod templates are not annotated, so that deploying the same release again does not restart its pods.
    """
    prepared = copy.deepcopy(list(manifests))
    annotate(prepared, annotations)
    for manifest in prepared:
        manifest["metadata"].setdefault("labels", {})[MANAGED_BY] = PREFIX
        for container in containers_of(manifest):
            if is_release(container, name):
                container["image"] = str(reference)
    return prepared


def annotate(manifests: Iterable[Manifest], annotations: Mapping[str, str]) -> None:
    """Add the annotations that are not empty to every object."""
    for manifest in manifests:
        known = manifest["metadata"].setdefault("annotations", {})
        known.update({f"{PREFIX}/{key}": value for key, value in annotations.items() if value})


def released(deployment: Manifest, service: str) -> str:
    """Return the digest of the release of a service that a Deployment runs, or an empty string."""
    annotations = deployment["metadata"].get("annotations") or {}
    digest = str(annotations.get(f"{PREFIX}/digest") or "")
    if not digest or annotations.get(f"{PREFIX}/service") != service:
        return ""
    return digest if any(c["image"].endswith(f"@{digest}") for c in containers_of(deployment)) else ""


def is_managed(manifest: Manifest) -> bool:
    """Whether Slipway applied an object."""
    return bool((manifest["metadata"].get("labels") or {}).get(MANAGED_BY) == PREFIX)


def stream(manifests: Iterable[Manifest]) -> str:
    """Return manifests as one JSON document for kubectl's standard input."""
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": list(manifests)})
