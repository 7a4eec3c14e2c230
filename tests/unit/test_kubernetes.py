import base64
import dataclasses
import datetime
import json
from typing import Any

import pytest

from pipeline.core.errors import ClusterError, InvalidInputError, NotPromotableError
from pipeline.kubernetes import kubectl, lease, rollout
from pipeline.kubernetes.kubeconfig import Kubeconfig
from pipeline.kubernetes.lease import Lease
from pipeline.observe import history
from pipeline.observe.history import EventType, History, HistoryEvent

A, B = (f"ghcr.io/org/app@sha256:{digit * 64}" for digit in "ab")
NOW = "2026-01-10T00:00:00Z"
WEEK = datetime.timedelta(days=7)


def config(cluster: dict[str, object] | None = None, user: dict[str, object] | None = None) -> str:
    return json.dumps(
        {
            "clusters": [{"name": "c", "cluster": cluster or {"server": "https://k.example.com:6443/x"}}],
            "users": [{"name": "u", "user": user or {"token": "t0ken"}}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u", "namespace": "n"}}],
            "current-context": "x",
        }
    )


def test_a_kubeconfig_is_read_raw_and_in_base64():
    raw = Kubeconfig.parse(config())
    assert raw == Kubeconfig.parse(base64.encodebytes(config().encode()).decode())
    assert (raw.server, raw.port, raw.namespace) == ("https://k.example.com:6443/x", 6443, "n")


def test_a_server_under_another_name_still_has_to_prove_its_own():
    document = json.loads(Kubeconfig.parse(config()).document(host="kubernetes"))
    cluster = document["clusters"][0]["cluster"]
    assert cluster == {"server": "https://kubernetes:6443/x", "tls-server-name": "k.example.com"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "neither YAML"),
        ("{", "neither YAML"),
        (config(cluster={"server": "k.example.com"}), "not an https address"),
        (config(cluster={"server": "http://k.example.com"}), "without TLS"),
        (config(cluster={"server": "https://k", "certificate-authority": "/ca"}), "a file of another machine"),
        (config(cluster={"server": "https://k", "insecure-skip-tls-verify": True}), "would hand the credentials"),
        (config(user={"exec": {"command": "aws"}}), "gets credentials by a program"),
        (config().replace('"current-context": "x"', '"current-context": "y"'), "it has no context 'y'"),
    ],
)
def test_a_kubeconfig_that_cannot_be_used_is_refused_without_being_shown(text: str, words: str):
    with pytest.raises(InvalidInputError, match=words) as caught:
        Kubeconfig.parse(text)
    assert "t0ken" not in str(caught.value)


@pytest.mark.parametrize(
    ("words", "passes", "problem"),
    [
        ("error: You must be logged in to the server (Unauthorized)", False, "does not accept the credentials"),
        ("Unable to connect to the server: dial tcp: connection refused", True, "cannot be reached"),
        ("Error from server (TooManyRequests): too many requests", True, "overloaded or failing"),
        ('Error from server (Forbidden): pods is forbidden: User "x"', False, "a permission is missing"),
        ('Error from server: admission webhook "x" denied the request: no', False, "admission control refused"),
        ('Error from server (Forbidden): pods "x" is forbidden: exceeded quota: q', False, "quota is used up"),
        ("x509: certificate signed by unknown authority", False, "not the one that the kubeconfig trusts"),
        (
            'Error from server (InternalError): failed calling webhook "x": deadline exceeded',
            True,
            "webhook of the cluster does not answer",
        ),
    ],
)
def test_what_kubectl_says_is_told_apart(words: str, passes: bool, problem: str):  # noqa: FBT001
    assert kubectl.may_pass(words) is passes
    assert problem in str(kubectl.explain("deploy", words, "https://k"))


def begun(run: str, reference: str, day: int) -> HistoryEvent:
    return HistoryEvent(
        run, EventType.BEGUN, f"2026-01-{day:02}T00:00:00Z", {"action": "deploy", "reference": reference}
    )


def ended(run: str, event: EventType, day: int, **details: object) -> HistoryEvent:
    return HistoryEvent(run, event, f"2026-01-{day:02}T00:01:00Z", details)


def test_the_last_proven_run_is_not_one_that_was_only_deployed_or_failed():
    records = [
        begun("1", A, 1), ended("1", EventType.DEPLOYED, 1), ended("1", EventType.PROVEN, 1, attempts=1),
        begun("2", B, 2), ended("2", EventType.DEPLOYED, 2),
        begun("3", B, 3), ended("3", EventType.FAILED, 3), begun("4", B, 4),
    ]  # fmt: skip
    entries = history.fold(records)
    assert [entry.result for entry in entries] == ["proven", "deployed", "failed", "running"]
    found = history.last_verified(entries, before="4")
    assert found
    assert (found.run, found.seconds) == ("1", 60)


@pytest.mark.parametrize(
    ("records", "words"),
    [
        ([], "nothing was ever deployed"),
        ([begun("1", B, 9), ended("1", EventType.PROVEN, 9)], "was never deployed"),
        ([begun("1", A, 9)], "is running"),
        (
            [begun("1", A, 8), ended("1", EventType.PROVEN, 8), begun("2", A, 9), ended("2", EventType.FAILED, 9)],
            "is failed, though",
        ),
        ([begun("1", A, 1), ended("1", EventType.PROVEN, 1)], "9 days ago, more than 7 days"),
    ],
)  # fmt: skip
def test_only_a_fresh_last_proof_is_promoted(records: list[HistoryEvent], words: str):
    with pytest.raises(NotPromotableError, match=words):
        history.verification_of(history.fold(records), "staging", A.partition("@")[2], max_age=WEEK, at=NOW)


def test_a_record_survives_its_config_map():
    record = begun("1", A, 1)
    kept = history.to_manifest(record, service="app", environment="staging", number=7, extra={"manifests": "[]"})
    read = History.read([kept])
    assert (list(read.records), read.next_number, read.kept("1", "manifests")) == (
        [dataclasses.replace(record, number=7)],
        8,
        "[]",
    )


def test_old_records_are_compacted_but_never_those_of_the_last_proof():
    many = [begun("0", A, 1), ended("0", EventType.PROVEN, 1), *(begun(str(n), B, 2) for n in range(1, 110))]
    maps = [history.to_manifest(r, service="app", environment="s", number=n) for n, r in enumerate(many, 1)]
    assert [history.number_of(found) for found in History.read(maps).surplus()] == list(range(3, 12))
    later = [*many, begun("x", A, 3), ended("x", EventType.PROVEN, 3)]
    maps = [history.to_manifest(r, service="app", environment="s", number=n) for n, r in enumerate(later, 1)]
    read = History.read(maps)
    old = read.surplus()
    assert len(old) == len(later) - history.KEPT
    archive = read.archive(old, service="app")
    assert list(History.read([archive, *maps[len(old) :]]).records) == list(read.records)
    assert [dataclasses.replace(record, number=0) for record in read.records] == later


def pod(**state: object) -> dict[str, object]:
    waiting = {"waiting": {"reason": state.get("reason"), "message": state.get("message", "")}}
    status = {"name": "c", "ready": False, "restartCount": state.get("restarts", 0), "state": waiting}
    return {"metadata": {"name": "p"}, "status": {"phase": "Pending", "containerStatuses": [status]}}


@pytest.mark.parametrize(
    ("found", "terminal_reason"),
    [
        (pod(reason="ImagePullBackOff", message="manifest unknown"), True),
        (pod(reason="ErrImagePull", message="503 Service Unavailable"), False),
        (pod(reason="CreateContainerConfigError", message='secret "x" not found'), True),
        (pod(reason="CrashLoopBackOff", restarts=1), False),
        (pod(reason="CrashLoopBackOff", restarts=3), True),
        (pod(reason="ContainerCreating"), False),
    ],
)
def test_only_what_cannot_heal_ends_the_wait(found: dict[str, object], terminal_reason: bool):  # noqa: FBT001
    assert bool(rollout.terminal_reason(found)) is terminal_reason


class Renewing:
    """Stands for a cluster in which a renewal comes between reading a lease and replacing it, so many times."""

    def __init__(self, times: int) -> None:
        self.times, self.version, self.holder = times, 1, "run-1"

    async def read(self, *_: str, **_given: str) -> dict[str, Any]:
        return lease.manifest("slipway-app", self.holder, str(self.version))

    async def ask(self, _argv: list[str], *, stdin: str, **_given: str) -> str:
        given = json.loads(stdin)
        if self.times:
            self.times, self.version = self.times - 1, self.version + 1
        if given["metadata"]["resourceVersion"] != str(self.version):
            raise ClusterError("lease: kubectl exited with 1", output="Error from server (Conflict): modified")
        self.holder = given["spec"]["holderIdentity"] or ""
        return ""


@pytest.mark.parametrize("times", [0, 1, 3])
async def test_a_lease_is_given_back_though_a_renewal_comes_between(times: int):
    cluster: Any = Renewing(times)
    await lease.release(cluster, "slipway-app", "run-1")
    assert cluster.holder == ""


async def test_a_lease_that_somebody_else_took_is_left_to_them():
    cluster: Any = Renewing(0)
    cluster.holder = "run-2"
    await lease.release(cluster, "slipway-app", "run-1")
    assert cluster.holder == "run-2"


def test_a_lease_is_over_when_nobody_renews_it():
    at = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    held = Lease("run-1", "2026-01-01T00:00:00Z", "1", 60)
    assert not held.is_over(at + datetime.timedelta(seconds=80), watched=10)
    assert held.is_over(at + datetime.timedelta(seconds=80), watched=61)
    assert held.is_over(at + datetime.timedelta(seconds=91), watched=0)
    assert Lease("", "2026-01-01T00:00:00Z", "1", 60).is_over(at, watched=0)


def test_what_later_runs_made_is_told_from_what_they_found():
    def kept(number: int, record: HistoryEvent, names: list[str]) -> dict[str, object]:
        made = [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}} for name in names]
        extra = {"manifests": json.dumps(made)}
        return history.to_manifest(record, service="app", environment="staging", number=number, extra=extra)

    first = begun("1", A, 1)
    later = HistoryEvent("2", EventType.BEGUN, NOW, {"existed": ["configmap/old", "configmap/both"]})
    read = History.read([kept(1, first, ["old"]), kept(2, later, ["old", "both", "new"])])
    assert read.environment == "staging"
    assert read.created_by("2") == ["configmap/new"]
    target = read.entries[0]
    assert read.created_since(target, []) == ["configmap/new"]
    assert read.created_since(target, [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "new"}}]) == []


def test_a_rollback_never_goes_back_to_what_one_took_back():
    c = A.replace("a", "c")
    records = [
        begun("1", A, 1), ended("1", EventType.PROVEN, 1), begun("2", B, 2), ended("2", EventType.PROVEN, 2),
        begun("3", c, 3), ended("3", EventType.PROVEN, 3),
    ]  # fmt: skip
    assert [e.run for e in history.rollback_candidates(history.fold(records), c.partition("@")[2])] == ["1", "2"]
    back = HistoryEvent(
        "4", EventType.BEGUN, NOW, {"action": "rollback", "reference": B, "replaced": c.partition("@")[2]}
    )
    records += [back, ended("4", EventType.PROVEN, 4)]
    assert [e.run for e in history.rollback_candidates(history.fold(records), B.partition("@")[2])] == ["1"]
    # What runs was never proven: all that was may be gone back to.
    assert [e.run for e in history.rollback_candidates(history.fold(records), "sha256:other")] == ["1", "2", "3", "4"]


def test_an_archive_fits_into_a_config_map_and_keeps_the_order():
    many = [begun("0", A, 1), ended("0", EventType.PROVEN, 1)]
    many += [ended(str(n), EventType.FAILED, 2, problem="x" * 9000) for n in range(1, 600)]
    maps = [history.to_manifest(r, service="app", environment="s", number=n) for n, r in enumerate(many, 1)]
    read = History.read(maps)
    old = read.surplus()
    archive = read.archive(old, service="app")
    assert len(json.dumps(archive)) < 1_000_000
    left = [archive, *(found for found in maps if found not in old)]
    again = History.read(left)
    assert [record.number for record in again.records] == sorted(record.number for record in again.records)
    assert again.records[0].run == "0"  # the proven run's, which was not archived, still comes first
    assert again.records[-1] == read.records[-1]


def token(claims: object) -> str:
    packed = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"header.{packed}.signature"


@pytest.mark.parametrize(
    ("text", "expires"),
    [
        (token({"exp": 1767225600}), datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)),
        (token({}), None),
        (token([]), None),
        (token({"exp": "soon"}), None),
        (token({"exp": 1e300}), None),
        ("t0ken", None),
        ("a.b.c", None),
    ],
)
def test_a_token_tells_when_it_expires_or_nothing(text: str, expires: datetime.datetime | None):
    assert Kubeconfig.parse(config(user={"token": text})).expires == expires
