"""A Kubernetes cluster: one namespace of it, asked by kubectl."""

import datetime
import json
from collections.abc import Iterable, Sequence
from typing import Annotated, Any

import anyio
import dagger
from dagger import Doc, dag

from pipeline.core.errors import ClusterError, InvalidInputError
from pipeline.core.execution import run_id
from pipeline.core.log import log
from pipeline.core.retry import ATTEMPTS, pause
from pipeline.core.sdk import field, object_type
from pipeline.kubernetes.kubeconfig import Kubeconfig
from pipeline.kubernetes.kubectl import REQUEST_SECONDS, explain, may_pass
from pipeline.kubernetes.manifests import Manifest, stream
from pipeline.oci.references import check_name

SERVER_ALIAS = "kubernetes"
KUBECONFIG_FILE = "/run/secrets/kubeconfig"
FIELD_MANAGER = "slipway"
REHEARSAL = "rehearsal"
STAGING = "staging"
PRODUCTION = "production"


@object_type
class Cluster:
    """One namespace of a Kubernetes cluster, and the credentials to use there."""

    kubeconfig: Annotated[dagger.Secret, Doc("One context, holding everything it needs.")] = field()
    server: Annotated[str, Doc("The API server's address.")] = field()
    namespace: Annotated[str, Doc("The namespace.")] = field()
    kubectl_image: Annotated[str, Doc("The image with kubectl.")] = field()
    api_server: Annotated[dagger.Service | None, Doc("The API server as a service of this session.")] = field(
        default=None
    )
    expires: Annotated[str, Doc("When the credentials expire, RFC 3339; empty if they do not tell.")] = field(
        default=""
    )

    @classmethod
    async def connect(
        cls,
        kubeconfig: dagger.Secret,
        *,
        context: str,
        namespace: str,
        default_namespace: str,
        api_server: dagger.Service | None,
        kubectl_image: str,
    ) -> "Cluster":
        """Read a kubeconfig, and keep what is needed of it.

        Raises:
            InvalidInputError: if it is not usable, or the namespace cannot be one.
        """
        config = Kubeconfig.parse(await kubeconfig.plaintext(), context)
        document = config.document(host=SERVER_ALIAS if api_server else "")
        chosen = namespace or config.namespace or default_namespace
        check_name("namespace", chosen)
        return cls(
            kubeconfig=dag.set_secret(f"slipway-kubeconfig-{run_id()}", document),
            server=config.server,
            namespace=chosen,
            kubectl_image=kubectl_image,
            api_server=api_server,
            expires=config.expires.isoformat() if config.expires else "",
        )

    async def ask(self, argv: Sequence[str], *, what: str, stdin: str = "", patient: bool = True) -> str:
        """Run kubectl in the namespace; return its output. It always runs: never answered from cache.

        Args:
            argv: what follows `kubectl`.
            what: what is being done, for the error.
            stdin: what `-f -` reads.
            patient: try again what may pass (429, 5xx, resets), five times at the most.

        Raises:
            ClusterError: with kubectl's own words.
        """
        command = [
            "kubectl",
            f"--namespace={self.namespace}",
            f"--request-timeout={REQUEST_SECONDS}s",
            *argv,
        ]
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return await self._kubectl().with_exec(command, stdin=stdin or None).stdout()
            except dagger.ExecError as error:
                if not patient or attempt == ATTEMPTS or not may_pass(error.stderr):
                    expires = datetime.datetime.fromisoformat(self.expires) if self.expires else None
                    raise explain(what, error.stderr, self.server, expires) from error
                last = error.stderr.strip().splitlines()[-1:]
                log("cluster", f"{what}: attempt {attempt} of {ATTEMPTS} failed ({' '.join(last)})")
                await anyio.sleep(pause(attempt))
        raise AssertionError("unreachable: the last attempt returns or raises")

    async def read(self, *argv: str, what: str) -> dict[str, Any]:
        """Run `kubectl get` or the like, and return what it found as an object; empty where there is nothing."""
        answer = await self.ask([*argv, "--output=json"], what=what)
        found: dict[str, Any] = json.loads(answer) if answer.strip() else {}
        return found

    async def objects(self, *argv: str, what: str) -> list[Manifest]:
        """Run `kubectl get`, and return what it found: of a kind, a selector, or names."""
        found = await self.read("get", "--ignore-not-found", *argv, what=what)
        return list(found.get("items", [found] if found else []))

    async def apply(
        self, objects: Iterable[Manifest], *, what: str, force: bool = False, dry_run: bool = False
    ) -> list[Manifest]:
        """Apply objects on the server's side; return them as they are then.

        Args:
            objects: what is to be there.
            what: what is being done, for the error.
            force: take over fields that somebody else manages.
            dry_run: change nothing, and return what would be.
        """
        argv = ["apply", "--server-side", f"--field-manager={FIELD_MANAGER}", "--filename=-", "--output=json"]
        argv += ["--force-conflicts"] if force else []
        argv += ["--dry-run=server"] if dry_run else []
        document = json.loads(await self.ask(argv, what=what, stdin=stream(objects)))
        return list(document.get("items", [document]))

    async def remove(self, identities: Iterable[str], *, what: str) -> None:
        """Remove objects, `kind.group/name` each, where they are there; their dependants follow by and by."""
        if named := list(identities):
            await self.ask(["delete", "--ignore-not-found", "--wait=false", *named], what=what)

    async def create(self, manifest: dict[str, Any], *, what: str) -> bool:
        """Create an object; False if there is one of its name."""
        try:
            await self.ask(["create", "--validate=false", "--filename=-"], what=what, stdin=json.dumps(manifest))
        except ClusterError as error:
            if "AlreadyExists" in error.output:
                return False
            raise
        return True

    async def check(self, needed: Sequence[tuple[str, str, str]], *, what: str) -> str:
        """Check that the cluster is there and lets us do what will be done; return whom it takes us for.

        Args:
            needed: verb, API group and resource of each.
            what: what is about to be done, for the error.

        Raises:
            ClusterError: it cannot be reached, the credentials are not accepted, or a permission is missing.
        """
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectRulesReview",
            "spec": {"namespace": self.namespace},
        }
        argv = ["create", "--validate=false", "--filename=-", "--output=json"]
        rules = json.loads(await self.ask(argv, what=what, stdin=json.dumps(review)))["status"]
        who = json.loads(await self.ask(["auth", "whoami", "--output=json"], what=what))
        user = str(who["status"]["userInfo"].get("username", ""))
        missing = [request for request in needed if not _allowed(rules.get("resourceRules") or [], *request)]
        # A server may not know all rules (webhook authorisers): then the work itself has to show.
        if missing and not rules.get("incomplete"):
            raise ClusterError(
                f"{what}: {user} may not do what it needs in namespace {self.namespace}",
                output="\n".join(
                    f"{verb} {resource}{f'.{group}' if group else ''}" for verb, group, resource in missing
                ),
                hint="apply app/deploy/access/deployer.yaml to the namespace, or compare the Role with it",
            )
        # Where there is no such namespace, only what would be created in it is told so.
        await self.ask(["create", "configmap", "slipway-check", "--dry-run=server"], what=what)
        return user

    def _kubectl(self) -> dagger.Container:
        container = (
            dag.container()
            .from_(self.kubectl_image)
            .with_user("0")
            .with_env_variable("HOME", "/tmp")  # noqa: S108 - the container's own
            .with_env_variable("KUBECONFIG", KUBECONFIG_FILE)
            .with_mounted_secret(KUBECONFIG_FILE, self.kubeconfig, mode=0o600)
            .with_env_variable("SLIPWAY_RUN", run_id())
        )
        return container.with_service_binding(SERVER_ALIAS, self.api_server) if self.api_server else container


def _allowed(rules: Sequence[dict[str, Any]], verb: str, group: str, resource: str) -> bool:
    """Whether a rule without resource names covers a request."""

    def covers(values: Sequence[str] | None, wanted: str) -> bool:
        return bool({"*", wanted} & set(values or ()))

    return any(
        covers(rule.get("verbs"), verb)
        and covers(rule.get("apiGroups"), group)
        and covers(rule.get("resources"), resource)
        and not rule.get("resourceNames")
        for rule in rules
    )


def check_environment(name: str) -> None:
    """Refuse a name that no environment can have.

    Raises:
        InvalidInputError: if it is not of the form of a Kubernetes label.
    """
    check_name("environment", name)
    if name == REHEARSAL:
        raise InvalidInputError(
            "a rehearsal has no cluster", hint="name another --environment, or give no --kubeconfig"
        )


def check_deployable(environment: str) -> None:
    """Refuse an environment that is reached by a promotion only.

    Raises:
        InvalidInputError: if it is production.
    """
    if environment == PRODUCTION:
        raise InvalidInputError(
            f"deploy: {PRODUCTION} is reached by a promotion only",
            hint=f"deploy to staging, then: environment --name staging … proof promote --to {PRODUCTION}",
        )
