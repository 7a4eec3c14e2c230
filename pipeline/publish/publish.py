"""Pushing an image, and reading it back by digest before it counts as a release."""

import dataclasses
from collections.abc import Sequence

import dagger
from dagger import dag

from pipeline.core.errors import InvalidInputError, RegistryError
from pipeline.core.execution import with_run_id
from pipeline.core.log import log
from pipeline.core.retry import retry
from pipeline.images import Images
from pipeline.oci.content import Content
from pipeline.oci.references import check_tag
from pipeline.oci.registry import Registry, StoredImage
from pipeline.report.verdict import Status, Verdict
from pipeline.source.commit import Commit, check_releasable


@dataclasses.dataclass(frozen=True, slots=True)
class Publication:
    """An image to be published.

    Args:
        registry: the repository to push to.
        platforms: the image for every platform.
        content: the bytes that were scanned.
        tag: the tag for people.
    """

    registry: Registry
    platforms: Sequence[dagger.Container]
    content: Content
    tag: str

    async def push(self) -> StoredImage:
        """Push the image unless the tag holds it already; return it as the registry serves it by digest.

        Raises:
            RegistryError: if the tag holds other content, or the registry fails or serves other bytes.
        """
        address = f"{self.registry.address}:{check_tag(self.tag)}"
        existing = await self.registry.stored(self.tag)
        if existing is None:
            digest = await self._push(address)
        elif self._is_same(existing):
            log("publish", f"{address} holds these bytes already")
            digest = existing.digest
        else:
            raise RegistryError(
                f"publish: {address} holds other content already ({existing.digest})",
                hint="deploy that digest with `release --ref`, or give this one another --tag",
            )
        return await self._read_back(digest)

    async def _read_back(self, digest: str) -> StoredImage:
        """Return the image as the registry serves it."""
        reference = f"{self.registry.address}@{digest}"
        stored = await self.registry.stored(digest)
        if stored is None or stored.digest != digest:
            raise RegistryError(
                f"publish: {reference} was pushed, but the registry does not serve it",
                hint="look at the registry's storage and at any cache in front of it",
            )
        if not self._is_same(stored):
            raise RegistryError(
                f"publish: {reference} is not the image that was scanned",
                output=f"scanned: {' '.join(self.content.layers)}\nstored:  {' '.join(stored.content.layers)}",
                hint="something between engine and registry changes images: do not deploy this",
            )
        return stored

    async def _push(self, address: str) -> str:
        """Push all platforms; return the digest that the engine computed."""
        if self.registry.service:
            await self.registry.service.start()
        image, *variants = self.platforms

        async def push() -> str:
            return await self.registry.push(image, variants, self.tag)

        return await retry(push, stage="publish", action=f"pushing {address}")

    def _is_same(self, stored: StoredImage) -> bool:
        """Whether an image has the layers, entrypoint, user and so on that were scanned; its times may differ."""
        return stored.content.fingerprints == self.content.fingerprints


def rehearsal_registry(images: Images, name: str) -> Registry:
    """Return a throwaway registry, new in every run: an earlier run's images must not be in it."""
    service = (
        dag.container()
        .from_(images.registry)
        .with_(with_run_id)
        .with_exposed_port(5000)
        .as_service(use_entrypoint=True)
    )
    return Registry(address=f"localhost:5000/{name}", tool_image=images.tool, service=service)


def check_publishable(verdict: Verdict, commit: Commit) -> None:
    """Refuse an image that may only be rehearsed.

    Raises:
        InvalidInputError: if the scan did not pass, or the source differs from its commit.
    """
    if verdict.status != Status.PASSED:
        raise InvalidInputError(
            f"publish: the scan's verdict is {verdict.status.value}, so this may only be rehearsed",
            hint="leave `with-registry` out, or make the scanner available",
        )
    check_releasable(commit)
