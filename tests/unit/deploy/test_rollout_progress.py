"""The progress of a rollout, as the cluster reports it: what ends the wait, and what is shown."""

import datetime
import json
from typing import Any

import pytest

from pipeline.kubernetes import rollout
from pipeline.kubernetes.manifests import Manifest

SINCE = datetime.datetime(2026, 1, 5, 12, tzinfo=datetime.UTC)


def deployment(replicas: int = 2, conditions: list[dict[str, str]] | None = None, **status: int) -> Manifest:
    known = {"observedGeneration": 1, "updatedReplicas": 2, "availableReplicas": 2, "replicas": 2}
    return {
        "metadata": {"name": "tiny", "uid": "d", "generation": 1, "annotations": {rollout.REVISION: "2"}},
        "spec": {"replicas": replicas},
        "status": known | status | {"conditions": conditions or []},
    }


def replica_sets(conditions: list[dict[str, str]] | None = None) -> list[Manifest]:
    """Return two ReplicaSets of the Deployment, and one of another owner."""
    return [
        {
            "metadata": {
                "uid": name,
                "annotations": {rollout.REVISION: revision},
                "ownerReferences": [{"uid": owner}],
            },
            "status": {"conditions": conditions or []},
        }
        for name, revision, owner in (("other", "2", "x"), ("older", "1", "d"), ("current", "2", "d"))
    ]


def pod(owner: str = "current", conditions: list[dict[str, str]] | None = None, **container: Any) -> Manifest:
    known = {"name": "tiny", "ready": True, "restartCount": 0, "state": {"running": {}}}
    statuses = [known | container] if container else []
    return {
        "metadata": {"name": f"of-{owner}", "ownerReferences": [{"uid": owner}]},
        "status": {"phase": "Pending", "conditions": conditions or [], "containerStatuses": statuses},
    }


def failing(message: str, status: str = "True") -> list[dict[str, str]]:
    return [{"type": "ReplicaFailure", "status": status, "message": message}]


def test_a_rollout_is_done_when_all_pods_are_updated_and_available_and_no_other_is_left():
    assert rollout.assess(deployment(), replica_sets(), [pod(ready=True)]).done
    unfinished: list[dict[str, Any]] = [
        {"updatedReplicas": 1},
        {"availableReplicas": 1},
        {"replicas": 3},
        {"observedGeneration": 0},
    ]
    for status in unfinished:
        progress = rollout.assess(deployment(**status), replica_sets(), [])
        assert (progress.done, progress.terminal_reason) == (False, "")


def test_a_rollout_without_replicas_can_never_be_verified():
    progress = rollout.assess(deployment(replicas=0), replica_sets(), [])
    assert (progress.done, progress.terminal_reason) == (False, "it is scaled to zero replicas")


@pytest.mark.parametrize(
    ("message", "hint"),
    [
        ('pods "x" is forbidden: exceeded quota: small', "quota"),
        ('admission webhook "policy" denied the request: no', "admission"),
        ('pods "x" is forbidden: violates PodSecurity "restricted"', "admission"),
    ],
)
@pytest.mark.parametrize("of_deployment", [True, False])
def test_pods_that_are_refused_end_the_wait(message: str, hint: str, *, of_deployment: bool):
    conditions = failing(message)
    live = deployment(conditions=conditions if of_deployment else [])
    progress = rollout.assess(live, replica_sets([] if of_deployment else conditions), [])
    assert (progress.done, progress.hint) == (False, hint)
    assert progress.terminal_reason == f"no pod can be created: {message}"


@pytest.mark.parametrize(
    "conditions",
    [
        failing('failed calling webhook "policy": denied by the network'),
        failing("the server is busy"),
        failing("exceeded quota: small", status="False"),
        [{"type": "Available", "status": "False", "message": "forbidden"}],
    ],
)
def test_what_may_pass_does_not_end_the_wait(conditions: list[dict[str, str]]):
    progress = rollout.assess(deployment(conditions=conditions, availableReplicas=0), replica_sets(), [])
    assert (progress.done, progress.terminal_reason, progress.hint) == (False, "", "start")


def test_pods_of_former_releases_and_other_owners_do_not_count():
    broken: dict[str, Any] = {"ready": False, "state": {"waiting": {"reason": "InvalidImageName", "message": "x"}}}
    progress = rollout.assess(deployment(), replica_sets(), [pod("older", **broken), pod("other", **broken)])
    assert (progress.done, progress.details) == (True, [])
    progress = rollout.assess(deployment(), replica_sets(), [pod("current", **broken)])
    assert progress.terminal_reason == "pod of-current: the image's name is not valid (InvalidImageName: x)"


def test_a_pod_that_fits_no_node_is_waited_for_and_explained():
    conditions = [
        {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes: cpu"},
        {"type": "Ready", "status": "False", "reason": "x", "message": "y"},
    ]
    progress = rollout.assess(deployment(availableReplicas=0), replica_sets(), [pod(conditions=conditions)])
    assert (progress.terminal_reason, progress.hint) == ("", "schedule")
    assert progress.details == ["pod of-current: Unschedulable: 0/3 nodes: cpu"]


def test_the_state_of_each_container_that_is_not_ready_is_shown():
    ended = {"terminated": {"exitCode": 3, "reason": "Error", "message": "boom"}}
    assert rollout.describe_pod(pod(ready=False, state=ended, restartCount=2)) == [
        "pod of-current: container tiny terminated exit code 3 Error boom, 2 restarts"
    ]
    assert rollout.describe_pod(pod(ready=False, state={})) == ["pod of-current: container tiny waiting"]
    assert rollout.describe_pod(pod(ready=True)) == ["pod of-current: Pending"]


@pytest.mark.parametrize("message", [None, "", "{", "[]", "{}", "null"])
def test_a_termination_message_that_is_no_result_is_none(message: str | None):
    assert rollout.termination_message(pod(state={"terminated": {"message": message}})) == {}


def test_the_result_is_the_termination_message():
    assert rollout.termination_message(pod(state={"terminated": {"message": json.dumps({"passed": True})}})) == {
        "passed": True
    }
    assert rollout.termination_message(pod()) == {}


def test_the_log_of_the_container_that_crashed_most_often_is_shown():
    pods = [pod("older", ready=False, restartCount=1), pod("current", ready=False, restartCount=4), pod(ready=True)]
    assert rollout.most_telling_container(pods) == ("of-current", "tiny")
    assert rollout.most_telling_container([pod(ready=True)]) is None


def event(at: str, reason: str, **members: str) -> Manifest:
    about = {"kind": "Pod", "name": "p"}
    return {"metadata": {}, "type": "Warning", "involvedObject": about, "reason": reason, "message": "m"} | {
        "lastTimestamp": at,
        **members,
    }


def test_recent_warnings_are_shown_once_and_oldest_first():
    events = [
        event("2026-01-05T12:02:00Z", "Second"),
        event("2026-01-05T12:01:00Z", "First"),
        event("2026-01-05T12:03:00Z", "First"),
        event("2026-01-05T11:59:59Z", "Old"),
        event("2026-01-05T12:01:00Z", "Fine", type="Normal"),
        event("", "Undated"),
    ]
    first, second = rollout.recent_warnings(events, SINCE)
    assert (first, second) == ("event: Pod p: First: m", "event: Pod p: Second: m")
    assert rollout.recent_warnings(events, SINCE, limit=1) == ["event: Pod p: Second: m"]
