"""A control plane for the test run, a namespace for each test, and releases to deploy there."""

import copy
import dataclasses
import importlib.util
import json
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import dagger
import pytest
import yaml

from pipeline import images
from pipeline.api.context import PipelineContext
from pipeline.api.deployment import Verification
from pipeline.api.environment import Environment
from pipeline.api.release import Release
from pipeline.deploy.target import EnvironmentTarget
from pipeline.images import Images
from pipeline.scan.trivy import SBOM_FILES
from pipeline.signing.sign import SigningRequest, sign
from pipeline.slipway import Slipway
from pipeline.source.commit import Commit

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
DEPLOY = ROOT / "app" / "deploy"
NAME = "tiny"
SHA = {"good": "a" * 40, "better": "b" * 40, "bad": "c" * 40, "unsigned": "d" * 40}


def _load(name: str) -> ModuleType:
    """Import a module beside this file: tests are no package."""
    spec = importlib.util.spec_from_file_location(name, HERE / f"{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


control_plane = _load("control_plane")
stages = _load("stages")


@pytest.fixture(scope="session")
def control(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A running Kubernetes control plane."""
    if reason := control_plane.missing():
        pytest.skip(reason)
    plane = control_plane.ControlPlane(
        tmp_path_factory.mktemp("kubernetes") / "plane", control_plane.build(), stages.stages()
    )
    try:
        plane.start()
        yield plane
    finally:
        plane.stop()


@dataclass
class Space:
    """A test's namespaces, and who may deploy there."""

    control: Any
    dag: dagger.Client
    slipway: Slipway
    folder: Path
    name: str = field(default_factory=lambda: f"t-{uuid.uuid4().hex[:8]}")

    def add(self, environment: str) -> None:
        """Make an environment's namespace, as docs/kubernetes.md tells."""
        namespace = f"{self.name}-{environment}"
        self.control.request("POST", "/api/v1/namespaces", {"metadata": {"name": namespace}})
        for document in yaml.safe_load_all((DEPLOY / "access" / "deployer.yaml").read_text()):
            group = document["apiVersion"]
            prefix = f"/apis/{group}" if "/" in group else f"/api/{group}"
            path = f"{prefix}/namespaces/{namespace}/{document['kind'].lower()}s"
            self.control.request("POST", path, document)
        # As the other namespaces' deployer, so that one account promotes from one to the next.
        binding = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/rolebindings"
        self.control.request(
            "POST",
            binding,
            {
                "metadata": {"name": "slipway-staging"},
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "slipway"},
                "subjects": [{"kind": "ServiceAccount", "name": "slipway", "namespace": f"{self.name}-staging"}],
            },
        )

    @property
    def deployer(self) -> str:
        """The account that deploys, as the cluster calls it."""
        return f"system:serviceaccount:{self.name}-staging:slipway"

    def token(self, environment: str = "staging", seconds: int = 3600) -> str:
        """Return a token of the deployer."""
        path = f"/api/v1/namespaces/{self.name}-{environment}/serviceaccounts/slipway/token"
        answer = self.control.request("POST", path, {"spec": {"expirationSeconds": seconds}})
        return str(answer["status"]["token"])

    def expired_token(self) -> str:
        """Return a token of the deployer that was good until the year began: signed, as the cluster would."""
        account = self.get("v1/serviceaccounts/slipway")["metadata"]
        namespace = f"{self.name}-staging"
        claims = {
            "iss": "https://kubernetes.default.svc",
            "aud": ["https://kubernetes.default.svc"],
            "sub": f"system:serviceaccount:{namespace}:slipway",
            "iat": 1767220000,
            "nbf": 1767220000,
            "exp": 1767225600,  # 2026-01-01
            "kubernetes.io": {"namespace": namespace, "serviceaccount": {"name": "slipway", "uid": account["uid"]}},
        }
        return str(self.control.signed(claims))

    def kubeconfig(self, text: str = "") -> dagger.Secret:
        """Return a kubeconfig as a secret; the deployer's by default."""
        return self.dag.set_secret(f"kubeconfig-{uuid.uuid4().hex}", text or self.control.kubeconfig(self.token()))

    async def target(self, environment: str = "staging", **options: Any) -> EnvironmentTarget:
        """Return an environment as `with-environment` configures it; the options are those of that function."""
        known: dict[str, Any] = {
            "kubeconfig": self.kubeconfig(),
            "namespace": f"{self.name}-{environment}",
            "api_server": self.api_server(),
            "manifests": self.manifests(),
        }
        configured = await self.slipway.with_environment(environment, **known | options)
        return configured.configured.environment(environment)

    def api_server(self, port: int = 0) -> dagger.Service:
        """Return the API server as a service of the session."""
        backend = port or self.control.port
        return self.dag.host().service([dagger.PortForward(backend=backend, frontend=self.control.port)])

    def manifests(
        self, behaviour: str = "", change: Callable[[list[dict[str, Any]]], None] | None = None
    ) -> dagger.Directory:
        """Return the sample service's manifests for this test's service; pods behave as told."""
        rendered = subprocess.run(
            ["kubectl", "kustomize", str(DEPLOY / "overlays" / "staging")], capture_output=True, text=True, check=True
        )
        documents = list(yaml.safe_load_all(rendered.stdout.replace("harbour", NAME)))
        for document in documents:
            if document["kind"] == "Deployment":
                document["spec"]["minReadySeconds"] = 1
                document["spec"]["replicas"] = 2
                annotations = document["spec"]["template"]["metadata"].setdefault("annotations", {})
                annotations["test/behaviour"] = behaviour or "good"
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

    # What is in the cluster

    def get(self, path: str, environment: str = "staging") -> Any:
        """Return an object or list of a namespace, such as `apps/v1/deployments/tiny`."""
        group, rest = (
            path.split("/", 1) if path.startswith("v1/") else ("/".join(path.split("/")[:2]), path.split("/", 2)[2])
        )
        prefix = "/api" if group == "v1" else "/apis"
        return self.control.request("GET", f"{prefix}/{group}/namespaces/{self.name}-{environment}/{rest}")

    def names(self, path: str, environment: str = "staging") -> list[str]:
        """Return the names in a list."""
        return [item["metadata"]["name"] for item in self.get(path, environment)["items"]]

    def live(self, environment: str = "staging") -> str:
        """Return the image of the live Deployment, or an empty string."""
        items = self.get("apps/v1/deployments", environment)["items"]
        return str(items[0]["spec"]["template"]["spec"]["containers"][0]["image"]) if items else ""


@pytest.fixture
def space(control: Any, dag: dagger.Client, slipway: Slipway, tmp_path: Path) -> Space:
    """The test's namespaces; staging is there."""
    made = Space(control, dag, slipway, tmp_path)
    made.add("staging")
    return made


@pytest.fixture(scope="session")
async def registry(dag: dagger.Client) -> dagger.Service:
    """A registry with the releases of the whole run."""
    container = (
        dag.container().from_(images.REGISTRY).with_env_variable("RUN", uuid.uuid4().hex).with_exposed_port(5000)
    )
    return await container.as_service(use_entrypoint=True).start()


@pytest.fixture(scope="session")
async def slipway(dag: dagger.Client, keys: Any, registry: dagger.Service) -> Slipway:
    """The module for a service that is called `tiny`, and trusts one key."""
    source = (
        dag.directory()
        .with_new_file("service/package.json", f'{{"name": "{NAME}", "scripts": {{}}}}')
        .with_new_file("service/package-lock.json", "{}")
        .with_new_file("service/cosign.pub", keys.public_key)
    )
    configured = await Slipway(source=source, path="service").with_verification(repository=keys.policy().repository)
    return configured.with_registry(f"localhost:5000/{NAME}", service=registry)


@pytest.fixture(scope="session")
async def releases(dag: dagger.Client, registry: dagger.Service, slipway: Slipway, keys: Any) -> dict[str, Release]:
    """Published releases, by name: same service, other commits. All are signed but `unsigned`."""
    found = {}
    for name, sha in SHA.items():
        image = (
            dag.container()
            .from_(images.NODE)
            .with_new_file("/app/dist/migrate.js", "")
            .with_workdir("/app")
            .with_label("org.opencontainers.image.revision", sha)
            .with_label("org.opencontainers.image.created", "2026-01-02T03:04:05Z")
        )
        reference = await image.publish(f"localhost:5000/{NAME}:{name}", registry_service=registry)
        found[name] = await slipway.release(reference)
        if name != "unsigned":
            request = SigningRequest(
                registry=found[name].registry,
                digest=found[name].digest,
                commit=Commit(sha=sha, path="service"),
                bases=[images.NODE],
                platforms=["linux/amd64"],
                evidence=dag.directory().with_new_file(SBOM_FILES["cyclonedx"], '{"bomFormat": "CycloneDX"}'),
            )
            request = SigningRequest(
                registry=found[name].registry,
                digest=found[name].digest,
                commit=Commit(sha=sha, path="service"),
                bases=[images.NODE],
                platforms=["linux/amd64"],
                evidence=dag.directory().with_new_file(SBOM_FILES["cyclonedx"], '{"bomFormat": "CycloneDX"}'),
            )
            await sign(request, images=Images(), signer=keys.signer, policy=keys.policy())
    return found


@pytest.fixture
def environment(space: Space) -> Callable[..., Any]:
    """Return an environment of the service."""

    async def read(name: str = "staging", **options: Any) -> Environment:
        return await with_targets(space.slipway, await space.target(name, **options)).environment(name)

    return read


def with_targets(slipway: Slipway, *targets: EnvironmentTarget) -> Slipway:
    """Return the module with environments."""
    other = copy.copy(slipway)
    other.configured = dataclasses.replace(slipway.configured, environments=list(targets))
    return other


def of(context: PipelineContext, *targets: EnvironmentTarget, allow_unsigned: bool = False) -> PipelineContext:
    """Return the context with environments, and with a policy that allows unsigned releases if asked to."""
    policy = dataclasses.replace(context.settings.verification, allow_unsigned=allow_unsigned)
    settings = dataclasses.replace(context.settings, environments=list(targets), verification=policy)
    return dataclasses.replace(context, settings=settings)


@pytest.fixture
def deploy(space: Any, releases: dict[str, Release]) -> Callable[..., Any]:
    """Deploy a release: `deploy("good", "crash-loop", to="staging", …)`; options are those of `with-environment`."""

    async def run(
        name: str = "good",
        behaviour: str = "",
        *,
        to: str = "staging",
        seconds: int = 40,
        wait: int = 20,
        allow_unsigned: bool = False,
        **options: Any,
    ) -> Any:
        target = await space.target(to, **{"manifests": space.manifests(behaviour)} | options)
        release = releases[name]
        context = of(release.context, target, allow_unsigned=allow_unsigned)
        return await dataclasses.replace(release, context=context).deploy(to, seconds=seconds, wait=wait)

    return run


@pytest.fixture
def ship(deploy: Callable[..., Any]) -> Callable[..., Any]:
    """Deploy a release and verify it."""

    async def run(*arguments: str, **named: Any) -> Any:
        return await (await deploy(*arguments, **named)).smoke(stable_seconds=2)

    return run


@pytest.fixture
def promote(space: Any) -> Callable[..., Any]:
    """Promote a verified release to production."""

    async def run(verification: Verification, *, approved_by: str = "Ada", allow_unsigned: bool = False) -> Any:
        targets = [await space.target("staging"), await space.target("production")]
        context = of(verification.context, *targets, allow_unsigned=allow_unsigned)
        promotable = dataclasses.replace(verification, context=context)
        return await promotable.promote("production", approved_by, seconds=40, wait=20)

    return run


@pytest.fixture
def history(environment: Callable[..., Any]) -> Callable[..., Any]:
    """Return the runs of an environment, oldest first."""

    async def read(name: str = "staging") -> list[dict[str, Any]]:
        return list(json.loads(await (await environment(name)).history_json()))

    return read


@pytest.fixture
def busy(space: Space, tmp_path: Path) -> Iterator[Callable[[int], dagger.Service]]:
    """Return the API server behind a door that answers 429 and 500 to every fifth request, a number of times."""
    doors = []

    def open_door(times: int) -> dagger.Service:
        door = subprocess.Popen(
            ["node", str(ROOT / "tests" / "fixtures" / "busy-api-server.mjs"), str(space.control.port), str(times),
             str(space.control.folder / "certificates")],
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        doors.append(door)
        assert door.stdout
        return space.api_server(int(door.stdout.readline()))

    yield open_door
    for door in doors:
        door.kill()
        door.wait()
