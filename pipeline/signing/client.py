"""A release in its registry, and cosign beside it."""

import base64
import dataclasses
import json
from collections.abc import Sequence

import dagger
from dagger import dag

from pipeline.core.execution import run, run_id
from pipeline.images import Images
from pipeline.oci.references import Repository
from pipeline.oci.registry import SERVICE_ALIAS, Registry

BINARY = "/ko-app/cosign"
DOCKER_CONFIG = "/run/docker"
DOCKER_HUB = {"docker.io", "index.docker.io", "registry-1.docker.io"}
SECONDS = 300


@dataclasses.dataclass(frozen=True, slots=True)
class Target:
    """A release, and a container with cosign that reaches its registry."""

    container: dagger.Container
    reference: str
    http: bool

    @classmethod
    async def of(cls, registry: Registry, digest: str, images: Images) -> "Target":
        """Return it; the credentials are a file that is mounted for each call."""
        repository = Repository.parse(registry.address)
        host, http = repository.host, repository.scheme == "http"
        container = cosign_in(images)
        if registry.service:
            host, http = f"{SERVICE_ALIAS}:{registry.port}", True
            container = container.with_service_binding(SERVICE_ALIAS, registry.service)
        if registry.username and registry.password:
            config = docker_config(host, registry.username, await registry.password.plaintext())
            secret = dag.set_secret(f"slipway-registry-{run_id()}", config)
            container = container.with_mounted_secret(f"{DOCKER_CONFIG}/config.json", secret)
        return cls(container, f"{host}/{repository.path}@{digest}", http)

    async def call(self, argv: Sequence[str], *, what: str, hint: str = "") -> str:
        """Run cosign, never from cache."""
        fresh = self.container.with_env_variable("SLIPWAY_RUN", run_id())
        return await run(fresh, argv, what=what, hint=hint, seconds=SECONDS)


def cosign_in(images: Images) -> dagger.Container:
    """Return a container with cosign, on an image that takes a company's certificates, as cosign's own does not."""
    program = dag.container().from_(images.cosign).file(BINARY)
    return (
        dag.container()
        .from_(images.node)
        .with_file("/usr/local/bin/cosign", program, permissions=0o755)
        .with_env_variable("DOCKER_CONFIG", DOCKER_CONFIG)
    )


def docker_config(host: str, username: str, password: str) -> str:
    """Return the configuration in which registry clients look for credentials."""
    key = "https://index.docker.io/v1/" if host in DOCKER_HUB else host
    basic = base64.b64encode(f"{username}:{password}".encode()).decode()
    return json.dumps({"auths": {key: {"auth": basic}}})


def file_of(text: str) -> dagger.File:
    """Return a file with a text."""
    return dag.directory().with_new_file("file", text).file("file")
