"""The client that runs kubectl: what it executes, when it repeats, and how it reads failures."""

import json
from collections.abc import Awaitable, Callable
from typing import Any, cast

import anyio
import dagger
import pytest

from pipeline.core.errors import ClusterError, InvalidInputError
from pipeline.core.retry import MAX_ATTEMPTS
from pipeline.kubernetes import cluster as cluster_module
from pipeline.kubernetes import kubectl
from pipeline.kubernetes.cluster import SERVER_ALIAS, Cluster
from pipeline.kubernetes.kubectl import KubectlClient
from tests.fakes import cluster
from tests.fakes.engine import FailedExec, FakeEngine
from tests.fakes.virtual_time import in_virtual_time

IMAGE = "registry.example.com/kubectl@sha256:x"
LEASE = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "a"}}
EXISTS = 'Error from server (AlreadyExists): leases.coordination.k8s.io "a" already exists'
CONFLICT = 'Error from server (Conflict): Operation cannot be fulfilled on leases "a": the object has been modified'
NOT_FOUND = 'Error from server (NotFound): leases.coordination.k8s.io "a" not found'
UNAUTHORIZED = "error: You must be logged in to the server (Unauthorized)"
HEAD = ["kubectl", "--namespace=tiny-staging", "--request-timeout=20s"]


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[KubectlClient, FakeEngine]]:
    """Return what makes a client of an engine with some replies."""

    def client(*replies: str | Exception, **of_cluster: Any) -> tuple[KubectlClient, FakeEngine]:
        engine = FakeEngine(*replies)
        monkeypatch.setattr(kubectl, "dag", engine)
        secret = cast("dagger.Secret", "the kubeconfig")
        known = Cluster(kubeconfig=secret, server=cluster.ADDRESS, namespace="", **of_cluster)
        return KubectlClient(known, "tiny-staging", IMAGE), engine

    return client


Connect = Callable[..., tuple[KubectlClient, FakeEngine]]


@in_virtual_time
async def test_kubectl_gets_the_kubeconfig_as_a_mounted_secret_and_a_deadline_for_its_requests(connect: Connect):
    client, engine = connect("")
    assert (client.server, await client.get(["pod/a", "pod/b"])) == (cluster.ADDRESS, [])
    [chain] = engine.evaluated
    assert chain.argv == [*HEAD, "get", "--ignore-not-found", "pod/a", "pod/b", "--output=json"]
    assert chain.stdin is None
    assert chain.calls("from_") == [(IMAGE,)]
    assert chain.calls("with_mounted_secret") == [("/run/secrets/kubeconfig", "the kubeconfig")]
    assert chain.variable("KUBECONFIG") == "/run/secrets/kubeconfig"
    assert chain.calls("with_service_binding") == []


@in_virtual_time
async def test_an_api_server_of_this_machine_is_bound_as_a_service(connect: Connect):
    client, engine = connect("", api_server="the service")
    await client.get(["pod/a"])
    assert engine.evaluated[0].calls("with_service_binding") == [(SERVER_ALIAS, "the service")]


@in_virtual_time
async def test_no_request_is_made_for_no_objects(connect: Connect):
    client, engine = connect()
    assert await client.get([]) == []
    await client.delete([])
    assert engine.evaluated == []


@in_virtual_time
async def test_equal_requests_and_repeated_ones_are_never_answered_from_cache(connect: Connect):
    client, engine = connect("", "", FailedExec(cluster.OVERLOADED), "")
    for _ in range(3):
        await client.find(["pods"])
    assert len({chain.variable("SLIPWAY_RUN") for chain in engine.evaluated}) == 4


@in_virtual_time
async def test_objects_are_found_by_kind_label_and_field(connect: Connect):
    client, engine = connect('{"kind": "List", "items": [{"kind": "Pod"}]}')
    assert await client.find(["pods", "jobs"], labels={"a": "b"}, fields={"type": "Warning"}) == [{"kind": "Pod"}]
    assert engine.evaluated[0].argv[3:] == kubectl.find_argv(["pods", "jobs"], {"a": "b"}, {"type": "Warning"})


@in_virtual_time
async def test_an_object_is_created_unless_it_exists(connect: Connect):
    client, engine = connect("", "", FailedExec(EXISTS))
    assert await client.create(LEASE)
    assert await client.create(LEASE, dry_run=True)
    assert not await client.create(LEASE)
    created, rehearsed, _ = engine.evaluated
    assert created.argv == [*HEAD, "create", "--validate=false", "--filename=-"]
    assert json.loads(created.stdin or "") == LEASE
    assert rehearsed.argv == [*created.argv, "--dry-run=server"]


@pytest.mark.parametrize("stderr", [CONFLICT, NOT_FOUND])
@in_virtual_time
async def test_an_object_is_replaced_unless_it_changed_or_was_deleted(connect: Connect, stderr: str):
    client, engine = connect("", FailedExec(stderr))
    assert await client.replace(LEASE)
    assert not await client.replace(LEASE)
    assert engine.evaluated[0].argv == [*HEAD, "replace", "--filename=-"]
    assert json.loads(engine.evaluated[0].stdin or "") == LEASE


@in_virtual_time
async def test_objects_are_applied_as_one_document(connect: Connect):
    client, engine = connect(json.dumps(LEASE))
    assert await client.apply([LEASE], force=True, dry_run=True) == [LEASE]
    assert engine.evaluated[0].argv[3:] == kubectl.apply_argv(force=True, dry_run=True)
    assert json.loads(engine.evaluated[0].stdin or "")["items"] == [LEASE]


@in_virtual_time
async def test_objects_are_deleted_without_waiting(connect: Connect):
    client, engine = connect("", "")
    await client.delete(["pod/a"])
    await client.delete_selected(["jobs"], {"a": "b"})
    assert engine.evaluated[0].argv[3:] == ["delete", "--ignore-not-found", "--wait=false", "pod/a"]
    assert engine.evaluated[1].argv[3:] == kubectl.delete_selected_argv(["jobs"], {"a": "b"})


@in_virtual_time
async def test_the_end_of_a_log_is_read_and_a_failure_not_repeated(connect: Connect):
    client, engine = connect("a line", FailedExec(cluster.OVERLOADED))
    assert await client.logs("p", "c", lines=5, previous=True) == "a line"
    assert engine.evaluated[0].argv[3:] == kubectl.logs_argv("p", "c", lines=5, previous=True)
    with pytest.raises(ClusterError, match="is overloaded or failing"):
        await client.logs("p", "c", lines=5)
    assert len(engine.evaluated) == 2


@pytest.mark.parametrize(
    ("status", "rules", "incomplete"),
    [
        ({"resourceRules": [{"verbs": ["get"]}], "incomplete": False}, [{"verbs": ["get"]}], False),
        ({"resourceRules": None, "incomplete": True}, [], True),
    ],
)
@in_virtual_time
async def test_the_user_and_its_permissions_are_read(
    connect: Connect, status: dict[str, Any], rules: list[Any], *, incomplete: bool
):
    who = {"status": {"userInfo": {"username": cluster.USER}}}
    client, engine = connect(json.dumps({"status": status}), json.dumps(who))
    review = await client.review_access()
    assert (review.user, review.rules, review.incomplete) == (cluster.USER, rules, incomplete)
    assert json.loads(engine.evaluated[0].stdin or "")["spec"] == {"namespace": "tiny-staging"}
    assert engine.evaluated[1].argv[3:] == ["auth", "whoami", "--output=json"]


OPERATIONS: dict[str, Callable[[KubectlClient], Awaitable[object]]] = {
    "get": lambda client: client.get(["pod/a"]),
    "find": lambda client: client.find(["pods"]),
    "create": lambda client: client.create(LEASE),
    "replace": lambda client: client.replace(LEASE),
    "apply": lambda client: client.apply([LEASE]),
    "delete": lambda client: client.delete(["pod/a"]),
    "delete_selected": lambda client: client.delete_selected(["pods"], {"a": "b"}),
    "review_access": lambda client: client.review_access(),
}


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
@in_virtual_time
async def test_a_refusal_is_reported_at_once(connect: Connect, operation: Callable[[KubectlClient], Awaitable[object]]):
    client, engine = connect(FailedExec(cluster.FORBIDDEN))
    with pytest.raises(ClusterError, match="a permission is missing") as caught:
        await operation(client)
    assert caught.value.output == cluster.FORBIDDEN
    assert len(engine.evaluated) == 1


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
@in_virtual_time
async def test_an_outage_is_reported_after_five_attempts(
    connect: Connect, operation: Callable[[KubectlClient], Awaitable[object]]
):
    client, engine = connect(*[FailedExec(cluster.UNREACHABLE)] * MAX_ATTEMPTS)
    with pytest.raises(ClusterError, match=r"https://kubernetes\.example\.com:6443 cannot be reached"):
        await operation(client)
    assert len(engine.evaluated) == MAX_ATTEMPTS
    assert anyio.current_time() == 1 + 2 + 4 + 8


@in_virtual_time
async def test_a_failure_of_the_engine_is_neither_repeated_nor_taken_for_one_of_the_cluster(connect: Connect):
    failure = FailedExec(cluster.UNREACHABLE)
    client, engine = connect(dagger.TransportError("the engine is gone"), failure)
    with pytest.raises(dagger.TransportError):
        await client.find(["pods"])
    assert len(engine.evaluated) == 1


@pytest.mark.parametrize(
    ("expires", "why"),
    [
        ("2026-01-05T11:00:00Z", "they expired on 2026-01-05 at 11:00 UTC"),
        ("2026-01-05T13:00:00Z", "they belong to another cluster, or were revoked"),
        ("", "they belong to another cluster, or were revoked"),
    ],
)
@in_virtual_time
async def test_credentials_that_are_not_accepted_are_explained(connect: Connect, expires: str, why: str):
    client, _ = connect(FailedExec(UNAUTHORIZED), expires=expires)
    with pytest.raises(ClusterError, match=f"does not accept the credentials: {why}"):
        await client.find(["pods"])


# Connecting


class Secret:
    """A secret with a kubeconfig."""

    def __init__(self, **context: str) -> None:
        token = "header.eyJleHAiOjE3NjcyMjU2MDB9.signature"  # gitleaks:allow - made up
        self.document = {
            "clusters": [{"name": "c", "cluster": {"server": "https://k.example.com:6443"}}],
            "users": [{"name": "u", "user": {"token": token}}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"} | context}],
            "current-context": "x",
        }

    async def plaintext(self) -> str:
        return json.dumps(self.document)


async def connected(secret: Secret, **of: Any) -> Any:
    known: dict[str, Any] = {"context": "", "namespace": "", "api_server": None}
    return await Cluster.connect(cast("dagger.Secret", secret), **known | of)


@in_virtual_time
async def test_a_kubeconfig_is_read_once_and_kept_as_a_secret(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(cluster_module, "dag", FakeEngine())
    target = await connected(Secret(namespace="of-context"))
    assert (target.server, target.namespace) == ("https://k.example.com:6443", "of-context")
    assert target.expires == "2026-01-01T00:00:00.000Z"
    name, document = target.kubeconfig
    assert name.startswith("slipway-kubeconfig-")
    assert json.loads(document)["clusters"][0]["cluster"] == {"server": "https://k.example.com:6443"}
    assert (await connected(Secret(namespace="of-context"), namespace="given")).namespace == "given"
    assert (await connected(Secret())).namespace == ""


@in_virtual_time
async def test_an_api_server_of_this_machine_is_reached_by_its_alias(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(cluster_module, "dag", FakeEngine())
    _, document = (await connected(Secret(), api_server=object())).kubeconfig
    reached = json.loads(document)["clusters"][0]["cluster"]
    assert reached == {"server": f"https://{SERVER_ALIAS}:6443", "tls-server-name": "k.example.com"}


@in_virtual_time
async def test_a_malformed_namespace_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(cluster_module, "dag", FakeEngine())
    with pytest.raises(InvalidInputError, match="namespace 'A_b' is not a valid Kubernetes name"):
        await connected(Secret(), namespace="A_b")
