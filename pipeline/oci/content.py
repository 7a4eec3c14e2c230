"""The identity of an image's bytes, by which each stage compares its image with that of the stage before."""

import functools
import hashlib
import json
from itertools import zip_longest
from typing import Annotated, Any

import dagger
from dagger import Doc

from pipeline.core.errors import GateClosedError, error_context
from pipeline.core.execution import gather, run
from pipeline.core.programs import program
from pipeline.core.sdk import field, object_type

# Docker's media types, because the OCI image config has no HEALTHCHECK.
MEDIA_TYPES = dagger.ImageMediaTypes.DockerMediaTypes


@object_type
class Content:
    """The digests of an image, for all its platforms."""

    configs: Annotated[list[str], Doc("Digest of each platform's config, which lists its layers.")] = field()
    layers: Annotated[list[str], Doc("Digests of the uncompressed layers, platform by platform.")] = field()
    fingerprints: Annotated[list[str], Doc("Digest of each platform's config and layers, without times.")] = field()

    @classmethod
    def of(cls, images: list[dict[str, Any]]) -> "Content":
        """Return the content of images as content.mjs and manifest.mjs print them."""
        return cls(
            configs=[str(image["digest"]) for image in images],
            layers=[str(layer) for image in images for layer in image["config"]["rootfs"]["diff_ids"]],
            fingerprints=sorted(fingerprint(image["config"], image["blobs"]) for image in images),
        )


def fingerprint(config: dict[str, Any], blobs: list[str]) -> str:
    """Return a digest of an image's config and layer blobs, without the times of its build."""
    stable = {key: value for key, value in config.items() if key not in {"created", "history"}}
    return hashlib.sha256(json.dumps([stable, blobs], sort_keys=True).encode()).hexdigest()


def check_layers(image: dict[str, Any]) -> None:
    """Refuse an image if a layer differs from the diff id in its config.

    An engine or scanner that caches layers by diff id would use the bytes, or the verdict, of another layer.

    Raises:
        GateClosedError: with the layers that differ.
    """
    expected, actual = image["config"]["rootfs"]["diff_ids"], image["layers"]
    if expected != actual:
        pairs = zip_longest(expected, actual, fillvalue="none")
        raise GateClosedError(
            "a layer of the image differs from the diff id in its config",
            output="\n".join(f"config: {a}, layer: {b}" for a, b in pairs if a != b),
            hint="the base image has false diff ids, or corrupted the engine's cache: prune it, and use another base",
        )


def archive_of(container: dagger.Container) -> dagger.File:
    """Return the image as an archive (OCI layout): the bytes that are scanned."""
    return container.as_tarball(media_types=MEDIA_TYPES)


async def content_of(containers: list[dagger.Container], node: dagger.Container) -> Content:
    """Return the content of built images, computed from their archives.

    Args:
        containers: one for each platform.
        node: a container with Node and tar.

    Raises:
        GateClosedError: if a layer differs from the diff id in its config.
    """
    reader = node.with_new_file("/slipway/content.mjs", program("pipeline.oci", "content.mjs"))

    async def read(container: dagger.Container) -> dict[str, Any]:
        mounted = reader.with_mounted_file("/image.tar", archive_of(container))
        argv = ["node", "/slipway/content.mjs", "/image.tar"]
        with error_context("read the image's digests"):
            image: dict[str, Any] = json.loads(await run(mounted, argv))
        check_layers(image)
        return image

    return Content.of(await gather(*(functools.partial(read, container) for container in containers)))
