"""A client that runs cosign on one release, in a container that reaches the release's registry."""

import base64
import dataclasses
import json
from collections.abc import Sequence

import dagger
from dagger import dag

from pipeline.core.execution import run, run_id, with_run_id
from pipeline.images import Images
from pipeline.oci.references import Repository
from pipeline.oci.registry import SERVICE_ALIAS, Registry

BINARY = "/ko-app/cosign"
DOCKER_CONFIG = "/run/docker"
DOCKER_HUB = {"docker.io", "index.docker.io", "registry-1.docker.io"}
COMMAND_SECONDS = 300


@dataclasses.dataclass(frozen=True, slots=True)
class CosignClient:
    """Cosign and one release.

    Args:
        container: has cosign and the registry's credentials.
        reference: of the release, host/path@sha256:…, as the container reaches it.
        http: whether the registry speaks plain HTTP.
    """

    container: dagger.Container
    reference: str
    http: bool

    @classmethod
    async def connect(cls, registry: Registry, digest: str, images: Images) -> "CosignClient":
        """Return a client for the release with a digest.

        The credentials are a mounted secret, so that no layer of the container holds them.
        """
        repository = Repository.parse(registry.address)
        host, http = repository.host, repository.scheme == "http"
        container = cosign_container(images)
        if registry.service:
            host, http = f"{SERVICE_ALIAS}:{registry.port}", True
            container = container.with_service_binding(SERVICE_ALIAS, registry.service)
        if registry.username and registry.password:
            config = docker_config(host, registry.username, await registry.password.plaintext())
            secret = dag.set_secret(f"slipway-registry-{run_id()}", config)
            container = container.with_mounted_secret(f"{DOCKER_CONFIG}/config.json", secret)
        return cls(container, f"{host}/{repository.path}@{digest}", http)

    async def call(self, argv: Sequence[str], *, hint: str = "") -> str:
        """Run cosign, never from cache, and return its standard output.

        Raises:
            StageFailedError: if it exits with a failure.
            NotReadyError: if it does not end within its deadline.
        """
        return await run(self.container.with_(with_run_id), argv, hint=hint, seconds=COMMAND_SECONDS)


def cosign_container(images: Images) -> dagger.Container:
    """Return a container with cosign.

    Its base is Slipway's tool image, into which an engine installs a company's CA certificates; cosign's own image is
    distroless, so an engine cannot.
    """
    binary = dag.container().from_(images.cosign).file(BINARY)
    return (
        dag.container()
        .from_(images.tool)
        .with_file("/usr/local/bin/cosign", binary, permissions=0o755)
        .with_env_variable("DOCKER_CONFIG", DOCKER_CONFIG)
    )


def docker_config(host: str, username: str, password: str) -> str:
    """Return a Docker configuration (config.json) with the credentials of one registry."""
    key = "https://index.docker.io/v1/" if host in DOCKER_HUB else host
    credentials = base64.b64encode(f"{username}:{password}".encode()).decode()
    return json.dumps({"auths": {key: {"auth": credentials}}})


def text_file(text: str) -> dagger.File:
    """Return a file that contains `text`."""
    return dag.directory().with_new_file("file", text).file("file")
