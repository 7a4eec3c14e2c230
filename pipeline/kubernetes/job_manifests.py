"""Manifests of the Jobs that Slipway runs in a namespace. Pure functions. Source: Kubernetes API v1.34."""

import copy
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.kubernetes.manifests import MANAGED_BY, PREFIX, Manifest
from pipeline.oci.references import DigestReference

ROLE_LABEL = f"{PREFIX}/role"
SERVICE_LABEL = f"{PREFIX}/service"
LABEL_LENGTH = 63
KEPT_SECONDS = 600
# Members of the Deployment's pod that decide where a pod may run, and how the node gets its image: no part of them
# reaches the container.
PLACEMENT = ("imagePullSecrets", "nodeSelector", "tolerations")
# Meets the "restricted" Pod Security Standard, and a quota that demands requests and limits.
TOOL_SECURITY = {
    "runAsNonRoot": True,
    "runAsUser": 65532,
    "runAsGroup": 65532,
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}
TOOL_RESOURCES = {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"cpu": "1", "memory": "256Mi"}}


@dataclasses.dataclass(frozen=True, slots=True)
class JobSpec:
    """What a Job does.

    Args:
        service: name of the service.
        role: such as `migrate`.
        run: the run that it belongs to.
        command: argv.
        seconds: after which the cluster stops it.
    """

    service: str
    role: str
    run: str
    command: Sequence[str]
    seconds: int

    @property
    def name(self) -> str:
        """Name of the Job, shortened so that it fits into a label."""
        tail = f"-{self.role}-{self.run[:8]}"
        return f"{self.service[: LABEL_LENGTH - len(tail)].rstrip('-')}{tail}"

    @property
    def labels(self) -> dict[str, str]:
        """Labels of the Job and its pod."""
        return {ROLE_LABEL: self.role, SERVICE_LABEL: self.service, MANAGED_BY: PREFIX}


def release_job(deployment: Manifest, reference: DigestReference, spec: JobSpec) -> Manifest:
    """Return a Job that runs a command in the release's image, as the Deployment would run the service.

    It has the Deployment's environment, volumes and limits, but neither its labels, which would make a Service send
    requests to it, nor its probes and ports.
    """
    pod = copy.deepcopy(deployment["spec"]["template"]["spec"])
    container = next(c for c in pod["containers"] if c["image"] == str(reference))
    for member in ("ports", "livenessProbe", "readinessProbe", "startupProbe", "lifecycle", "args"):
        container.pop(member, None)
    container |= {"command": list(spec.command), "terminationMessagePolicy": "FallbackToLogsOnError"}
    for member in ("initContainers", "topologySpreadConstraints", "affinity", "readinessGates"):
        pod.pop(member, None)
    pod |= {"containers": [container], "restartPolicy": "Never"}
    return _job(deployment, spec, pod)


def tool_job(deployment: Manifest, image: str, spec: JobSpec) -> Manifest:
    """Return a Job that runs a command in Slipway's tool image.

    It has neither the service's environment nor its volumes, secrets or service account.
    """
    of_service = deployment["spec"]["template"]["spec"]
    pod = {member: copy.deepcopy(of_service[member]) for member in PLACEMENT if of_service.get(member)}
    container = {
        "name": spec.role,
        "image": image,
        "command": list(spec.command),
        "securityContext": TOOL_SECURITY,
        "resources": TOOL_RESOURCES,
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }
    pod |= {
        "containers": [container],
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
    }
    return _job(deployment, spec, pod)


def _job(deployment: Manifest, spec: JobSpec, pod: dict[str, Any]) -> Manifest:
    """Return the Job of a pod; annotations of the service's pods, such as those of a mesh, hold for it too."""
    annotations = (deployment["spec"]["template"].get("metadata") or {}).get("annotations") or {}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": spec.name, "labels": spec.labels},
        "spec": {
            "backoffLimit": 0,
            "activeDeadlineSeconds": spec.seconds,
            "ttlSecondsAfterFinished": KEPT_SECONDS,
            "template": {"metadata": {"labels": spec.labels, "annotations": dict(annotations)}, "spec": pod},
        },
    }


def container_of(job: Manifest) -> str:
    """Return the name of a Job's container."""
    return str(job["spec"]["template"]["spec"]["containers"][0]["name"])


def files_for(job: Manifest, files: Mapping[str, str]) -> Manifest:
    """Return a ConfigMap with files for a Job, with the same name and labels."""
    metadata = {member: job["metadata"][member] for member in ("name", "labels")}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": dict(files)}


def mount(job: Manifest, config_map: Manifest, path: str) -> None:
    """Mount a ConfigMap's files into a Job's container."""
    pod = job["spec"]["template"]["spec"]
    volume = {"name": PREFIX, "configMap": {"name": config_map["metadata"]["name"]}}
    pod["volumes"] = [*(pod.get("volumes") or []), volume]
    container = pod["containers"][0]
    mounts = container.get("volumeMounts") or []
    container["volumeMounts"] = [*mounts, {"name": PREFIX, "mountPath": path, "readOnly": True}]
