"""A control plane for the test run, namespaces for each test, and releases to deploy there."""

import contextlib
import subprocess
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from typing import Any

import dagger
import pytest

from pipeline import images
from pipeline.api.release import Release
from pipeline.core import retry
from pipeline.deploy.context import STABLE_SECONDS, Timing
from pipeline.images import Images
from pipeline.kubernetes import lease
from pipeline.kubernetes.job_manifests import ROLE_LABEL
from pipeline.kubernetes.kubectl import KubectlClient
from pipeline.kubernetes.manifests import Manifest
from pipeline.scan.trivy import SBOM_FILES
from pipeline.signing.sign import SigningRequest, sign
from pipeline.slipway import Slipway
from pipeline.source.commit import Commit
from tests.cluster import control_plane
from tests.cluster.control_plane import ControlPlane
from tests.cluster.space import NAME, ROOT, Space
from tests.cluster.stages import stages
from tests.conftest import KeyPair

COMMITS = {"good": "a" * 40, "better": "b" * 40, "bad": "c" * 40, "migrating": "d" * 40}
MIGRATING = {"good", "migrating"}
Busy = Callable[[int], dagger.Service]


@pytest.fixture(autouse=True)
def _short_intervals(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the module look more often, and retry sooner, than it does for its users."""

    def timing(*, stable_seconds: float, **deadlines: float) -> Timing:
        stable = 1 if stable_seconds == STABLE_SECONDS else stable_seconds  # `ship` has no option for it
        intervals: dict[str, Any] = {"poll_seconds": 0.5, "job_poll_seconds": 0.3, "no_pod_seconds": 1}
        return Timing(stable_seconds=stable, **deadlines | intervals)

    monkeypatch.setattr("pipeline.deploy.kubernetes_deployer.Timing", timing)
    monkeypatch.setattr(lease, "ASK_SECONDS", 1)
    monkeypatch.setattr(retry, "FIRST_PAUSE", 0.1)


@pytest.fixture(scope="session")
def control(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A running Kubernetes control plane."""
    if reason := control_plane.missing():
        pytest.skip(reason)
    plane = ControlPlane(tmp_path_factory.mktemp("kubernetes") / "plane", control_plane.build(), stages())
    try:
        plane.start()
        yield plane
    finally:
        plane.stop()


@pytest.fixture(scope="session")
async def registry(dag: dagger.Client) -> dagger.Service:
    """A registry with the releases of the whole run."""
    container = (
        dag.container().from_(images.REGISTRY).with_env_variable("RUN", uuid.uuid4().hex).with_exposed_port(5000)
    )
    return await container.as_service(use_entrypoint=True).start()


@pytest.fixture(scope="session")
def service(dag: dagger.Client) -> dagger.Directory:
    """The source of a service called `tiny`."""
    return (
        dag.directory()
        .with_new_file("service/package.json", f'{{"name": "{NAME}", "scripts": {{}}}}')
        .with_new_file("service/package-lock.json", "{}")
    )


@pytest.fixture(scope="session")
async def slipway(service: dagger.Directory, registry: dagger.Service) -> Slipway:
    """The module for that service. It requires no signature: most tests are about the cluster alone."""
    module = await Slipway(source=service, path="service").with_verification(allow_unsigned=True)
    return module.with_registry(f"localhost:5000/{NAME}", service=registry)


@pytest.fixture(scope="session")
async def strict(service: dagger.Directory, registry: dagger.Service, keys: KeyPair) -> Slipway:
    """The module for that service. It requires a signature by a key."""
    source = service.with_new_file("service/cosign.pub", keys.public_key)
    module = await Slipway(source=source, path="service").with_verification(repository=keys.policy().repository)
    return module.with_registry(f"localhost:5000/{NAME}", service=registry)


@pytest.fixture(scope="session")
async def releases(dag: dagger.Client, registry: dagger.Service, slipway: Slipway) -> dict[str, Release]:
    """Published releases, by name: the same service, other commits. Two of them have migrations."""
    published = {}
    for name, commit in COMMITS.items():
        image = (
            dag.container()
            .from_(images.NODE)
            .with_new_file("/app/dist/migrate.js" if name in MIGRATING else "/app/dist/main.js", "")
            .with_workdir("/app")
            .with_label("org.opencontainers.image.revision", commit)
            .with_label("org.opencontainers.image.created", "2026-01-02T03:04:05Z")
        )
        reference = await image.publish(f"localhost:5000/{NAME}:{name}", registry_service=registry)
        published[name] = await slipway.release(reference)
    return published


@pytest.fixture(scope="session")
async def signed(dag: dagger.Client, releases: dict[str, Release], strict: Slipway, keys: KeyPair) -> Release:
    """The release `better`, signed, as the module reads it that requires a signature."""
    release = await strict.release(releases["better"].reference)
    request = SigningRequest(
        registry=release.registry,
        digest=release.digest,
        commit=Commit(sha=COMMITS["better"], path="service"),
        bases=[images.NODE],
        platforms=["linux/amd64"],
        evidence=dag.directory().with_new_file(SBOM_FILES["cyclonedx"], '{"bomFormat": "CycloneDX"}'),
    )
    await sign(request, images=Images(), signer=keys.signer, policy=keys.policy())
    return release


@pytest.fixture
def space(control: ControlPlane, dag: dagger.Client, slipway: Slipway, releases: dict[str, Release]) -> Space:
    """The test's namespaces; staging is there, and empty."""
    empty = Space(control, dag, slipway, releases)
    empty.add("staging")
    return empty


@pytest.fixture(scope="session")
def idle() -> list[Space]:
    """The namespaces in which `good` is verified, and which no test uses at present."""
    return []


@pytest.fixture
async def verified(
    control: ControlPlane,
    dag: dagger.Client,
    slipway: Slipway,
    releases: dict[str, Release],
    idle: list[Space],
) -> AsyncIterator[Space]:
    """Namespaces with a staging in which the first run verified the release `good`, which runs there.

    Later tests use them again if `good` runs at the end of this one: then there are further runs in the history.
    """
    if idle:
        ready = idle.pop()
    else:
        ready = Space(control, dag, slipway, releases)
        ready.add("staging")
        with pods_recorded(ready.job_pods):
            await ready.ship()
    yield ready
    if ready.is_good:
        idle.append(ready)


@contextlib.contextmanager
def pods_recorded(pods: dict[str, Manifest]) -> Iterator[None]:
    """Keep the pods of Jobs that the API server returns to the module during the body, by role."""
    real = KubectlClient.find

    async def find(
        client: KubectlClient,
        kinds: Sequence[str],
        *,
        labels: Mapping[str, str] | None = None,
        fields: Mapping[str, str] | None = None,
    ) -> list[Manifest]:
        items = await real(client, kinds, labels=labels, fields=fields)
        of_jobs = [item for item in items if ROLE_LABEL in (item["metadata"].get("labels") or {})]
        pods.update({item["metadata"]["labels"][ROLE_LABEL]: item for item in of_jobs if item["kind"] == "Pod"})
        return items

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(KubectlClient, "find", find)
        yield


@pytest.fixture
def busy(space: Space) -> Iterator[Busy]:
    """Return the API server behind a proxy that answers 429 and 500 to every third request, a number of times."""
    proxies = []

    def start(times: int) -> dagger.Service:
        script = ROOT / "tests" / "fixtures" / "busy-api-server.mjs"
        argv = ["node", str(script), str(space.control.port), str(times), str(space.control.folder / "certificates")]
        proxy = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
        proxies.append(proxy)
        assert proxy.stdout
        return space.api_server(int(proxy.stdout.readline()))

    yield start
    for proxy in proxies:
        proxy.kill()
        proxy.wait()
