"""A namespace of a cluster in memory, in virtual time: what the API server does, and how it fails.

A FakeServer keeps the objects; any number of FakeClients, a run each, ask it. Faults are given to a client: an error
before or after the server did what was asked, a number of times; or the end of the run.
"""

import copy
import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import anyio

from pipeline.core import clock
from pipeline.core.errors import ClusterError
from pipeline.kubernetes import failures
from pipeline.kubernetes.client import AccessReview
from pipeline.kubernetes.manifests import Manifest, identity
from tests.fakes.objects import ConflictError, ObjectStore, copied, value_at
from tests.fakes.workloads import Workloads

T = TypeVar("T")

LATENCY = 0.05
ADDRESS = "https://kubernetes.example.com:6443"
USER = "system:serviceaccount:tiny-staging:slipway"
EVERYTHING = ({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]},)
UNREACHABLE = "Unable to connect to the server: dial tcp 192.0.2.1:6443: connect: connection refused"
OVERLOADED = "Error from server (TooManyRequests): the server has received too many requests"
BROKEN = "Error from server (InternalError): an error on the server has prevented the request from succeeding"
FORBIDDEN = 'Error from server (Forbidden): deployments.apps "tiny" is forbidden: User "x" cannot patch'


class Killed(BaseException):
    """The end of a run: nothing of it can clean up, and nothing of it reaches the cluster any more."""


def failure(stderr: str) -> ClusterError:
    """Return the error that KubectlClient raises for kubectl's standard error."""
    return failures.explain("test", stderr, ADDRESS)


@dataclasses.dataclass(frozen=True, slots=True)
class Call:
    """One request: a method of ClusterClient, and what it is about."""

    method: str
    manifests: Sequence[Manifest] = ()
    names: Sequence[str] = ()
    dry_run: bool = False


Matches = Callable[[Call], bool]


@dataclasses.dataclass(slots=True)
class Fault:
    """What goes wrong with the calls that match, so many times."""

    matches: Matches
    error: BaseException
    after: bool = False
    times: int = 1


def nothing(_: Call) -> bool:
    """Match no call."""
    return False


def creates(kind: str, text: str = "") -> Matches:
    """Match what creates an object of a kind that contains a text."""
    return lambda call: call.method == "create" and any(m["kind"] == kind and text in repr(m) for m in call.manifests)


def records(event: str) -> Matches:
    """Match what records an event in the history."""
    return creates("ConfigMap", f'"event": "{event}"')


def applies(call: Call) -> bool:
    """Match what applies the manifests."""
    return call.method == "apply" and not call.dry_run and any(m["kind"] == "Deployment" for m in call.manifests)


def watches(call: Call) -> bool:
    """Match what asks for the progress of a rollout."""
    return call.method == "find" and "replicasets" in call.names


class FakeServer:
    """A namespace's API server and controllers."""

    def __init__(self, namespace: str = "tiny-staging") -> None:
        self.namespace = namespace
        self.store = ObjectStore()
        self.workloads = Workloads(self.store)
        self.rules: Sequence[Mapping[str, Any]] = EVERYTHING
        self.exists = True
        self.unreachable_until = 0.0

    def outage(self, seconds: float) -> None:
        """Be unreachable for a while."""
        self.unreachable_until = clock.monotonic() + seconds

    def copied(self) -> "FakeServer":
        """Return a copy of the namespace, in which nothing may be going on."""
        self.workloads.advance()
        assert not self.workloads.is_busy
        return copy.deepcopy(self)

    def names(self, kind: str) -> list[str]:
        """Return the names of the objects of a kind, sorted."""
        return sorted(item["metadata"]["name"] for item in self.store.all(kind))

    def image(self) -> str:
        """Return the image of the live Deployment, or an empty string."""
        deployments = self.store.all("Deployment")
        return str(deployments[0]["spec"]["template"]["spec"]["containers"][0]["image"]) if deployments else ""

    def edit(self, name: str, *path: str, value: object) -> None:
        """Change a field as another manager."""
        self.store.change(self.store.objects[name], path, value, "kubectl-edit")


class FakeClient:
    """A ClusterClient of a FakeServer."""

    def __init__(self, fake: FakeServer) -> None:
        self.fake = fake
        self.calls: list[Call] = []
        self.faults: list[Fault] = []
        self.hanging: Matches = nothing
        self.is_dead = False

    @property
    def server(self) -> str:
        """The API server's address."""
        return ADDRESS

    @property
    def namespace(self) -> str:
        """The namespace."""
        return self.fake.namespace

    # Faults

    def fail(self, matches: Matches, stderr: str = BROKEN, *, after: bool = False, times: int = 1) -> None:
        """Fail the next calls that match, before or after the server did what was asked."""
        self.faults.append(Fault(matches, failure(stderr), after, times))

    def kill(self, matches: Matches) -> None:
        """End the run after the next call that matches, before it gets the reply."""
        self.faults.append(Fault(matches, Killed(), after=True))

    def hang(self, matches: Matches) -> None:
        """Never answer the calls that match."""
        self.hanging = matches

    def on(self, matches: Matches, action: Callable[[], object]) -> None:
        """Do something in the cluster after the next call that matches."""
        self.faults.append(Fault(matches, _Action(action), after=True))

    # ClusterClient

    async def get(self, identities: Iterable[str]) -> list[Manifest]:
        """Return the objects that exist among those named."""
        names = list(identities)
        objects = self.fake.store.objects
        return await self._call(Call("get", names=names), lambda: [objects[name] for name in names if name in objects])

    async def find(
        self, kinds: Sequence[str], *, labels: Mapping[str, str] | None = None, fields: Mapping[str, str] | None = None
    ) -> list[Manifest]:
        """Return the objects of some kinds, selected by labels and fields."""
        return await self._call(Call("find", names=kinds), lambda: self._select(kinds, labels or {}, fields or {}))

    async def create(self, manifest: Manifest, *, dry_run: bool = False) -> bool:
        """Create an object; False if one of its name exists."""

        def create() -> bool:
            if not self.fake.exists:
                raise failure(f'Error from server (NotFound): namespaces "{self.namespace}" not found')
            exists = identity(manifest) in self.fake.store.objects
            return not exists if dry_run else self.fake.store.create(manifest) is not None

        return await self._call(Call("create", [manifest], dry_run=dry_run), create)

    async def replace(self, manifest: Manifest) -> bool:
        """Replace an object; False if it does not exist, or has another resource version than the manifest."""

        def replace() -> bool:
            try:
                self.fake.store.replace(manifest)
            except ConflictError:
                return False
            return True

        return await self._call(Call("replace", [manifest]), replace)

    async def apply(
        self, manifests: Iterable[Manifest], *, force: bool = False, dry_run: bool = False
    ) -> list[Manifest]:
        """Apply objects on the server's side; return them as they are then."""
        objects = list(manifests)

        def apply() -> list[Manifest]:
            try:
                return [self.fake.store.apply(item, force=force, dry_run=dry_run) for item in objects]
            except ConflictError as error:
                raise failure(f"error: Apply failed with 1 conflict: {error}") from error

        return await self._call(Call("apply", objects, dry_run=dry_run), apply)

    async def delete(self, identities: Iterable[str]) -> None:
        """Delete the objects that exist among those named."""
        names = list(identities)

        def delete() -> None:
            for name in names:
                self.fake.workloads.delete(name)

        await self._call(Call("delete", names=names), delete)

    async def delete_selected(self, kinds: Sequence[str], labels: Mapping[str, str]) -> None:
        """Delete the objects of some kinds that have the labels."""

        def delete() -> None:
            for item in self._select(kinds, labels, {}):
                self.fake.workloads.delete(identity(item))

        await self._call(Call("delete_selected", names=kinds), delete)

    async def logs(self, pod: str, container: str, *, lines: int, previous: bool = False) -> str:
        """Return the log of a pod's container, or of the one before its last restart."""

        def read() -> str:
            assert container
            text = self.fake.workloads.logs.get((pod, previous))
            if text is None:
                raise failure(f'Error from server (BadRequest): no container in pod "{pod}"')
            return "\n".join(text.splitlines()[-lines:])

        return await self._call(Call("logs", names=[pod]), read)

    async def review_access(self) -> AccessReview:
        """Return the authenticated user, and what it may do."""
        return await self._call(Call("review_access"), lambda: AccessReview(USER, self.fake.rules))

    # How a request goes

    async def _call(self, call: Call, action: Callable[[], T]) -> T:
        """Do what is asked, as the faults allow."""
        if self.is_dead:
            raise Killed
        await anyio.sleep(LATENCY)
        if self.hanging(call):
            await anyio.sleep_forever()
        if clock.monotonic() < self.fake.unreachable_until:
            raise failure(UNREACHABLE)
        self._fault(call, after=False)
        self.fake.workloads.advance()
        self.calls.append(call)
        result = copied(action())
        self._fault(call, after=True)
        return result

    def _fault(self, call: Call, *, after: bool) -> None:
        for fault in [fault for fault in self.faults if fault.after == after and fault.matches(call)][:1]:
            fault.times -= 1
            if not fault.times:
                self.faults.remove(fault)
            self.is_dead = isinstance(fault.error, Killed)
            if isinstance(fault.error, _Action):
                fault.error.action()
            else:
                raise fault.error

    def _select(self, kinds: Sequence[str], labels: Mapping[str, str], fields: Mapping[str, str]) -> list[Manifest]:
        found = [item for kind in kinds for item in self.fake.store.of_resource(kind)]
        return [
            item
            for item in found
            if labels.items() <= (item["metadata"].get("labels") or {}).items()
            and all(value_at(item, path.split(".")) == value for path, value in fields.items())
        ]


class _Action(BaseException):
    """Not a failure: something that happens in the cluster."""

    def __init__(self, action: Callable[[], object]) -> None:
        super().__init__()
        self.action = action
