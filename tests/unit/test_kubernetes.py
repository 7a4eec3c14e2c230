import base64
import datetime
import json

import pytest

from pipeline.core.errors import InvalidInputError
from pipeline.kubernetes import failures, kubectl, rollout
from pipeline.kubernetes.client import AccessReview
from pipeline.kubernetes.kubeconfig import Kubeconfig
from pipeline.kubernetes.lease import Lease


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


def test_a_server_under_another_name_still_has_to_have_its_own_certificate():
    document = json.loads(Kubeconfig.parse(config()).document(host="kubernetes"))
    cluster = document["clusters"][0]["cluster"]
    assert cluster == {"server": "https://kubernetes:6443/x", "tls-server-name": "k.example.com"}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "neither YAML"),
        ("{", "neither YAML"),
        (config(cluster={"server": "k.example.com"}), "not an https address"),
        (config(cluster={"server": "http://k.example.com"}), "without TLS"),
        (config(cluster={"server": "https://k", "certificate-authority": "/ca"}), "a file of another machine"),
        (config(cluster={"server": "https://k", "insecure-skip-tls-verify": True}), "would send the credentials"),
        (config(user={"exec": {"command": "aws"}}), "gets credentials from a program"),
        (config().replace('"current-context": "x"', '"current-context": "y"'), "it has no context 'y'"),
    ],
)
def test_a_kubeconfig_that_cannot_be_used_is_refused_without_being_shown(text: str, problem: str):
    with pytest.raises(InvalidInputError, match=problem) as caught:
        Kubeconfig.parse(text)
    assert "t0ken" not in str(caught.value)


@pytest.mark.parametrize(
    ("stderr", "transient", "problem"),
    [
        ("error: You must be logged in to the server (Unauthorized)", False, "does not accept the credentials"),
        ("Unable to connect to the server: dial tcp: connection refused", True, "cannot be reached"),
        ("Error from server (TooManyRequests): too many requests", True, "overloaded or failing"),
        ('Error from server (Forbidden): pods is forbidden: User "x"', False, "a permission is missing"),
        (
            'Error from server: admission webhook "x" denied the request: no',
            False,
            "admission control refused",
        ),
        (
            "The deployments \"x\" is invalid: : ValidatingAdmissionPolicy 'y' with binding 'y' denied request: no",
            False,
            "admission control refused",
        ),
        ('Error from server (Forbidden): pods "x" is forbidden: exceeded quota: q', False, "quota is used up"),
        ("x509: certificate signed by unknown authority", False, "not one that the kubeconfig trusts"),
        (
            'Error from server (InternalError): failed calling webhook "x": deadline exceeded',
            True,
            "webhook of the cluster does not answer",
        ),
    ],
)
def test_kubectls_errors_are_distinguished(stderr: str, transient: bool, problem: str):  # noqa: FBT001
    assert failures.is_transient(stderr) is transient
    assert problem in str(failures.explain("apply", stderr, "https://k"))


def pod(**state: object) -> dict[str, object]:
    waiting = {"waiting": {"reason": state.get("reason"), "message": state.get("message", "")}}
    status = {"name": "c", "ready": False, "restartCount": state.get("restarts", 0), "state": waiting}
    return {"metadata": {"name": "p"}, "status": {"phase": "Pending", "containerStatuses": [status]}}


@pytest.mark.parametrize(
    ("status", "terminal"),
    [
        (pod(reason="ImagePullBackOff", message="manifest unknown"), True),
        (pod(reason="ErrImagePull", message="503 Service Unavailable"), False),
        (pod(reason="CreateContainerConfigError", message='secret "x" not found'), True),
        (pod(reason="CrashLoopBackOff", restarts=1), False),
        (pod(reason="CrashLoopBackOff", restarts=3), True),
        (pod(reason="ContainerCreating"), False),
    ],
)
def test_only_a_terminal_reason_ends_the_wait(status: dict[str, object], terminal: bool):  # noqa: FBT001
    assert bool(rollout.terminal_reason(status)) is terminal


def test_a_lease_expires_when_nobody_renews_it():
    at = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    held = Lease("run-1", "2026-01-01T00:00:00Z", "1", 60)
    assert not held.is_expired(at + datetime.timedelta(seconds=80), unchanged_seconds=10)
    assert held.is_expired(at + datetime.timedelta(seconds=80), unchanged_seconds=61)
    assert held.is_expired(at + datetime.timedelta(seconds=91), unchanged_seconds=0)
    assert Lease("", "2026-01-01T00:00:00Z", "1", 60).is_expired(at, unchanged_seconds=0)


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
def test_the_expiry_of_a_token_is_read_if_it_contains_one(text: str, expires: datetime.datetime | None):
    assert Kubeconfig.parse(config(user={"token": text})).expires == expires


def test_kubectls_arguments_are_lists():
    assert kubectl.find_argv(["pods", "jobs"], {"a": "b", "c": "d"}, {"type": "Warning"}) == [
        "get", "pods,jobs", "--selector=a=b,c=d", "--field-selector=type=Warning", "--output=json",
    ]  # fmt: skip
    assert kubectl.find_argv(["pods"], {}, {}) == ["get", "pods", "--output=json"]
    assert kubectl.delete_selected_argv(["jobs"], {"a": "b"}) == ["delete", "jobs", "--selector=a=b", "--wait=false"]
    assert "--force-conflicts" not in kubectl.apply_argv(force=False, dry_run=False)
    assert {"--force-conflicts", "--dry-run=server"} <= set(kubectl.apply_argv(force=True, dry_run=True))
    assert "--previous" in kubectl.logs_argv("p", "c", lines=5, previous=True)
    assert kubectl.logs_argv("p", "c", lines=5, previous=False) == ["logs", "p", "--container=c", "--tail=5"]


@pytest.mark.parametrize(
    ("document", "names"),
    [
        ("", []),
        ('{"kind": "List", "items": []}', []),
        ('{"kind": "Pod", "metadata": {"name": "a"}}', ["a"]),
        ('{"kind": "List", "items": [{"metadata": {"name": "a"}}, {"metadata": {"name": "b"}}]}', ["a", "b"]),
    ],
)
def test_kubectls_documents_are_lists_single_objects_or_nothing(document: str, names: list[str]):
    assert [item["metadata"]["name"] for item in kubectl.items_of(document)] == names


def test_a_permission_needs_a_rule_without_resource_names():
    rules = [
        {"verbs": ["get", "list"], "apiGroups": [""], "resources": ["pods"]},
        {"verbs": ["*"], "apiGroups": ["*"], "resources": ["leases"]},
        {"verbs": ["create"], "apiGroups": [""], "resources": ["pods"], "resourceNames": ["one"]},
    ]
    review = AccessReview("me", rules)
    permitted = [("get", "", "pods"), ("update", "coordination.k8s.io", "leases")]
    assert review.missing([*permitted, ("create", "", "pods"), ("get", "apps", "pods")]) == [
        ("create", "", "pods"),
        ("get", "apps", "pods"),
    ]
    assert AccessReview("me", [], incomplete=True).missing(permitted) == []


def test_an_expired_token_is_named_as_the_cause():
    expired = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    error = failures.explain("get", "error: You must be logged in (Unauthorized)", "https://k", expired)
    assert "they expired on 2026-01-01 at 00:00 UTC" in error.problem


def test_an_unknown_failure_names_the_command():
    assert failures.explain("get", "whatever", "https://k").problem == "`kubectl get` failed"


def test_conflicts_and_existing_objects_are_distinguished_from_failures():
    assert failures.already_exists('Error from server (AlreadyExists): leases "a" already exists')
    assert failures.is_conflict("Error from server (Conflict): Operation cannot be fulfilled")
    assert failures.is_conflict('Error from server (NotFound): leases "a" not found')
    assert not failures.is_conflict("Error from server (InternalError): x")
