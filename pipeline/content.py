"""What an image is made of, so that each hop can be compared with the one before."""

import json
from typing import Annotated, Any

import anyio
import dagger
from dagger import Doc

from pipeline.errors import StageFailedError
from pipeline.schema import field, object_type

# Docker's media types, because OCI's have no HEALTHCHECK.
MEDIA_TYPES = dagger.ImageMediaTypes.DockerMediaTypes


@object_type
class Content:
    """The identity of an image's bytes: its configs, and through them every layer."""

    configs: Annotated[list[str], Doc("Digest of each platform's config, which names its layers.")] = field()
    layers: Annotated[list[str], Doc("Digests of the uncompressed layers, platform by platform.")] = field()


def archive_of(container: dagger.Container) -> dagger.File:
    """Return the image as an archive: the very bytes that are scanned."""
    return container.as_tarball(media_types=MEDIA_TYPES)


async def content_of(containers: list[dagger.Container], unpacker: dagger.Container) -> Content:
    """Read the digests of images that were built, from their archives.

    Args:
        containers: one for each platform.
        unpacker: a container with tar.
    """
    found: list[tuple[str, list[str]]] = [("", [])] * len(containers)

    async def read(position: int, container: dagger.Container) -> None:
        layout = (
            unpacker.with_mounted_file("/image.tar", archive_of(container))
            .with_exec(["mkdir", "-p", "/image"])
            .with_exec(["tar", "-xf", "/image.tar", "-C", "/image"])
            .directory("/image")
        )
        found[position] = await _read_layout(layout)

    async with anyio.create_task_group() as tasks:
        for position, container in enumerate(containers):
            tasks.start_soon(read, position, container)
    return Content(configs=[config for config, _ in found], layers=[layer for _, layers in found for layer in layers])


async def _read_layout(layout: dagger.Directory) -> tuple[str, list[str]]:
    """Return config digest and layer digests of the one image in an OCI layout."""
    document = json.loads(await layout.file("index.json").contents())
    while "manifests" in document:
        if len(document["manifests"]) != 1:
            raise StageFailedError(f"build: an archive of one image holds {len(document['manifests'])}")
        document = json.loads(await _blob(layout, document["manifests"][0]["digest"]).contents())
    digest = str(document["config"]["digest"])
    return digest, diff_ids(json.loads(await _blob(layout, digest).contents()))


def diff_ids(config: dict[str, Any]) -> list[str]:
    """Return the digests of the uncompressed layers that an image config names."""
    return [str(layer) for layer in config["rootfs"]["diff_ids"]]


def _blob(layout: dagger.Directory, digest: str) -> dagger.File:
    algorithm, _, value = digest.partition(":")
    return layout.file(f"blobs/{algorithm}/{value}")
