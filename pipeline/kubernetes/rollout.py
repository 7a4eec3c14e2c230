"""The progress of a rollout: done, in progress, or failed for good. Pure functions of what the cluster reports.

Sources: Kubernetes API v1.34, `Deployment.status`, `Pod.status.containerStatuses`; the kubelet's reasons for waiting.
"""

import dataclasses
import datetime
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pipeline.core import clock
from pipeline.core.documents import mapping
from pipeline.kubernetes.manifests import Manifest

# Only another release or another manifest can fix these, so waiting is useless.
TERMINAL_REASONS = {
    "InvalidImageName": "the image's name is not valid",
    "ErrImageNeverPull": "the node does not have the image, and imagePullPolicy forbids to pull it",
    "CreateContainerConfigError": "the container's configuration names a Secret or ConfigMap that does not exist",
    "RunContainerError": "the container's command cannot be run",
}
PULLING = {"ErrImagePull", "ImagePullBackOff"}
# Answers of a registry that will not change, unlike 5xx and timeouts.
NO_SUCH_IMAGE = re.compile(
    r"not found|manifest unknown|does not exist|unauthorized|denied|forbidden|no match for platform", re.IGNORECASE
)
CRASHES = 3
REVISION = "deployment.kubernetes.io/revision"
HINTS = {
    "image": "check that the cluster can pull from that registry (imagePullSecrets), and that it has the digest",
    "crash": "run the image with the same environment; the end of its log is shown above",
    "config": "create the Secret or ConfigMap that it names, in this namespace",
    "quota": "raise the namespace's quota, or request less in the manifests",
    "admission": "change the manifests, or ask the maintainer of the policy named above",
    "schedule": "no node fits or has capacity: look at requests, node selectors and taints",
    "ready": "the pods run, but /readyz does not answer 200: look at what it depends on",
    "start": "the pods did not start in time: look at the events above",
}


@dataclasses.dataclass(frozen=True, slots=True)
class Progress:
    """How far a rollout is.

    Args:
        done: all pods are of this release and have been ready for long enough, and none is left of another.
        terminal_reason: why it can never be done, or empty.
        hint: what to try; a key of HINTS.
        summary: one line for people.
        details: the state of each pod, a line each.
    """

    done: bool
    terminal_reason: str
    hint: str
    summary: str
    details: Sequence[str]


def _waiting(summary: str, details: Sequence[str], terminal_reason: str = "") -> Progress:
    return Progress(done=False, terminal_reason=terminal_reason, hint="start", summary=summary, details=details)


def assess(deployment: Manifest, replica_sets: Iterable[Manifest], pods: Iterable[Manifest]) -> Progress:
    """Return the progress of a Deployment's rollout.

    Args:
        deployment: the live object.
        replica_sets: of the namespace; those of other owners are ignored.
        pods: of the namespace; those of other owners are ignored.
    """
    status = deployment.get("status") or {}
    desired = int(deployment["spec"].get("replicas", 1))
    current = _current(deployment, replica_sets)
    own = [pod for pod in pods if current and _owner(pod) == current["metadata"]["uid"]]
    details = [line for pod in own for line in describe_pod(pod)]
    if int(status.get("observedGeneration") or 0) < int(deployment["metadata"].get("generation") or 0):
        return _waiting("not yet observed by the cluster", details)
    updated, available = int(status.get("updatedReplicas") or 0), int(status.get("availableReplicas") or 0)
    summary = f"{updated} of {desired} updated, {available} available"
    if desired == 0:
        return _waiting(summary, details, "it is scaled to zero replicas")
    reason, hint = _terminal_reason(deployment, current, own)
    total = int(status.get("replicas") or 0)
    done = not reason and updated >= desired and available >= desired and total == updated
    return Progress(done, reason, hint, summary, details)


def _current(deployment: Manifest, replica_sets: Iterable[Manifest]) -> Manifest | None:
    """Return the ReplicaSet of the Deployment's present revision."""
    revision = (deployment["metadata"].get("annotations") or {}).get(REVISION)
    for replica_set in replica_sets:
        annotations = replica_set["metadata"].get("annotations") or {}
        if _owner(replica_set) == deployment["metadata"]["uid"] and annotations.get(REVISION) == revision:
            return replica_set
    return None


def _owner(manifest: Manifest) -> str:
    owners = manifest["metadata"].get("ownerReferences") or [{}]
    return str(owners[0].get("uid", ""))


def _terminal_reason(deployment: Manifest, replica_set: Manifest | None, pods: Sequence[Manifest]) -> tuple[str, str]:
    """Return why the rollout can never be done, or an empty string; and the key of a hint."""
    conditions = [*_conditions(deployment), *(_conditions(replica_set) if replica_set else [])]
    for condition in conditions:
        message = str(condition.get("message", ""))
        if condition.get("type") == "ReplicaFailure" and condition.get("status") == "True":
            if "exceeded quota" in message:
                return f"no pod can be created: {message}", "quota"
            if re.search(r"denied|forbidden|violates|is invalid", message) and "failed calling webhook" not in message:
                return f"no pod can be created: {message}", "admission"
    hint = "ready"
    for pod in pods:
        reason, kind = _diagnose(pod)
        if reason:
            return f"pod {pod['metadata']['name']}: {reason}", kind
        hint = kind or hint
    return "", hint if pods else "start"


def _conditions(manifest: Manifest) -> list[dict[str, Any]]:
    return list((manifest.get("status") or {}).get("conditions") or [])


def _diagnose(pod: Manifest) -> tuple[str, str]:
    """Return why a pod will never run, or an empty string; and the key of a hint, or an empty string."""
    for condition in _conditions(pod):
        if condition.get("type") == "PodScheduled" and condition.get("reason") == "Unschedulable":
            return "", "schedule"
    for container in _containers(pod):
        waiting = (container.get("state") or {}).get("waiting") or {}
        reason, message = str(waiting.get("reason", "")), str(waiting.get("message", ""))
        restarts = int(container.get("restartCount") or 0)
        if reason in TERMINAL_REASONS:
            kind = "config" if reason == "CreateContainerConfigError" else "image"
            return f"{TERMINAL_REASONS[reason]} ({reason}: {message})", kind
        if reason in PULLING:
            return (f"the image cannot be pulled ({message})" if NO_SUCH_IMAGE.search(message) else ""), "image"
        if restarts >= CRASHES:
            return f"container {container['name']} crashed {restarts} times", "crash"
        if reason == "CrashLoopBackOff":
            return "", "crash"
    return "", ""


def _containers(pod: Manifest) -> list[dict[str, Any]]:
    status = pod.get("status") or {}
    return [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]


def describe_pod(pod: Manifest) -> list[str]:
    """Return the state of a pod, a line each: why it is not scheduled, and each container that is not ready."""
    name = pod["metadata"]["name"]
    status = pod.get("status") or {}
    lines = [
        f"pod {name}: {condition.get('reason')}: {condition.get('message')}"
        for condition in _conditions(pod)
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False"
    ]
    for container in _containers(pod):
        if container.get("ready"):
            continue
        state = container.get("state") or {}
        kind = next(iter(state), "waiting")
        inner = state.get(kind) or {}
        reason = " ".join(str(inner[key]) for key in ("reason", "message") if inner.get(key))
        code = f" exit code {inner['exitCode']}" if "exitCode" in inner else ""
        restarts = f", {container['restartCount']} restarts" if container.get("restartCount") else ""
        lines.append(f"pod {name}: container {container['name']} {kind}{code} {reason}".rstrip() + restarts)
    return lines or [f"pod {name}: {status.get('phase', 'Unknown')}"]


def terminal_reason(pod: Manifest) -> str:
    """Return why a pod will never run, or an empty string."""
    return _diagnose(pod)[0]


def termination_message(pod: Manifest) -> dict[str, Any]:
    """Return the JSON object that a pod's container left as its termination message; empty if there is none."""
    for container in _containers(pod):
        message = ((container.get("state") or {}).get("terminated") or {}).get("message")
        try:
            document = mapping(json.loads(message or ""))
        except ValueError:
            continue
        if document:
            return document
    return {}


def most_telling_container(pods: Iterable[Manifest]) -> tuple[str, str] | None:
    """Return the pod and container with the most useful log: what crashed most often, else what is not ready."""
    candidates = [
        (-int(container.get("restartCount") or 0), pod["metadata"]["name"], container["name"])
        for pod in pods
        for container in _containers(pod)
        if not container.get("ready")
    ]
    if not candidates:
        return None
    _, pod_name, container_name = min(candidates)
    return pod_name, container_name


def restarts_of(pods: Iterable[Manifest]) -> Mapping[str, int]:
    """Return the number of restarts of each pod's containers, by the pod's name."""
    return {
        pod["metadata"]["name"]: sum(int(container.get("restartCount") or 0) for container in _containers(pod))
        for pod in pods
    }


def recent_warnings(events: Iterable[Manifest], since: datetime.datetime, limit: int = 10) -> list[str]:
    """Return the last warnings among events, a line each, oldest first."""
    warnings = []
    for event in events:
        at = str(
            event.get("eventTime") or event.get("lastTimestamp") or event["metadata"].get("creationTimestamp") or ""
        )
        if event.get("type") == "Warning" and at and clock.parse(at) >= since:
            about = event.get("involvedObject") or {}
            line = f"event: {about.get('kind')} {about.get('name')}: {event.get('reason')}: {event.get('message')}"
            warnings.append((at, line))
    return list(dict.fromkeys(line for _, line in sorted(warnings)))[-limit:]
