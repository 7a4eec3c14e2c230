"""A repository in an image registry: its credentials, and what it really stores."""

import dataclasses
import json
from typing import Annotated, Any

import dagger
from dagger import Doc, dag

from pipeline.core.errors import InvalidInputError, RegistryError, error_context
from pipeline.core.execution import run, with_run_id
from pipeline.core.programs import program
from pipeline.core.sdk import field, object_type
from pipeline.oci.content import MEDIA_TYPES, Content
from pipeline.oci.references import DigestReference, Repository

SERVICE_ALIAS = "registry"
PASSWORD_FILE = "/run/secrets/registry-password"  # noqa: S105 - where the engine mounts it, not what it is


@dataclasses.dataclass(frozen=True, slots=True)
class StoredImage:
    """An image as the registry serves it: every digest is computed from the bytes received."""

    digest: str
    content: Content
    revision: str
    created: str

    @classmethod
    def parse(cls, answer: dict[str, Any]) -> "StoredImage":
        """Read the output of manifest.mjs."""
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
    tool_image: Annotated[str, Doc("The image with Node in which the registry is asked.")] = field()
    username: Annotated[str, Doc("User, or empty.")] = field(default="")
    password: Annotated[dagger.Secret | None, Doc("Password or token.")] = field(default=None)
    service: Annotated[dagger.Service | None, Doc("The registry as a service of this session.")] = field(default=None)

    @property
    def repository(self) -> Repository:
        """The address, parsed."""
        return Repository.parse(self.address)

    @property
    def port(self) -> str:
        """Port of the service."""
        return self.repository.host.partition(":")[2] or "80"

    def for_repository(self, repository: Repository) -> "Registry":
        """Return another repository: with these credentials where it is on the same host, else without any."""
        if repository.host == self.repository.host:
            return dataclasses.replace(self, address=str(repository))
        return Registry(address=str(repository), tool_image=self.tool_image)

    def authorised(self, container: dagger.Container) -> dagger.Container:
        """Return the container with the credentials; last in a chain, so that they change no cache key."""
        if self.username and self.password:
            return container.with_registry_auth(self.repository.host, self.username, self.password)
        return container

    async def pull(self, digest: str) -> dagger.Container:
        """Return the image by its digest.

        Raises:
            RegistryError: if the engine pulled another one.
        """
        reference = f"{self.address}@{digest}"
        image = self.authorised(dag.container()).from_(reference, registry_service=self.service)
        pulled = await image.image_ref()
        if not pulled.endswith(f"@{digest}"):
            raise RegistryError(f"pulling {reference} gave {pulled}", hint="do not deploy this")
        return image

    async def push(self, image: dagger.Container, variants: list[dagger.Container], tag: str) -> str:
        """Push an image for all its platforms; return the digest that the engine computed."""
        published = await self.authorised(image).publish(
            f"{self.address}:{tag}",
            platform_variants=variants,
            media_types=MEDIA_TYPES,
            registry_service=self.service,
        )
        return DigestReference.parse(published).digest

    async def stored(self, reference: str) -> StoredImage | None:
        """Ask the registry for a tag or digest; None where it has none.

        The engine is not asked, because it may answer from what it pushed a moment ago.

        Raises:
            RegistryError: when refused, or when it fails after several attempts.
        """
        answer = await self._ask("manifest.mjs", reference)
        return StoredImage.parse(answer) if answer["found"] else None

    async def attached(self, digest: str) -> bool:
        """Ask the registry whether a signature, or another artifact of Sigstore's, is attached to an image.

        Raises:
            RegistryError: when refused, or when it fails after several attempts.
        """
        return bool((await self._ask("attached.mjs", digest))["attached"])

    async def _ask(self, name: str, reference: str) -> dict[str, Any]:
        """Run one of the programs that read a repository; return what it prints."""
        repository = self.repository
        client = dag.container().from_(self.tool_image).with_env_variable("NODE_USE_SYSTEM_CA", "1")
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
        with error_context("registry"):
            answer: dict[str, Any] = json.loads(await run(client.with_(with_run_id), argv))
            if error := answer.get("error"):
                raise RegistryError(
                    f"{self.address} ({reference}): {error}",
                    hint="check the address, the user and the password; then run again",
                )
        return answer


def check_registry(registry: Registry) -> Registry:
    """Return the registry if its address is well-formed and its credentials are complete.

    Raises:
        InvalidInputError: if not. An empty address is malformed: it comes from a variable that is not set.
    """
    Repository.parse(registry.address)
    if bool(registry.username) != (registry.password is not None):
        raise InvalidInputError("with-registry: --username and --password come together", hint="give both, or none")
    return registry
