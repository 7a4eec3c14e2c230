"""A registry: where it is, who may enter, and what it really holds."""

import dataclasses
import json
from typing import Annotated, Any

import dagger
from dagger import Doc, dag

from pipeline.core.errors import InvalidInputError, RegistryError
from pipeline.core.execution import run, run_id
from pipeline.core.programs import program
from pipeline.core.sdk import field, object_type
from pipeline.oci.content import Content
from pipeline.oci.references import Repository

SERVICE_ALIAS = "registry"
PASSWORD_FILE = "/run/secrets/registry-password"  # noqa: S105 - where the engine mounts it, not what it is


def check_credentials(username: str, password: dagger.Secret | None) -> None:
    """Refuse half of a registry's credentials.

    Raises:
        InvalidInputError: if one is given without the other.
    """
    if bool(username) != (password is not None):
        raise InvalidInputError("a registry's --username and --password come gather", hint="give both, or none")


def check_target(
    registry: str | None, username: str, password: dagger.Secret | None, service: dagger.Service | None
) -> None:
    """Refuse a place to publish that is malformed, or of which only a part is given.

    Raises:
        InvalidInputError: if so. An empty address is malformed: it comes from a variable that is not set.
    """
    check_credentials(username, password)
    if registry is not None:
        Repository.parse(registry)
    elif password is not None or service is not None:
        raise InvalidInputError(
            "the registry's credentials or service are given, and no --registry", hint="give it, or leave them out"
        )


@dataclasses.dataclass(frozen=True, slots=True)
class Stored:
    """An image as the registry gives it back: every digest computed from the bytes received."""

    digest: str
    content: Content
    revision: str
    created: str

    @classmethod
    def read(cls, answer: dict[str, Any]) -> "Stored":
        """Take what the manifest script printed."""
        labels = (answer["images"][0]["config"].get("config") or {}).get("Labels") or {}
        return cls(
            digest=answer["digest"],
            content=Content.of(answer["images"]),
            revision=str(labels.get("org.opencontainers.image.revision", "")),
            created=str(labels.get("org.opencontainers.image.created", "")),
        )


@object_type
class Registry:
    """One repository in a registry, with the credentials to use."""

    address: Annotated[str, Doc("host[:port]/path.")] = field()
    client_image: Annotated[str, Doc("The image with Node that asks the registry.")] = field()
    username: Annotated[str, Doc("User, or empty.")] = field(default="")
    password: Annotated[dagger.Secret | None, Doc("Password or token.")] = field(default=None)
    service: Annotated[dagger.Service | None, Doc("The registry as a service of this session.")] = field(default=None)

    @property
    def port(self) -> str:
        """Port of the service."""
        return Repository.parse(self.address).host.partition(":")[2] or "80"

    def authorised(self, container: dagger.Container) -> dagger.Container:
        """Return the container with the credentials; last in a chain, so that they change no cache key."""
        if self.username and self.password:
            return container.with_registry_auth(Repository.parse(self.address).host, self.username, self.password)
        return container

    def pull(self, digest: str) -> dagger.Container:
        """Return the image by its digest."""
        reference = f"{self.address}@{digest}"
        return self.authorised(dag.container()).from_(reference, registry_service=self.service)

    async def stored(self, reference: str) -> Stored | None:
        """Ask the registry for a tag or digest; None where it has none.

        The engine is not asked, because it may answer from what it pushed a moment ago.

        Raises:
            RegistryError: when refused, or when it fails after several attempts.
        """
        answer = await self._ask("manifest.mjs", reference)
        return Stored.read(answer) if answer["found"] else None

    async def attached(self, digest: str) -> bool:
        """Ask the registry whether a signature, or anything else of Sigstore's, is attached to an image.

        Raises:
            RegistryError: when refused, or when it fails after several attempts.
        """
        return bool((await self._ask("attached.mjs", digest))["attached"])

    async def _ask(self, name: str, reference: str) -> dict[str, Any]:
        """Run one of the programs that read a repository; return what it prints."""
        repository = Repository.parse(self.address)
        client = dag.container().from_(self.client_image).with_env_variable("NODE_USE_SYSTEM_CA", "1")
        for file in (name, "registry.mjs"):
            client = client.with_new_file(f"/slipway/{file}", program("pipeline.oci", file))
        base = f"{repository.scheme}://{repository.host}"
        if self.service:
            client = client.with_service_binding(SERVICE_ALIAS, self.service)
            base = f"http://{SERVICE_ALIAS}:{self.port}"
        argv = ["node", f"/slipway/{name}", base, repository.path, reference]
        if self.username and self.password:
            client = client.with_mounted_secret(PASSWORD_FILE, self.password)
            argv += [self.username, PASSWORD_FILE]
        client = client.with_env_variable("SLIPWAY_RUN", run_id())
        answer: dict[str, Any] = json.loads(await run(client, argv, what="registry"))
        if error := answer.get("error"):
            raise RegistryError(
                f"registry: {self.address} ({reference}): {error}",
                hint="check the address, the user and the password; then run again",
            )
        return answer
