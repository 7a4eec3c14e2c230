# ruff: noqa: E501 - a table of stages
"""How kwok moves pods: as if their containers ran well, or as the annotation `test/behaviour` says."""

import json
from collections.abc import Mapping

BEHAVIOUR = '.metadata.annotations["test/behaviour"]'
ROLE = '.metadata.labels["slipway/role"]'
ALIVE: dict[str, object] = {"key": ".metadata.deletionTimestamp", "operator": "DoesNotExist"}
NEW: dict[str, object] = {"key": ".status.podIP", "operator": "DoesNotExist"}
RUNNING: dict[str, object] = {"key": ".status.phase", "operator": "In", "values": ["Running"]}
JOB: dict[str, object] = {"key": ".metadata.ownerReferences.[].kind", "operator": "In", "values": ["Job"]}
NO_JOB: dict[str, object] = JOB | {"operator": "NotIn"}
# Behaviours of a pod from its start; all others start well.
FAULTY = ("image-not-found", "crash-loop")


def stages() -> str:
    """Return the stages, one JSON document a line: kwok reads YAML."""
    crashed = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s restarting failed container"}}
    running = {"running": {"startedAt": "2026-01-01T00:00:00Z"}}
    unpulled = {"reason": "ImagePullBackOff", "message": 'Back-off pulling image: "registry/app": not found'}
    return "\n---\n".join(
        json.dumps(stage)
        for stage in (
            _stage("start", [ALIVE, NEW, NO_JOB, _behaves("NotIn", *FAULTY)], _status("Running", running, ready=True)),
            _stage("start-job", [ALIVE, NEW, JOB], _status("Running", running, ready=True)),
            _stage("not-found", [ALIVE, NEW, NO_JOB, _behaves("In", "image-not-found")], _status("Pending", {"waiting": unpulled})),
            _stage("crash", [ALIVE, NEW, NO_JOB, _behaves("In", "crash-loop")], _status("Running", crashed, restarts=4)),
            _stage("crash-later", [ALIVE, RUNNING, NO_JOB, _ready("True"), _behaves("In", "crash-later")],
                   _status("Running", crashed, restarts=1), delay=5000),
            _stage("migrate", [ALIVE, RUNNING, JOB, _role("In", "migrate-dry-run", "migrate"),
                   _behaves("NotIn", "migration-fails", "dry-run-fails")], _ended(0, "")),
            _stage("dry-run-fails", [ALIVE, RUNNING, JOB, _role("In", "migrate-dry-run"),
                   _behaves("In", "dry-run-fails")], _ended(3, "")),
            _stage("dry-run-passes", [ALIVE, RUNNING, JOB, _role("In", "migrate-dry-run"),
                   _behaves("In", "migration-fails")], _ended(0, "")),
            _stage("migration-passes", [ALIVE, RUNNING, JOB, _role("In", "migrate"),
                   _behaves("In", "dry-run-fails")], _ended(0, "")),
            _stage("migration-fails", [ALIVE, RUNNING, JOB, _role("In", "migrate"),
                   _behaves("In", "migration-fails")], _ended(3, "")),
            _stage("smoke", [ALIVE, RUNNING, JOB, _role("In", "smoke", "smoke-restored"), _behaves("NotIn", "smoke-fails")],
                   _ended(0, json.dumps({"passed": True, "attempts": 1, "checks": ["/healthz ok", "/version ok"]}))),
            _stage("smoke-fails", [ALIVE, RUNNING, JOB, _role("In", "smoke", "smoke-restored"), _behaves("In", "smoke-fails")],
                   _ended(0, json.dumps({"passed": False, "attempts": 10, "checks": ["/readyz failed: 500"]}))),
            _stage("delete", [{"key": ".metadata.deletionTimestamp", "operator": "Exists"}], None),
        )
    )  # fmt: skip


def _behaves(operator: str, *behaviours: str) -> dict[str, object]:
    return {"key": BEHAVIOUR, "operator": operator, "values": list(behaviours)}


def _role(operator: str, *roles: str) -> dict[str, object]:
    return {"key": ROLE, "operator": operator, "values": list(roles)}


def _ready(status: str) -> dict[str, object]:
    key = '.status.conditions.[] | select( .type == "Ready" ) | .status'
    return {"key": key, "operator": "In", "values": [status]}


def _stage(name: str, matches: list[dict[str, object]], status: str | None, *, delay: int = 0) -> dict[str, object]:
    follows: dict[str, object] = (
        {"statusTemplate": status} if status else {"finalizers": {"empty": True}, "delete": True}
    )
    spec: dict[str, object] = {
        "resourceRef": {"apiGroup": "v1", "kind": "Pod"},
        "selector": {"matchExpressions": matches},
        "next": follows,
    }
    if delay:
        spec["delay"] = {"durationMilliseconds": delay}
    return {"apiVersion": "kwok.x-k8s.io/v1alpha1", "kind": "Stage", "metadata": {"name": name}, "spec": spec}


def _status(phase: str, state: Mapping[str, object], *, ready: bool = False, restarts: int = 0) -> str:
    """Return a template of a pod's status; only a pod that started has an address."""
    word = "True" if ready else "False"
    conditions = "".join(
        f'- {{lastTransitionTime: {{{{ Now | Quote }}}}, status: "{status}", type: {kind}}}\n'
        for kind, status in (("Initialized", "True"), ("ContainersReady", word), ("Ready", word))
    )
    return (
        f"conditions:\n{conditions}"
        "containerStatuses:\n{{ range .spec.containers }}"
        "- {image: {{ .image | Quote }}, name: {{ .name | Quote }}, "
        f"ready: {str(ready).lower()}, restartCount: {restarts}, state: {json.dumps(state)}}}\n"
        "{{ end }}"
        'podIP: {{ PodIPWith .spec.nodeName false (or .metadata.uid "") (or .metadata.name "") (or .metadata.namespace "") | Quote }}\n'
        f"phase: {phase}\n"
        "startTime: {{ Now | Quote }}\n"
    )


def _ended(code: int, message: str) -> str:
    """Return a template of the status of a pod whose containers ended."""
    return (
        "containerStatuses:\n{{ range .spec.containers }}"
        "- {image: {{ .image | Quote }}, name: {{ .name | Quote }}, ready: false, restartCount: 0, "
        f"state: {{terminated: {{exitCode: {code}, reason: {'Error' if code else 'Completed'}, "
        f"message: {json.dumps(message)}, "
        "startedAt: {{ Now | Quote }}, finishedAt: {{ Now | Quote }}}}}\n{{ end }}"
        f"phase: {'Failed' if code else 'Succeeded'}\n"
    )
