"""Kubernetes manifests of a service: how a release enters them, and what is made of them.

Pure functions on the documents that `kubectl kustomize` renders. Source: Kubernetes API v1.34.
"""

import copy
import difflib
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
LABEL_LENGTH = 63


def parse(rendered: str) -> list[Manifest]:
    """Read the documents of a YAML stream.

    Raises:
        InvalidInputError: if one is no Kubernetes object.
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


def container_of(job: Manifest) -> str:
    """Return the name of the container that does a Job's work."""
    return str(job["spec"]["template"]["spec"]["containers"][0]["name"])


def identity(manifest: Manifest) -> str:
    """Return `Kind.group/name`, as kubectl takes it."""
    group = group_of(manifest)
    return f"{manifest['kind']}{f'.{group}' if group else ''}/{manifest['metadata']['name']}".lower()


def resource_of(manifest: Manifest) -> tuple[str, str]:
    """Return API group and resource, as roles name them."""
    kind = str(manifest["kind"])
    return group_of(manifest), PLURALS.get(kind, f"{kind.lower()}s")


def deployment_of(manifests: Iterable[Manifest], name: str) -> Manifest:
    """Return the one Deployment that runs the release.

    Raises:
        InvalidInputError: if there is none, or several, with a container whose image is the service's name.
    """
    found = [m for m in manifests if m["kind"] == "Deployment" and any(is_release(c, name) for c in containers_of(m))]
    if len(found) != 1:
        raise InvalidInputError(
            f"manifests: {len(found)} Deployments have a container with image {name!r}, expected one",
            hint=f"write `image: {name}` where the release belongs: its digest is put there",
        )
    return found[0]


def settings(manifests: Iterable[Manifest]) -> list[Manifest]:
    """Return what pods are started with: accounts and settings."""
    return [manifest for manifest in manifests if manifest["kind"] in {"ServiceAccount", "ConfigMap"}]


def deployment_of_release(manifests: Iterable[Manifest], reference: DigestReference) -> Manifest:
    """Return the Deployment into which a release was put."""
    return next(
        m
        for m in manifests
        if m["kind"] == "Deployment" and any(c["image"] == str(reference) for c in containers_of(m))
    )


def service_of(manifests: Iterable[Manifest], deployment: Manifest) -> Manifest | None:
    """Return the Service whose selector matches the Deployment's pods."""
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
    """Whether a container is the one that the release is put into."""
    image = str(container.get("image", ""))
    return image.partition("@")[0].partition(":")[0] == name


def with_release(
    manifests: Sequence[Manifest], name: str, reference: DigestReference, annotations: Mapping[str, str]
) -> list[Manifest]:
    """Return the manifests with the release's digest as image, and annotations on every object.

    Pods get none: the same release is no new rollout.
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
    """Put annotations on every object, but those that are empty."""
    for manifest in manifests:
        known = manifest["metadata"].setdefault("annotations", {})
        known.update({f"{PREFIX}/{key}": value for key, value in annotations.items() if value})


def released(deployment: Manifest, service: str) -> str:
    """Return the digest of the release of a service that a Deployment runs, or an empty string."""
    annotations = deployment["metadata"].get("annotations") or {}
    digest = str(annotations.get(f"{PREFIX}/digest") or "")
    of_it = annotations.get(f"{PREFIX}/service") == service and digest
    return digest if of_it and any(c["image"].endswith(f"@{digest}") for c in containers_of(deployment)) else ""


def is_managed(manifest: Manifest) -> bool:
    """Whether Slipway applied an object."""
    return bool((manifest["metadata"].get("labels") or {}).get(MANAGED_BY) == PREFIX)


def job(
    deployment: Manifest,
    name: str,
    reference: DigestReference,
    *,
    role: str,
    run: str,
    command: Sequence[str],
    seconds: int,
) -> Manifest:
    """Return a Job that runs a command in the release's image, as the Deployment would run the service.

    It has the Deployment's environment, volumes and limits, and neither its labels, which would lead requests to it,
    nor its probes and ports.
    """
    template = copy.deepcopy(deployment["spec"]["template"])
    pod = template["spec"]
    container = next(c for c in pod["containers"] if c["image"] == str(reference))
    for member in ("ports", "livenessProbe", "readinessProbe", "startupProbe", "lifecycle", "args"):
        container.pop(member, None)
    container |= {"command": list(command), "terminationMessagePolicy": "FallbackToLogsOnError"}
    for member in ("initContainers", "topologySpreadConstraints", "affinity", "readinessGates"):
        pod.pop(member, None)
    pod |= {"containers": [container], "restartPolicy": "Never"}
    labels = {f"{PREFIX}/role": role, f"{PREFIX}/service": name, MANAGED_BY: PREFIX}
    metadata = {"labels": labels, "annotations": (template.get("metadata") or {}).get("annotations") or {}}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": job_name(name, role, run), "labels": labels},
        "spec": {
            "backoffLimit": 0,
            "activeDeadlineSeconds": seconds,
            "ttlSecondsAfterFinished": 600,
            "template": {"metadata": metadata, "spec": pod},
        },
    }


def job_name(name: str, role: str, run: str) -> str:
    """Return the name of a run's Job, which is cut so that it fits into a label."""
    tail = f"-{role}-{run[:8]}"
    return f"{name[: LABEL_LENGTH - len(tail)].rstrip('-')}{tail}"


def scripts(work: Manifest, files: Mapping[str, str]) -> Manifest:
    """Return a ConfigMap with files for a Job, of the same name and labels."""
    metadata = {member: work["metadata"][member] for member in ("name", "labels")}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": dict(files)}


def mount(work: Manifest, config_map: Manifest, path: str) -> None:
    """Let a Job's container see a ConfigMap's files at a path."""
    pod = work["spec"]["template"]["spec"]
    pod["volumes"] = [
        *(pod.get("volumes") or []),
        {"name": PREFIX, "configMap": {"name": config_map["metadata"]["name"]}},
    ]
    container = pod["containers"][0]
    mounts = container.get("volumeMounts") or []
    container["volumeMounts"] = [*mounts, {"name": PREFIX, "mountPath": path, "readOnly": True}]


# What the cluster writes by itself, and what says nothing of the object.
_OF_THE_RUN = {f"{PREFIX}/{key}" for key in ("run", "by", "approved-by")}
_NOISE = ("managedFields", "resourceVersion", "uid", "generation", "creationTimestamp")


def difference(live: Mapping[str, Manifest], then: Mapping[str, Manifest]) -> str:
    """Return how objects would change, as unified diffs of YAML; keyed by identity."""
    lines: list[str] = []
    for name, wanted in then.items():
        before, after = _plain(live.get(name)), _plain(wanted)
        head = (f"live {name}" if name in live else "(not there)", f"then {name}")
        lines += difflib.unified_diff(before.splitlines(), after.splitlines(), *head, n=2, lineterm="")
    return "\n".join(lines)


def _plain(manifest: Manifest | None) -> str:
    if manifest is None:
        return ""
    shown = copy.deepcopy({key: value for key, value in manifest.items() if key != "status"})
    for key in _NOISE:
        shown["metadata"].pop(key, None)
    annotations = shown["metadata"].get("annotations") or {}
    for key in [key for key in annotations if key in _OF_THE_RUN or key.startswith("deployment.kubernetes.io/")]:
        annotations.pop(key)
    return str(yaml.safe_dump(shown, sort_keys=True))


def stream(manifests: Iterable[Manifest]) -> str:
    """Return manifests as kubectl reads them from its standard input."""
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": list(manifests)})
