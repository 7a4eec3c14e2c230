"""What an image is made of, so that each hop can be compared with the one before."""

import functools
import hashlib
import json
from itertools import zip_longest
from typing import Annotated, Any

import dagger
from dagger import Doc

from pipeline.core.errors import GateClosedError
from pipeline.core.execution import gather, run
from pipeline.core.programs import program
from pipeline.core.sdk import field, object_type

# Docker's media types, because OCI's have no HEALTHCHECK.
MEDIA_TYPES = dagger.ImageMediaTypes.DockerMediaTypes


@object_type
class Content:
    """The identity of an image's bytes: its configs, and through them every layer."""

    configs: Annotated[list[str], Doc("Digest of each platform's config, which names its layers.")] = field()
    layers: Annotated[list[str], Doc("Digests of the uncompressed layers, platform by platform.")] = field()
    fingerprints: Annotated[list[str], Doc("Of each platform: what it holds and does, not when.")] = field()

    @classmethod
    def of(cls, images: list[dict[str, Any]]) -> "Content":
        """Tell of images as content.mjs and manifest.mjs print them."""
        return cls(
            configs=[str(image["digest"]) for image in images],
            layers=[str(layer) for image in images for layer in image["config"]["rootfs"]["diff_ids"]],
            fingerprints=sorted(fingerprint(image["config"], image["blobs"]) for image in images),
        )


def fingerprint(config: dict[str, Any], blobs: list[str]) -> str:
    """Return a digest of an image's config and layer blobs, without the times at which an engine wrote them."""
    lasting = {key: value for key, value in config.items() if key not in {"created", "history"}}
    return hashlib.sha256(json.dumps([lasting, blobs], sort_keys=True).encode()).hexdigest()


def check_layers(image: dict[str, Any]) -> None:
    """Refuse an image whose layers are not those that its config names.

    An engine or scanner that knows a layer by that name would take another one's bytes, or verdict, for it.

    Raises:
        GateClosedError: with the layers that differ.
    """
    named, found = image["config"]["rootfs"]["diff_ids"], image["layers"]
    if named != found:
        differing = [f"named {a}, found {b}" for a, b in zip_longest(named, found, fillvalue="none") if a != b]
        raise GateClosedError(
            "scan: a layer of the image is not the one that its config names",
            output="\n".join(differing),
            hint="a base image lies, or spoilt the engine's cache: prune that, and use another base",
        )


def archive_of(container: dagger.Container) -> dagger.File:
    """Return the image as an archive: the very bytes that are scanned."""
    return container.as_tarball(media_types=MEDIA_TYPES)


async def content_of(containers: list[dagger.Container], node: dagger.Container) -> Content:
    """Read the digests of images that were built, from their archives.

    Args:
        containers: one for each platform.
        node: a container with Node and tar.
    """
    reader = node.with_new_file("/slipway/content.mjs", program("pipeline.oci", "content.mjs"))

    async def read(container: dagger.Container) -> dict[str, Any]:
        mounted = reader.with_mounted_file("/image.tar", archive_of(container))
        argv = ["node", "/slipway/content.mjs", "/image.tar"]
        found: dict[str, Any] = json.loads(await run(mounted, argv, what="scan: reading the image's digests"))
        check_layers(found)
        return found

    return Content.of(await gather(*(functools.partial(read, container) for container in containers)))
