"""Images in their published form: documents as bytes with digests, and the folders and archives they lie in."""

from __future__ import annotations

import hashlib
import json
import os
import tarfile
from dataclasses import dataclass
from datetime import datetime
from typing import IO, TYPE_CHECKING, Any

from drydock.errors import InvalidArgumentError
from drydock.layer import Blob, blob_path, pack

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from drydock.image import Config
    from drydock.store import Store

CREATED = "org.opencontainers.image.created"
NEVER = "1970-01-01T00:00:00Z"
OCI = {
    "manifest": "application/vnd.oci.image.manifest.v1+json",
    "config": "application/vnd.oci.image.config.v1+json",
    "gzip": "application/vnd.oci.image.layer.v1.tar+gzip",
    "": "application/vnd.oci.image.layer.v1.tar",
}
DOCKER = {
    "manifest": "application/vnd.docker.distribution.manifest.v2+json",
    "config": "application/vnd.docker.container.image.v1+json",
    "gzip": "application/vnd.docker.image.rootfs.diff.tar.gzip",
    "": "application/vnd.docker.image.rootfs.diff.tar",
}
INDEX = "application/vnd.oci.image.index.v1+json"
COMPRESSIONS = {None: "gzip", "Gzip": "gzip", "Uncompressed": ""}


@dataclass(frozen=True)
class Content:
    """Bytes with a media type."""

    media_type: str
    data: bytes

    @property
    def digest(self) -> str:
        """`sha256:…`."""
        return f"sha256:{hashlib.sha256(self.data).hexdigest()}"

    def descriptor(self) -> dict[str, Any]:
        """Return how other documents refer to it."""
        return {"mediaType": self.media_type, "digest": self.digest, "size": len(self.data)}


@dataclass(frozen=True)
class Packed:
    """One image, ready to be pushed: documents, and the blobs of its layers."""

    manifest: Content
    config: Content
    layers: tuple[Blob, ...]


def as_json(value: object) -> bytes:
    """Return JSON whose bytes depend on the value only."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def created_at(config: Config) -> tuple[str, int | None]:
    """Return the image's time as text and in seconds: that of its label, else the epoch and None."""
    text = dict(config.labels).get(CREATED)
    if not text:
        return NEVER, None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidArgumentError(f"label {CREATED}={text!r} is no RFC 3339 time") from None
    if moment.tzinfo is None:
        raise InvalidArgumentError(f"label {CREATED}={text!r} lacks its time zone; write one such as …T12:00:00Z")
    return text, int(moment.timestamp())


def packed(  # noqa: PLR0913 - one image
    store: Store,
    config: Config,
    layers: Sequence[str],
    base: Sequence[str],
    annotations: dict[str, str],
    *,
    media_types: str = "OCIMediaTypes",
    compression: str | None = None,
) -> Packed:
    """Pack an image. Layers that came with its base keep their bytes; newer ones hold no time after `created`.

    Runs in a worker thread.
    """
    if compression not in COMPRESSIONS:
        raise InvalidArgumentError(f"forcedCompression {compression}: the embedded engine knows Gzip and Uncompressed")
    types = DOCKER if media_types in ("DockerMediaTypes", "DOCKER") else OCI
    text, seconds = created_at(config)
    blobs = tuple(
        pack(store, layer, latest=None if layer in base else seconds, compression=COMPRESSIONS[compression])
        for layer in layers
    )
    document = {
        "architecture": "amd64",
        "os": "linux",
        "created": text,
        "config": config.to_json(),
        "rootfs": {"type": "layers", "diff_ids": [blob.diff_id for blob in blobs]},
    }
    packed_config = Content(types["config"], as_json(document))
    manifest = {
        "schemaVersion": 2,
        "mediaType": types["manifest"],
        "config": packed_config.descriptor(),
        "layers": [{"mediaType": types[blob.compression], "digest": blob.digest, "size": blob.size} for blob in blobs],
    }
    if annotations:
        manifest["annotations"] = annotations
    return Packed(Content(types["manifest"], as_json(manifest)), packed_config, blobs)


def write_layout(store: Store, image: Packed, folder: Path) -> None:
    """Write an OCI image layout with one image. Runs in a worker thread."""
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    for content in (image.manifest, image.config):
        (blobs / content.digest.removeprefix("sha256:")).write_bytes(content.data)
    for blob in image.layers:
        link(blob_path(store, blob.digest), blobs / blob.digest.removeprefix("sha256:"))
    (folder / "oci-layout").write_bytes(as_json({"imageLayoutVersion": "1.0.0"}))
    platform = {"architecture": "amd64", "os": "linux"}
    entry = {**image.manifest.descriptor(), "platform": platform}
    index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry]}
    (folder / "index.json").write_bytes(as_json(index))


def write_directory(store: Store, image: Packed, folder: Path) -> None:
    """Write the folder that skopeo's `dir:` transport reads: it keeps a manifest's bytes, of whatever type."""
    (folder / "version").write_text("Directory Transport Version: 1.1\n")
    (folder / "manifest.json").write_bytes(image.manifest.data)
    (folder / image.config.digest.removeprefix("sha256:")).write_bytes(image.config.data)
    for blob in image.layers:
        link(blob_path(store, blob.digest), folder / blob.digest.removeprefix("sha256:"))


def link(source: Path, target: Path) -> None:
    """Show a blob at a second place; the same layer may stand in an image twice."""
    if not target.exists():
        os.link(source, target)


def write_archive(folder: Path, out: IO[bytes]) -> None:
    """Write a folder as a tar whose bytes depend on the folder's content only."""
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for path in sorted(folder.rglob("*")):
            member = tarfile.TarInfo(str(path.relative_to(folder)))
            if path.is_dir():
                member.type, member.mode = tarfile.DIRTYPE, 0o755
                tar.addfile(member)
            else:
                member.mode, member.size = 0o644, path.stat().st_size
                with path.open("rb") as handle:
                    tar.addfile(member, handle)
