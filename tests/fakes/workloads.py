"""What controllers, scheduler and nodes do: Deployments become ReplicaSets and pods, Jobs run, owners take pods along.

Pods behave as the annotation `test/behaviour` of the pod template says:

    never-ready image-not-found crash-loop quota         from the start
    crash-later restart-later flapping                           after they were ready
    dry-run-fails migration-fails migration-hangs        the Job of a migration
    smoke-fails smoke-silent smoke-hangs restored-fails  the Job of a smoke test
    image-gone no-room immortal                          any Job
"""

import functools
import heapq
import itertools
import json
from collections.abc import Callable
from typing import Any

from pipeline.core import clock
from pipeline.kubernetes.manifests import Manifest, identity
from tests.fakes.objects import ObjectStore, copied

BEHAVIOUR = "test/behaviour"
REVISION = "deployment.kubernetes.io/revision"
OBSERVE_SECONDS = 0.2
START_SECONDS = 1.0
READY_SECONDS = 3.0
JOB_SECONDS = 4.0
GONE_SECONDS = 1.0
CRASH_SECONDS = 15.0
FLAP_SECONDS = 3.0
NO_IMAGE = {"waiting": {"reason": "ImagePullBackOff", "message": 'Back-off pulling image "x": not found'}}
CRASHED = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off restarting failed container"}}
QUOTA = 'pods "x" is forbidden: exceeded quota: small'
RUNNING: dict[str, Any] = {"running": {}}
SMOKE_PASSED = {"passed": True, "attempts": 1, "checks": ["/healthz ok", "/version ok"]}
SMOKE_FAILED = {"passed": False, "attempts": 10, "checks": ["/readyz failed: 500"]}


def behaviour_of(manifest: Manifest) -> str:
    """Return how the pods of a workload, or a pod, behave."""
    metadata = manifest["metadata"] if manifest["kind"] == "Pod" else manifest["spec"]["template"].get("metadata") or {}
    return str((metadata.get("annotations") or {}).get(BEHAVIOUR, "good"))


class Workloads:
    """The controllers of a namespace. What is due is done when somebody asks the API server."""

    def __init__(self, store: ObjectStore) -> None:
        self.store = store
        self.logs: dict[tuple[str, bool], str] = {}
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._observed: dict[str, int] = {}

    def advance(self) -> None:
        """Do what is due by now, in its order."""
        self._observe()
        while self._due and self._due[0][0] <= clock.monotonic():
            heapq.heappop(self._due)[2]()
            self._observe()

    @property
    def is_busy(self) -> bool:
        """Whether something will be done later."""
        return bool(self._due)

    def delete(self, name: str) -> None:
        """Delete an object; what it owns follows a little later."""
        owner = self.store.delete(name)
        if owner and owner["kind"] != "Pod":
            self._after(GONE_SECONDS, lambda: self._collect(owner))

    def warn(self, about: Manifest, reason: str, message: str) -> None:
        """Write an event."""
        self.store.create(
            {
                "apiVersion": "v1",
                "kind": "Event",
                "metadata": {"name": f"event-{next(self._order)}"},
                "involvedObject": {"kind": about["kind"], "name": about["metadata"]["name"]},
                "type": "Warning",
                "reason": reason,
                "message": message,
                "lastTimestamp": clock.timestamp(),
            }
        )

    def _after(self, seconds: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._due, (clock.monotonic() + seconds, next(self._order), action))

    def _exists(self, item: Manifest) -> bool:
        return self.store.objects.get(identity(item)) is item

    def _collect(self, owner: Manifest) -> None:
        for kind in ("ReplicaSet", "Pod"):
            for item in self.store.owned_by(owner, kind):
                if behaviour_of(item) != "immortal":
                    self.delete(identity(item))

    def _observe(self) -> None:
        """Notice Deployments and Jobs that are new or changed."""
        for kind, react in (("Deployment", self._roll_out), ("Job", self._run)):
            for item in self.store.all(kind):
                uid, generation = item["metadata"]["uid"], item["metadata"]["generation"]
                if self._observed.get(uid) != generation:
                    self._observed[uid] = generation
                    self._after(OBSERVE_SECONDS, functools.partial(self._react, react, item))

    def _react(self, react: Callable[[Manifest], None], item: Manifest) -> None:
        if self._exists(item):
            react(item)

    # Deployments

    def _roll_out(self, deployment: Manifest) -> None:
        """Give a Deployment the ReplicaSet of its template, and that the pods."""
        known = self.store.owned_by(deployment, "ReplicaSet")
        template = deployment["spec"]["template"]
        current = next((item for item in known if item["spec"]["template"] == template), None)
        revision = str(1 + max((int(item["metadata"]["annotations"][REVISION]) for item in known), default=0))
        annotations = deployment["metadata"].get("annotations") or {}
        if current is None:
            name = f"{deployment['metadata']['name']}-{revision}"
            current = self._create("apps/v1", "ReplicaSet", name, deployment, {"spec": {"template": template}})
            current["metadata"]["annotations"] = {REVISION: revision}
        elif current["metadata"]["annotations"][REVISION] != annotations.get(REVISION):
            current["metadata"]["annotations"] = {REVISION: revision}
        deployment["metadata"]["annotations"] = annotations | current["metadata"]["annotations"]
        if behaviour_of(deployment) == "quota":
            condition = {"type": "ReplicaFailure", "status": "True", "message": QUOTA}
            self.store.set_status(current, conditions=[condition])
            self.warn(current, "FailedCreate", QUOTA)
        else:
            self._scale(deployment, current)
        self._update_status(deployment)

    def _scale(self, deployment: Manifest, replica_set: Manifest) -> None:
        replicas = int(deployment["spec"].get("replicas", 1))
        pods = self.store.owned_by(replica_set, "Pod")
        for pod in pods[replicas:]:
            self.delete(identity(pod))
        for _ in range(replicas - len(pods)):
            pod = self._pod(replica_set, f"{replica_set['metadata']['name']}-{next(self._order)}")
            self._after(START_SECONDS, functools.partial(self._start, deployment, pod))

    def _start(self, deployment: Manifest, pod: Manifest) -> None:
        """Let a pod behave as its annotation says."""
        match behaviour_of(pod):
            case "image-not-found":
                self._set_pod(deployment, pod, "Pending", NO_IMAGE)
            case "crash-loop":
                self._set_pod(deployment, pod, "Running", CRASHED, restarts=4)
                self.logs[pod["metadata"]["name"], True] = "Error: no DATABASE_URL"
            case "never-ready":
                self._set_pod(deployment, pod, "Running", RUNNING)
            case "crash-later":
                self._become_ready(deployment, pod)
                self._after(CRASH_SECONDS, lambda: self._set_pod(deployment, pod, "Running", CRASHED, restarts=1))
            case "restart-later":
                self._become_ready(deployment, pod)
                restart = functools.partial(self._set_pod, deployment, pod, "Running", RUNNING)
                self._after(CRASH_SECONDS, lambda: restart(ready=True, restarts=1))
            case "flapping":
                self._flap(deployment, pod, ready=True)
            case _:
                self._become_ready(deployment, pod)

    def _flap(self, deployment: Manifest, pod: Manifest, *, ready: bool) -> None:
        self._set_pod(deployment, pod, "Running", RUNNING, ready=ready)
        if self._exists(pod):
            self._after(FLAP_SECONDS, lambda: self._flap(deployment, pod, ready=not ready))

    def _become_ready(self, deployment: Manifest, pod: Manifest) -> None:
        self._set_pod(deployment, pod, "Running", RUNNING)
        self._after(READY_SECONDS, lambda: self._set_pod(deployment, pod, "Running", RUNNING, ready=True))

    def _set_pod(
        self,
        deployment: Manifest,
        pod: Manifest,
        phase: str,
        state: dict[str, Any],
        *,
        ready: bool = False,
        restarts: int = 0,
    ) -> None:
        if self._exists(pod):
            self._set_containers(pod, phase, state, ready=ready, restarts=restarts)
            self._update_status(deployment)

    def _update_status(self, deployment: Manifest) -> None:
        """Count the pods, and remove those of former ReplicaSets once the new ones are ready."""
        revision = deployment["metadata"]["annotations"].get(REVISION)
        sets = self.store.owned_by(deployment, "ReplicaSet")
        current = [item for item in sets if item["metadata"]["annotations"][REVISION] == revision]
        new = [pod for item in current for pod in self.store.owned_by(item, "Pod")]
        former = [pod for item in sets if item not in current for pod in self.store.owned_by(item, "Pod")]
        ready = [pod for pod in new if self._is_ready(pod)]
        if len(ready) >= int(deployment["spec"].get("replicas", 1)):
            for pod in former:
                self.delete(identity(pod))
            former = []
        self.store.set_status(
            deployment,
            observedGeneration=deployment["metadata"]["generation"],
            replicas=len(new) + len(former),
            updatedReplicas=len(new),
            availableReplicas=len(ready) + len([pod for pod in former if self._is_ready(pod)]),
        )

    # Jobs

    def _run(self, job: Manifest) -> None:
        """Give a Job its pod."""
        if behaviour_of(job) == "no-room":
            self.warn(job, "FailedCreate", QUOTA)
            return
        pod = self._pod(job, f"{job['metadata']['name']}-{next(self._order)}")
        pod["metadata"]["labels"]["batch.kubernetes.io/job-name"] = job["metadata"]["name"]
        if behaviour_of(job) == "image-gone":
            self._after(START_SECONDS, lambda: self._set_containers(pod, "Pending", NO_IMAGE))
        else:
            self._after(START_SECONDS, lambda: self._set_containers(pod, "Running", RUNNING))
            self._after(JOB_SECONDS, lambda: self._end(job, pod))

    def _end(self, job: Manifest, pod: Manifest) -> None:
        """End a Job as its role and behaviour say."""
        role, behaviour = job["metadata"]["labels"]["slipway/role"], behaviour_of(job)
        if not self._exists(job) or (role, behaviour) in {("migrate", "migration-hangs"), ("smoke", "smoke-hangs")}:
            return
        failing = {("migrate-dry-run", "dry-run-fails"), ("migrate", "migration-fails")}
        failed = (role, behaviour) in failing
        message = ""
        if role.startswith("smoke") and behaviour != "smoke-silent":
            bad = behaviour == "smoke-fails" or (role == "smoke-restored" and behaviour == "restored-fails")
            message = json.dumps(SMOKE_FAILED if bad else SMOKE_PASSED)
        self.logs[pod["metadata"]["name"], False] = f"{role} {'failed' if failed else 'done'}"
        terminated = {"exitCode": int(failed), "reason": "Error" if failed else "Completed", "message": message}
        self._set_containers(pod, "Failed" if failed else "Succeeded", {"terminated": terminated})
        self.store.set_status(job, **({"failed": 1} if failed else {"succeeded": 1}))

    # Pods

    def _create(self, api: str, kind: str, name: str, owner: Manifest, members: Manifest) -> Manifest:
        reference = {"kind": owner["kind"], "uid": owner["metadata"]["uid"]}
        manifest = {"apiVersion": api, "kind": kind, "metadata": {"name": name, "ownerReferences": [reference]}}
        created = self.store.create(manifest | copied(members))
        assert created
        return created

    def _pod(self, owner: Manifest, name: str) -> Manifest:
        template = copied(owner["spec"]["template"])
        pod = self._create("v1", "Pod", name, owner, {"spec": template["spec"], "status": {"phase": "Pending"}})
        metadata = template.get("metadata") or {}
        pod["metadata"] |= {member: metadata.get(member) or {} for member in ("labels", "annotations")}
        return pod

    def _set_containers(
        self, pod: Manifest, phase: str, state: dict[str, Any], *, ready: bool = False, restarts: int = 0
    ) -> None:
        if self._exists(pod):
            statuses = [
                {"name": container["name"], "ready": ready, "restartCount": restarts, "state": state}
                for container in pod["spec"]["containers"]
            ]
            self.store.set_status(pod, phase=phase, containerStatuses=statuses)

    def _is_ready(self, pod: Manifest) -> bool:
        return all(status["ready"] for status in pod["status"].get("containerStatuses") or [{"ready": False}])
