"""Deploying a release to a cluster: its manifests, its signature, and only then the rollout."""

from typing import TYPE_CHECKING, Any, cast

import pytest
import yaml

from pipeline.core.errors import (
    InvalidInputError,
    RolloutError,
    StageFailedError,
    UnsignedError,
    VerificationFailedError,
)
from pipeline.deploy import kubernetes_deployer, kustomize, policy
from pipeline.deploy.context import DeployContext, Timing
from pipeline.deploy.kubernetes_deployer import (
    KubernetesDeployer,
    RolloutOptions,
    context_of,
    has_migrations,
    manifests_of,
)
from pipeline.deploy.target import EnvironmentTarget
from pipeline.images import Images
from pipeline.kubernetes.cluster import Cluster
from pipeline.kubernetes.kubectl import KubectlClient
from pipeline.kubernetes.manifests import Manifest
from pipeline.oci.registry import Registry
from pipeline.signing.policy import VerificationPolicy
from pipeline.source.project import Project
from tests.fakes import tiny
from tests.fakes.cluster import ADDRESS, FakeClient, FakeServer
from tests.fakes.engine import FakeEngine
from tests.fakes.tiny import RELEASES, history
from tests.fakes.virtual_time import in_virtual_time

if TYPE_CHECKING:
    import dagger

IMAGES = Images(kubectl="registry.example.com/kubectl@sha256:x", tool=tiny.TOOL)
REGISTRY = Registry(address="ghcr.io/org/tiny", tool_image=tiny.TOOL)
POLICY = VerificationPolicy(public_key="a key")
UNSIGNED = "ghcr.io/org/tiny@sha256:… has no signature"


class Folder:
    """A directory of the engine, with some paths."""

    def __init__(self, *paths: str) -> None:
        self.paths = paths

    async def exists(self, path: str, **_: Any) -> bool:
        return any(known == path or known.startswith(f"{path}/") for known in self.paths)

    def directory(self, path: str) -> "Folder":
        return Folder(*(known.removeprefix(f"{path}/") for known in self.paths if known.startswith(f"{path}/")))

    async def entries(self) -> list[str]:
        first = {known.partition("/")[0] + ("/" if "/" in known else "") for known in self.paths}
        return sorted(first)


def target(manifests: Folder | None = None, url: str = "") -> EnvironmentTarget:
    secret = cast("dagger.Secret", object())
    return EnvironmentTarget(
        name="staging",
        cluster=Cluster(kubeconfig=secret, server=ADDRESS, namespace=""),
        url=url,
        manifests=cast("dagger.Directory | None", manifests),
    )


def project(*paths: str) -> Project:
    return Project(name="tiny", path="service", directory=cast("dagger.Directory", Folder(*paths)))


class House:
    """A deployer of a cluster in memory, and what it did."""

    def __init__(self, patch: pytest.MonkeyPatch, signature: str | Exception = "") -> None:
        self.fake = FakeServer()
        self.signature = signature
        self.verified: list[tuple[Registry, str, str, Images, VerificationPolicy]] = []
        self.options: list[RolloutOptions | None] = []
        patch.setattr(kubernetes_deployer, "verify_for_deploy", self.verify)
        patch.setattr(kubernetes_deployer, "context_of", self.context_of)

    async def verify(
        self, registry: Registry, digest: str, commit: str, *, images: Images, policy: VerificationPolicy
    ) -> str:
        self.verified.append((registry, digest, commit, images, policy))
        if isinstance(self.signature, Exception):
            raise self.signature
        return self.signature

    def context_of(
        self, target: EnvironmentTarget, service: str, images: Images, options: RolloutOptions | None = None
    ) -> DeployContext:
        self.options.append(options)
        return DeployContext(target.name, service, FakeClient(self.fake), images.tool, Timing(rollout_seconds=60))

    def deployer(self, objects: list[Manifest] | None = None, **fields: Any) -> KubernetesDeployer:
        known: dict[str, Any] = {
            "target": target(url="https://staging.example.com"),
            "project": project(),
            "images": IMAGES,
            "registry": REGISTRY,
            "policy": POLICY,
            "request": tiny.request(),
            "options": RolloutOptions(),
            "manifests": tiny.manifests() if objects is None else objects,
        }
        return KubernetesDeployer(**known | fields)


@in_virtual_time
async def test_a_release_is_verified_and_rolled_out(monkeypatch: pytest.MonkeyPatch):
    house = House(monkeypatch)
    deployer = house.deployer(options=RolloutOptions(seconds=7))
    assert await deployer.deploy(RELEASES["good"], "staging") == "https://staging.example.com"
    digest = RELEASES["good"].partition("@")[2]
    assert house.verified == [(REGISTRY, digest, tiny.COMMITS["good"], IMAGES, POLICY)]
    assert house.options == [RolloutOptions(seconds=7)]
    [record] = await history(house.fake)
    assert (house.fake.image(), record.run, record.unsigned) == (RELEASES["good"], deployer.run, "")


@pytest.mark.parametrize("error", [UnsignedError("no signature"), VerificationFailedError("another signer")])
@in_virtual_time
async def test_nothing_is_deployed_that_is_not_verified(monkeypatch: pytest.MonkeyPatch, error: Exception):
    house = House(monkeypatch, error)
    with pytest.raises(type(error), match="deploy to staging: "):
        await house.deployer().deploy(RELEASES["good"], "staging")
    assert (house.options, house.fake.store.objects) == ([], {})


@in_virtual_time
async def test_why_a_release_is_deployed_without_a_signature_is_recorded(monkeypatch: pytest.MonkeyPatch):
    house = House(monkeypatch, UNSIGNED)
    deployer = house.deployer()
    await deployer.deploy(RELEASES["good"], "staging")
    assert (deployer.unsigned, (await history(house.fake))[0].unsigned) == (UNSIGNED, UNSIGNED)


@in_virtual_time
async def test_the_deployment_has_restored_the_last_release_itself(monkeypatch: pytest.MonkeyPatch):
    house = House(monkeypatch)
    deployer = house.deployer(tiny.manifests("never-ready"))
    with pytest.raises(RolloutError, match="removed what this run created"):
        await deployer.deploy(RELEASES["good"], "staging")
    before = dict(house.fake.store.objects)
    assert await deployer.rollback("staging") == "staging was restored by the deployment itself"
    assert house.fake.store.objects == before


@pytest.mark.parametrize("force", [True, False])
@in_virtual_time
async def test_fields_of_another_manager_are_taken_over_only_if_asked_for(
    monkeypatch: pytest.MonkeyPatch, *, force: bool
):
    house = House(monkeypatch)
    await house.deployer().deploy(RELEASES["good"], "staging")
    house.fake.edit("deployment.apps/tiny", "spec", "replicas", value=5)
    deployer = house.deployer(options=RolloutOptions(force_conflicts=force), request=tiny.request("better"))
    if force:
        await deployer.deploy(RELEASES["better"], "staging")
    else:
        with pytest.raises(Exception, match="another manager owns fields"):
            await deployer.deploy(RELEASES["better"], "staging")
    assert house.fake.image() == RELEASES["better" if force else "good"]


def test_a_rollout_needs_time():
    with pytest.raises(InvalidInputError, match="--seconds 0"):
        RolloutOptions(seconds=0)


def test_the_context_has_the_clusters_client_and_the_deadlines():
    context = context_of(target(), "tiny", IMAGES, RolloutOptions(seconds=1, wait=2, stable_seconds=3))
    assert isinstance(context.client, KubectlClient)
    assert (context.client.namespace, context.client.image) == ("tiny-staging", IMAGES.kubectl)
    assert (context.environment, context.service, context.tool_image) == ("staging", "tiny", tiny.TOOL)
    timing = context.timing
    assert (timing.rollout_seconds, timing.lease_wait_seconds, timing.stable_seconds) == (1, 2, 3)
    assert context_of(target(), "tiny", IMAGES).timing == Timing()


@pytest.mark.parametrize("exists", [True, False])
@in_virtual_time
async def test_an_image_with_a_migration_program_has_migrations(*, exists: bool):
    image = Folder(*(["dist/migrate.js"] if exists else []))
    assert await has_migrations(cast("dagger.Container", image)) is exists


# Manifests


@pytest.fixture
def rendered(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The commands that render manifests; here each renders the ones of the tiny service."""
    commands: list[list[str]] = []

    async def run(_: object, argv: list[str]) -> str:
        commands.append(argv)
        return str(yaml.safe_dump_all(tiny.manifests()))

    monkeypatch.setattr(kustomize, "dag", FakeEngine())
    monkeypatch.setattr(kustomize, "run", run)
    monkeypatch.setattr(policy, "check", lambda *_: None)
    return commands


@in_virtual_time
async def test_manifests_that_were_not_rendered_before_are_those_of_the_service(
    monkeypatch: pytest.MonkeyPatch, rendered: list[list[str]]
):
    house = House(monkeypatch)
    service = project("deploy/overlays/staging/kustomization.yaml")
    deployer = house.deployer(project=service, manifests=None)
    await deployer.deploy(RELEASES["good"], "staging")
    assert rendered == [["kubectl", "kustomize", "/manifests/overlays/staging"]]
    assert house.fake.image() == RELEASES["good"]


@pytest.mark.parametrize(
    ("path", "chosen"),
    [
        ("overlays/staging/kustomization.yaml", "overlays/staging"),
        ("staging/kustomization.yml", "staging"),
        ("./Kustomization", "."),
    ],
)
@in_virtual_time
async def test_manifests_of_the_target_come_before_those_of_the_service(
    rendered: list[list[str]], path: str, chosen: str
):
    objects = await manifests_of(target(Folder(path)), project("deploy/kustomization.yaml"), IMAGES)
    assert objects == tiny.manifests()
    assert rendered == [["kubectl", "kustomize", f"/manifests/{chosen}"]]


@in_virtual_time
async def test_a_service_without_manifests_is_reported():
    with pytest.raises(InvalidInputError, match="staging: the service has no manifests"):
        await manifests_of(target(), project(), IMAGES)
    with pytest.raises(InvalidInputError, match="manifests for staging: there is no kustomization"):
        await manifests_of(target(Folder("overlays/production/kustomization.yaml")), project(), IMAGES)


@in_virtual_time
async def test_manifests_that_cannot_be_rendered_show_kubectls_output(
    monkeypatch: pytest.MonkeyPatch, rendered: list[list[str]]
):
    async def run(_: object, argv: list[str]) -> str:
        raise StageFailedError("`kubectl kustomize` exited with 1", output="error: no such file")

    monkeypatch.setattr(kustomize, "run", run)
    with pytest.raises(InvalidInputError, match="manifests for staging: overlays/staging cannot be rendered") as caught:
        await manifests_of(target(Folder("overlays/staging/kustomization.yaml")), project(), IMAGES)
    assert caught.value.output == "error: no such file"


@in_virtual_time
async def test_the_environments_of_a_folder_are_its_overlays():
    folder = cast("dagger.Directory", Folder("overlays/staging/k", "overlays/production/k", "overlays/README.md"))
    assert await kustomize.environments(folder) == ["production", "staging"]
    assert await kustomize.environments(cast("dagger.Directory", Folder("kustomization.yaml"))) == []
