"""How a rollout goes: done, going on, or beyond healing. A pure function of what the cluster tells.

Sources: Kubernetes API v1.34, `Deployment.status`, `Pod.status.containerStatuses`; the kubelet's reasons for waiting.
"""

import dataclasses
import datetime
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Manifest = dict[str, Any]

# Waiting for these is in vain: nothing but another release, or another manifest, can heal them.
TERMINAL_REASONS = {
    "InvalidImageName": "the image's name is not valid",
    "ErrImageNeverPull": "the node may not pull the image and does not have it",
    "CreateContainerConfigError": "the container's configuration names what is not there: a Secret or ConfigMap",
    "RunContainerError": "the container's command cannot be run",
}
PULLING = {"ErrImagePull", "ImagePullBackOff"}
# What a registry says of an image that it will never give: unlike 5xx and time-outs.
NO_SUCH_IMAGE = re.compile(
    r"not found|manifest unknown|does not exist|unauthorized|denied|forbidden|no match for platform", re.IGNORECASE
)
CRASHES = 3
REVISION = "deployment.kubernetes.io/revision"
HINTS = {
    "image": "check that the cluster may pull from that registry (imagePullSecrets), and that it has the digest",
    "crash": "its last words stand above: run the image with the same environment",
    "config": "create the Secret or ConfigMap that it names, in this namespace",
    "quota": "raise the namespace's quota, or ask for less in the manifests",
    "admission": "the cluster's policy refuses the pods: its words stand above",
    "schedule": "no node has room or fits: look at requests, node selectors and taints",
    "ready": "the pods run, and /readyz does not answer 200: look at what it depends on",
    "start": "the pods did not get started in time: look at the events above",
}


@dataclasses.dataclass(frozen=True, slots=True)
class Progress:
    """What the cluster tells of a rollout.

    Args:
        done: all pods are of this release, ready for long enough, and none is left of another.
        terminal_reason: why it can never be done, or empty.
        hint: what to try; a key of HINTS.
        summary: one line for people.
        details: what each pod says, a line each.
    """

    done: bool
    terminal_reason: str
    hint: str
    summary: str
    details: Sequence[str]


def assess(deployment: Manifest, replica_sets: Iterable[Manifest], pods: Iterable[Manifest]) -> Progress:
    """Tell how a Deployment's rollout goes.

    Args:
        deployment: the live object.
        replica_sets: of the namespace; those of other owners are left out.
        pods: of the namespace; those of other owners are left out.
    """
    status = deployment.get("status") or {}
    wanted = int(deployment["spec"].get("replicas", 1))
    current = _current(deployment, replica_sets)
    mine = [pod for pod in pods if current and _owner(pod) == current["metadata"]["uid"]]
    details = [line for pod in mine for line in describe_pod(pod)]
    observed = int(status.get("observedGeneration") or 0) >= int(deployment["metadata"].get("generation") or 0)
    updated, available = int(status.get("updatedReplicas") or 0), int(status.get("availableReplicas") or 0)
    summary = f"{updated} of {wanted} updated, {available} available"
    if not observed:
        return Progress(
            done=False, terminal_reason="", hint="start", summary="not yet seen by the cluster", details=details
        )
    if wanted == 0:
        return Progress(
            done=False, terminal_reason="it is scaled to zero replicas", hint="start", summary=summary, details=details
        )
    terminal_reason, hint = _hopeless(deployment, current, mine)
    total = int(status.get("replicas") or 0)
    done = not terminal_reason and updated >= wanted and available >= wanted and total == updated
    return Progress(done=done, terminal_reason=terminal_reason, hint=hint, summary=summary, details=details)


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


def _hopeless(deployment: Manifest, replica_set: Manifest | None, pods: Sequence[Manifest]) -> tuple[str, str]:
    """Return why waiting is in vain, or an empty string; and what kind of trouble there is."""
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
        reason, kind = _of_pod(pod)
        if reason:
            return f"pod {pod['metadata']['name']}: {reason}", kind
        hint = kind or hint
    return "", hint if pods else "start"


def _conditions(manifest: Manifest) -> list[dict[str, Any]]:
    return list((manifest.get("status") or {}).get("conditions") or [])


def _of_pod(pod: Manifest) -> tuple[str, str]:
    """Return why a pod will never run, or an empty string; and what kind of trouble it has, or an empty string."""
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
            return (f"the image cannot be had ({message})" if NO_SUCH_IMAGE.search(message) else ""), "image"
        if restarts >= CRASHES:
            return f"container {container['name']} crashed {restarts} times", "crash"
        if reason == "CrashLoopBackOff":
            return "", "crash"
    return "", ""


def _containers(pod: Manifest) -> list[dict[str, Any]]:
    status = pod.get("status") or {}
    return [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]


def describe_pod(pod: Manifest) -> list[str]:
    """Return what a pod says of itself, a line each: its phase, and each container that is not ready."""
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
        words = " ".join(str(inner[key]) for key in ("reason", "message") if inner.get(key))
        code = f" exit code {inner['exitCode']}" if "exitCode" in inner else ""
        restarts = f", {container['restartCount']} restarts" if container.get("restartCount") else ""
        lines.append(f"pod {name}: container {container['name']} {kind}{code} {words}".rstrip() + restarts)
    return lines or [f"pod {name}: {status.get('phase', 'Unknown')}"]


def terminal_reason(pod: Manifest) -> str:
    """Return why a pod will never run, or an empty string."""
    return _of_pod(pod)[0]


def message_of(pod: Manifest) -> dict[str, Any]:
    """Return what a pod's container left as its termination message, which is JSON; empty if it left nothing."""
    for container in _containers(pod):
        message = ((container.get("state") or {}).get("terminated") or {}).get("message")
        try:
            answer = json.loads(message or "")
        except ValueError:
            continue
        if isinstance(answer, dict):
            return answer
    return {}


def unready(pods: Iterable[Manifest]) -> tuple[str, str] | None:
    """Return the pod and container whose last words tell most: the one that crashed, else one that is not ready."""
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
    """Return how often each pod's containers were restarted, by the pod's name."""
    return {
        pod["metadata"]["name"]: sum(int(container.get("restartCount") or 0) for container in _containers(pod))
        for pod in pods
    }


def recent(events: Iterable[Manifest], since: datetime.datetime, limit: int = 10) -> list[str]:
    """Return the last warnings among events, a line each, oldest first."""
    told = []
    for event in events:
        at = str(
            event.get("eventTime") or event.get("lastTimestamp") or event["metadata"].get("creationTimestamp") or ""
        )
        if event.get("type") == "Warning" and at and datetime.datetime.fromisoformat(at) >= since:
            about = event.get("involvedObject") or {}
            line = f"event: {about.get('kind')} {about.get('name')}: {event.get('reason')}: {event.get('message')}"
            told.append((at, line))
    return list(dict.fromkeys(line for _, line in sorted(told)))[-limit:]
