"""A ClusterClient that runs kubectl in a container of the engine."""

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import dagger
from dagger import dag

from pipeline.core import clock
from pipeline.core.errors import ClusterError
from pipeline.core.execution import with_run_id
from pipeline.core.retry import retry_transient
from pipeline.kubernetes import failures
from pipeline.kubernetes.client import AccessReview
from pipeline.kubernetes.cluster import SERVER_ALIAS, Cluster
from pipeline.kubernetes.manifests import Manifest, stream

REQUEST_SECONDS = 20
FIELD_MANAGER = "slipway"
KUBECONFIG_FILE = "/run/secrets/kubeconfig"
CREATE = ("create", "--validate=false", "--filename=-")
REPLACE = ("replace", "--filename=-")


def find_argv(kinds: Sequence[str], labels: Mapping[str, str], fields: Mapping[str, str]) -> list[str]:
    """Return kubectl's arguments that list objects."""
    return ["get", ",".join(kinds), *_selectors(labels, fields), "--output=json"]


def delete_selected_argv(kinds: Sequence[str], labels: Mapping[str, str]) -> list[str]:
    """Return kubectl's arguments that delete all objects with some labels."""
    return ["delete", ",".join(kinds), *_selectors(labels, {}), "--wait=false"]


def _selectors(labels: Mapping[str, str], fields: Mapping[str, str]) -> list[str]:
    named = (("selector", labels), ("field-selector", fields))
    return [f"--{name}={','.join(f'{key}={value}' for key, value in pairs.items())}" for name, pairs in named if pairs]


def apply_argv(*, force: bool, dry_run: bool) -> list[str]:
    """Return kubectl's arguments that apply what it reads from its standard input, on the server's side."""
    argv = ["apply", "--server-side", f"--field-manager={FIELD_MANAGER}", "--filename=-", "--output=json"]
    argv += ["--force-conflicts"] if force else []
    return argv + (["--dry-run=server"] if dry_run else [])


def logs_argv(pod: str, container: str, *, lines: int, previous: bool) -> list[str]:
    """Return kubectl's arguments that print the end of a container's log."""
    return ["logs", pod, f"--container={container}", f"--tail={lines}", *(["--previous"] if previous else [])]


def items_of(document: str) -> list[Manifest]:
    """Return the objects in kubectl's JSON: of a list, a single one, or none."""
    content: Manifest = json.loads(document) if document.strip() else {}
    return list(content.get("items", [content] if content else []))


@dataclasses.dataclass(frozen=True, slots=True)
class KubectlClient:
    """A namespace of a cluster, as kubectl sees it.

    Args:
        cluster: where the API server is, and the credentials.
        namespace: the namespace.
        image: with kubectl.
    """

    cluster: Cluster
    namespace: str
    image: str

    @property
    def server(self) -> str:
        """The API server's address."""
        return self.cluster.server

    async def get(self, identities: Iterable[str]) -> list[Manifest]:
        """Return the objects that exist among those named."""
        named = list(identities)
        argv = ["get", "--ignore-not-found", *named, "--output=json"]
        return items_of(await self._run(argv)) if named else []

    async def find(
        self, kinds: Sequence[str], *, labels: Mapping[str, str] | None = None, fields: Mapping[str, str] | None = None
    ) -> list[Manifest]:
        """Return the objects of some kinds, selected by labels and fields."""
        return items_of(await self._run(find_argv(kinds, labels or {}, fields or {})))

    async def create(self, manifest: Manifest, *, dry_run: bool = False) -> bool:
        """Create an object; False if one of its name exists."""
        try:
            await self._run([*CREATE, *(["--dry-run=server"] if dry_run else [])], json.dumps(manifest))
        except ClusterError as error:
            if failures.already_exists(error.output):
                return False
            raise
        return True

    async def replace(self, manifest: Manifest) -> bool:
        """Replace an object; False if it does not exist, or has another resource version than the manifest."""
        try:
            await self._run(REPLACE, json.dumps(manifest))
        except ClusterError as error:
            if failures.is_conflict(error.output):
                return False
            raise
        return True

    async def apply(
        self, manifests: Iterable[Manifest], *, force: bool = False, dry_run: bool = False
    ) -> list[Manifest]:
        """Apply objects on the server's side; return them as they are then."""
        return items_of(await self._run(apply_argv(force=force, dry_run=dry_run), stream(manifests)))

    async def delete(self, identities: Iterable[str]) -> None:
        """Delete the objects that exist among those named, without waiting; the cluster deletes their dependents."""
        if named := list(identities):
            await self._run(["delete", "--ignore-not-found", "--wait=false", *named])

    async def delete_selected(self, kinds: Sequence[str], labels: Mapping[str, str]) -> None:
        """Delete the objects of some kinds that have the labels, without waiting."""
        await self._run(delete_selected_argv(kinds, labels))

    async def logs(self, pod: str, container: str, *, lines: int, previous: bool = False) -> str:
        """Return the last lines of a container, or of the one before its last restart. It is not retried."""
        return await self._run(logs_argv(pod, container, lines=lines, previous=previous), retried=False)

    async def review_access(self) -> AccessReview:
        """Return the authenticated user, and what it may do in the namespace."""
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectRulesReview",
            "spec": {"namespace": self.namespace},
        }
        rules: dict[str, Any] = json.loads(await self._run([*CREATE, "--output=json"], json.dumps(review)))["status"]
        who = json.loads(await self._run(["auth", "whoami", "--output=json"]))
        return AccessReview(
            user=str(who["status"]["userInfo"].get("username", "")),
            rules=rules.get("resourceRules") or [],
            incomplete=bool(rules.get("incomplete")),
        )

    async def _run(self, argv: Sequence[str], stdin: str = "", *, retried: bool = True) -> str:
        """Run kubectl in the namespace; return its standard output. It always runs: never answered from cache.

        Args:
            argv: what follows `kubectl`.
            stdin: what `--filename=-` reads.
            retried: repeat after a transient failure (429, 5xx, a reset).

        Raises:
            ClusterError: with kubectl's standard error.
        """
        command = ["kubectl", f"--namespace={self.namespace}", f"--request-timeout={REQUEST_SECONDS}s", *argv]

        async def run() -> str:
            return await self._container().with_exec(command, stdin=stdin or None).stdout()

        def is_transient(error: dagger.QueryError) -> bool:
            return retried and isinstance(error, dagger.ExecError) and failures.is_transient(error.stderr)

        try:
            return await retry_transient(run, is_transient, stage="cluster", action=f"kubectl {argv[0]}")
        except dagger.ExecError as error:
            expires = clock.parse(self.cluster.expires) if self.cluster.expires else None
            raise failures.explain(argv[0], error.stderr, self.server, expires) from error

    def _container(self) -> dagger.Container:
        container = (
            dag.container()
            .from_(self.image)
            .with_user("0")
            .with_env_variable("HOME", "/tmp")  # noqa: S108 - the container's own
            .with_env_variable("KUBECONFIG", KUBECONFIG_FILE)
            .with_mounted_secret(KUBECONFIG_FILE, self.cluster.kubeconfig, mode=0o600)
            .with_(with_run_id)
        )
        server = self.cluster.api_server
        return container.with_service_binding(SERVER_ALIAS, server) if server else container
