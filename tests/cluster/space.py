"""A test's namespaces in the control plane: who may deploy there, what is deployed, and what the cluster holds then."""

import copy
import dataclasses
import json
import subprocess
import time
import urllib.error
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagger
import yaml

from pipeline.api.context import PipelineContext
from pipeline.api.deployment import Deployment, Verification
from pipeline.api.environment import Environment
from pipeline.api.release import Release
from pipeline.deploy.target import EnvironmentTarget
from pipeline.kubernetes.manifests import Manifest
from pipeline.slipway import Slipway
from tests.cluster.control_plane import ControlPlane

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "app" / "deploy"
NAME = "tiny"
DEPLOYMENT = f"apps/v1/deployments/{NAME}"
LEASE = f"coordination.k8s.io/v1/leases/slipway-{NAME}"
MERGE = "application/merge-patch+json"
BEHAVIOUR = "test/behaviour"
# Of a rollout that is expected to end by its state, not by its deadline.
SECONDS = 120

Change = Callable[[list[Manifest]], None]


def until(condition: Callable[[], bool], what: str, seconds: float = 30) -> None:
    """Wait until the API server has noticed a change of its configuration, for which it has no event."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        time.sleep(0.1)


def at(context: PipelineContext, *targets: EnvironmentTarget) -> PipelineContext:
    """Return the context of a release with environments configured."""
    return dataclasses.replace(context, settings=dataclasses.replace(context.settings, environments=list(targets)))


@dataclasses.dataclass
class Space:
    """A test's namespaces, one for each environment.

    Args:
        control: the control plane.
        dag: the engine.
        slipway: the module, which requires no signature.
        releases: published before, by name.
        job_pods: the pods of Jobs as the API server returned them, by role; see the fixture `verified`.
        name: what the namespaces' names begin with.
    """

    control: ControlPlane
    dag: dagger.Client
    slipway: Slipway
    releases: dict[str, Release]
    job_pods: dict[str, Manifest] = dataclasses.field(default_factory=dict)
    name: str = dataclasses.field(default_factory=lambda: f"t-{uuid.uuid4().hex[:8]}")

    def add(self, environment: str) -> None:
        """Create an environment's namespace, as docs/kubernetes.md describes it."""
        namespace = self.namespace(environment)
        self.control.request("POST", "/api/v1/namespaces", {"metadata": {"name": namespace}})
        for document in yaml.safe_load_all((DEPLOY / "access" / "deployer.yaml").read_text()):
            self.create(f"{document['apiVersion']}/{document['kind'].lower()}s", document, environment)
        # As the other namespaces' deployer, so that one account promotes from one to the next.
        account = {"kind": "ServiceAccount", "name": "slipway", "namespace": self.namespace("staging")}
        binding = {
            "metadata": {"name": "slipway-staging"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "slipway"},
            "subjects": [account],
        }
        self.create("rbac.authorization.k8s.io/v1/rolebindings", binding, environment)

    def namespace(self, environment: str = "staging") -> str:
        """Return the namespace of an environment."""
        return f"{self.name}-{environment}"

    # Credentials

    @property
    def deployer(self) -> str:
        """The account that deploys, as the cluster names it."""
        return f"system:serviceaccount:{self.namespace()}:slipway"

    def token(self) -> str:
        """Return a token of the deployer."""
        answer = self.create("v1/serviceaccounts/slipway/token", {"spec": {"expirationSeconds": 3600}})
        return str(answer["status"]["token"])

    def expired_token(self) -> str:
        """Return a token of the deployer that was valid until the year began, signed by the cluster's own key."""
        account = self.get("v1/serviceaccounts/slipway")["metadata"]
        claims = {
            "iss": "https://kubernetes.default.svc",
            "aud": ["https://kubernetes.default.svc"],
            "sub": self.deployer,
            "iat": 1767220000,
            "nbf": 1767220000,
            "exp": 1767225600,  # 2026-01-01
            "kubernetes.io": {
                "namespace": self.namespace(),
                "serviceaccount": {"name": "slipway", "uid": account["uid"]},
            },
        }
        return self.control.signed(claims)

    def revoked_token(self) -> str:
        """Return a token of the deployer, whom docs/kubernetes.md then lets delete and create again."""
        token = self.token()
        self.request("DELETE", "v1/serviceaccounts/slipway")
        self.create("v1/serviceaccounts", {"metadata": {"name": "slipway"}})
        return token

    def kubeconfig(self, text: str = "") -> dagger.Secret:
        """Return a kubeconfig as a secret; the deployer's by default."""
        return self.dag.set_secret(f"kubeconfig-{uuid.uuid4().hex}", text or self.control.kubeconfig(self.token()))

    def api_server(self, port: int = 0) -> dagger.Service:
        """Return the API server as a service of the session."""
        backend = port or self.control.port
        return self.dag.host().service([dagger.PortForward(backend=backend, frontend=self.control.port)])

    # What Slipway does

    async def target(self, environment: str = "staging", **options: Any) -> EnvironmentTarget:
        """Return an environment as `with-environment` configures it; the options are those of that function."""
        known: dict[str, Any] = {"namespace": self.namespace(environment), "api_server": self.api_server()}
        for name, default in (("kubeconfig", self.kubeconfig), ("manifests", self.manifests)):
            if name not in options:
                known[name] = default()
        configured = await self.slipway.with_environment(environment, **known | options)
        return configured.configured.environment(environment)

    async def environment(self, name: str = "staging", **options: Any) -> Environment:
        """Return an environment of the service."""
        return await with_targets(self.slipway, await self.target(name, **options)).environment(name)

    async def history(self, name: str = "staging") -> list[dict[str, Any]]:
        """Return the runs of an environment, oldest first."""
        return list(json.loads(await (await self.environment(name)).history_json()))

    async def deploy(
        self,
        release: str | Release = "good",
        behaviour: str = "",
        *,
        to: str = "staging",
        change: Change | None = None,
        rollout: dict[str, Any] | None = None,
        **options: Any,
    ) -> Deployment:
        """Deploy a release.

        Args:
            release: itself, or its name.
            behaviour: of the pods: see stages.py.
            to: the environment.
            change: made to the manifests.
            rollout: options of `deploy`.
            options: of `with-environment`.
        """
        target = await self.target(to, **{"manifests": self.manifests(behaviour, change)} | options)
        deployed = self.releases[release] if isinstance(release, str) else release
        bound = dataclasses.replace(deployed, context=at(deployed.context, target))
        return await bound.deploy(to, **{"seconds": SECONDS} | (rollout or {}))

    async def ship(self, release: str | Release = "good", behaviour: str = "", **options: Any) -> Verification:
        """Deploy a release and verify it; further arguments are those of `deploy`."""
        return await (await self.deploy(release, behaviour, **options)).smoke(stable_seconds=1)

    def manifests(self, behaviour: str = "", change: Change | None = None) -> dagger.Directory:
        """Return the sample service's manifests for this test's service, with pods of a behaviour."""
        rendered = subprocess.run(
            ["kubectl", "kustomize", str(DEPLOY / "overlays" / "staging")], capture_output=True, text=True, check=True
        )
        documents = list(yaml.safe_load_all(rendered.stdout.replace("harbour", NAME)))
        for document in documents:
            if document["kind"] == "Deployment":
                document["spec"] |= {"minReadySeconds": 1, "replicas": 2}
                annotations = document["spec"]["template"]["metadata"].setdefault("annotations", {})
                annotations[BEHAVIOUR] = behaviour or "good"
        if change:
            change(documents)
        kustomization = {
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            "resources": ["all.yaml"],
        }
        return (
            self.dag.directory()
            .with_new_file("all.yaml", yaml.safe_dump_all(documents))
            .with_new_file("kustomization.yaml", yaml.safe_dump(kustomization))
        )

    # What the cluster holds

    def request(
        self, method: str, path: str, body: object = None, environment: str = "staging", kind: str = "application/json"
    ) -> dict[str, Any]:
        """Ask the API server as its administrator, for `group/version/resources[/name]` in a namespace."""
        group, rest = path.split("/", 1) if path.startswith("v1/") else split_group(path)
        prefix = "/api" if group == "v1" else "/apis"
        return self.control.request(
            method, f"{prefix}/{group}/namespaces/{self.namespace(environment)}/{rest}", body, kind
        )

    def create(self, path: str, body: object, environment: str = "staging") -> dict[str, Any]:
        """Create an object."""
        return self.request("POST", path, body, environment)

    def patch(self, path: str, body: object) -> dict[str, Any]:
        """Change an object."""
        return self.request("PATCH", path, body, kind=MERGE)

    def get(self, path: str, environment: str = "staging") -> dict[str, Any]:
        """Return an object or list of a namespace, such as `apps/v1/deployments/tiny`."""
        return self.request("GET", path, environment=environment)

    def names(self, path: str, environment: str = "staging") -> list[str]:
        """Return the names in a list."""
        return [item["metadata"]["name"] for item in self.get(path, environment)["items"]]

    def live(self, environment: str = "staging") -> str:
        """Return the image of the live Deployment, or an empty string."""
        items = self.get("apps/v1/deployments", environment)["items"]
        return str(items[0]["spec"]["template"]["spec"]["containers"][0]["image"]) if items else ""

    @property
    def is_good(self) -> bool:
        """Whether the release `good` runs in staging as `verified` leaves it, and nothing else."""
        try:
            live = self.get(DEPLOYMENT)
        except urllib.error.HTTPError:
            return False
        return (
            self.live() == self.releases["good"].reference
            and live["spec"]["template"]["metadata"]["annotations"][BEHAVIOUR] == "good"
            and live["spec"]["replicas"] == live["status"].get("availableReplicas") == 2
            and self.names("batch/v1/jobs") == self.names("v1/resourcequotas") == []
            and not self.get(LEASE)["spec"].get("holderIdentity")
        )


def with_targets(slipway: Slipway, *targets: EnvironmentTarget) -> Slipway:
    """Return the module with environments configured."""
    other = copy.copy(slipway)
    other.configured = dataclasses.replace(slipway.configured, environments=list(targets))
    return other


def split_group(path: str) -> tuple[str, str]:
    """Split `group/version/rest` after the version."""
    group, version, rest = path.split("/", 2)
    return f"{group}/{version}", rest
