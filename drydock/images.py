"""Where images come from: made out of packages, when no registry answers, or pulled."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from drydock import mounts
from drydock.edit import Editor, new_layer, seed_upper
from drydock.errors import ImageError
from drydock.graph import key_of
from drydock.image import Config
from drydock.layer import Blob, blob_path, diff_id_of, unpack
from drydock.tree import SCRATCH, Tree, view

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from drydock.registry import Reference, Skopeo
    from drydock.session import Session
    from drydock.store import Store


class Recipe(Protocol):
    """How a base image is made out of packages; see drydock/bases."""

    @property
    def name(self) -> str:
        """Repository and tag of what is made."""

    @property
    def note(self) -> str:
        """What is really used, in one line."""

    @property
    def key(self) -> str:
        """Changes when the result would."""

    @property
    def parent(self) -> Recipe | None:
        """Whose tree this one starts from."""

    def make(self, root: Path, say: Callable[[str], None]) -> dict[str, Any]:
        """Fill `root`, which holds the parent's tree already; return the image's configuration in OCI's form."""


@dataclass(frozen=True)
class Image:
    """A configuration, and the layers it goes with."""

    config: Config
    tree: Tree
    annotations: tuple[tuple[str, str], ...] = ()


async def made(session: Session, recipe: Recipe) -> Image:
    """Return the image of a recipe; made once per cache folder and key."""
    store = session.store
    parent = await made(session, recipe.parent) if recipe.parent else None
    key = key_of("base", recipe.name, recipe.key, parent.tree.key if parent else "")
    if (found := store.record(key)) is None:
        async with store.lock(key):
            if (found := store.record(key)) is None:
                below = parent.tree if parent else Tree((), "/", "")
                layer, config = await store.run(_make, store, below, recipe, session.say)
                found = {"layers": [*below.layers, store.keep_layer(layer)], "config": config}
                store.save(key, found)
    return Image(Config.from_json(found["config"]), Tree(tuple(found["layers"]), "/", key))


def _make(store: Store, below: Tree, recipe: Recipe, say: Callable[[str], None]) -> tuple[Path, dict[str, Any]]:
    upper = store.temporary("base")
    if not below.layers:
        return upper, recipe.make(upper, say)
    point, work = store.temporary("root"), store.temporary("work")
    with view(store, below) as lower:
        seed_upper(upper, lower)
    options = mounts.overlay_options([*reversed(below.layers)], str(upper), str(work))
    mounts.mount("overlay", str(point), "overlay", 0, options)
    try:
        config = recipe.make(point, say)
    finally:
        mounts.umount(str(point))
        shutil.rmtree(work, ignore_errors=True)
        with contextlib.suppress(OSError):
            point.rmdir()
    return upper, config


async def pulled(session: Session, skopeo: Skopeo, reference: Reference) -> tuple[str, Image]:
    """Return the digest that a reference stands for, and its image for this platform; fetched once per digest."""
    digest = reference.digest
    if not digest:
        digest = f"sha256:{hashlib.sha256(await skopeo.inspect(reference)).hexdigest()}"
    key = key_of("image", reference.name, digest)
    store = session.store
    if (found := store.record(key)) is None:
        async with store.lock(key):
            if (found := store.record(key)) is None:
                folder = store.temporary("pull")
                await skopeo.pull(reference, str(folder))
                found = await unpacked(session, folder)
                store.save(key, found)
    return digest, image_of(found)


def image_of(record: dict[str, Any]) -> Image:
    """Read what `unpacked` returned."""
    tree = Tree(tuple(record["layers"]), "/", record["key"])
    return Image(Config.from_json(record["config"]), tree, tuple(map(tuple, record["annotations"])))


async def unpacked(session: Session, folder: Path) -> dict[str, Any]:
    """Take an image from a `dir:` folder into the store; return its record. Blobs are kept for pushing it on."""
    store = session.store
    manifest = json.loads((folder / "manifest.json").read_bytes())
    if "layers" not in manifest or "config" not in manifest:
        raise ImageError(f"manifest of type {manifest.get('mediaType')!r}: only image manifests are read")
    document = json.loads(_blob(folder, manifest["config"]["digest"]).read_bytes())
    if (document.get("os"), document.get("architecture")) != ("linux", "amd64"):
        platform = f"{document.get('os')}/{document.get('architecture')}"
        raise ImageError(f"the image is for {platform}; the embedded engine runs linux/amd64 only")
    diff_ids = (document.get("rootfs") or {}).get("diff_ids") or []
    if len(diff_ids) != len(manifest["layers"]):
        raise ImageError(f"the manifest has {len(manifest['layers'])} layers and its config {len(diff_ids)}")
    tree = SCRATCH
    for descriptor, diff_id in zip(manifest["layers"], diff_ids, strict=True):
        # Layers are named by their diff_id, so that it must be true: else one image could stand in for another.
        held = await store.run(diff_id_of, _blob(folder, descriptor["digest"]))
        if held != diff_id:
            raise ImageError(f"layer {descriptor['digest']} holds {held}, and the image's config says {diff_id}")
        key = key_of("layer", tree.key, diff_id)
        async with store.lock(key):
            if (found := store.record(key)) is None:
                blob = _blob(folder, descriptor["digest"])
                layer = store.keep_layer(await store.run(_unpacked_layer, store, tree, blob))
                found = {"layer": layer}
                store.save(key, found)
        compression = "gzip" if "gzip" in descriptor["mediaType"] else ""
        kept = Blob(descriptor["digest"], descriptor["size"], diff_id, compression)
        _keep(_blob(folder, kept.digest), blob_path(store, kept.digest))
        store.save(key_of("blob", found["layer"]), vars(kept))
        tree = Tree((*tree.layers, found["layer"]), "/", key)
    return {
        "layers": list(tree.layers),
        "key": tree.key,
        "config": document.get("config") or {},
        "annotations": sorted((manifest.get("annotations") or {}).items()),
    }


def _unpacked_layer(store: Store, below: Tree, blob: Path) -> Path:
    def change(editor: Editor) -> None:
        unpack(editor.base or "/", blob)

    layer = new_layer(store, below, change, keep_times=True)
    return layer or store.temporary("layer")


def _blob(folder: Path, digest: str) -> Path:
    return folder / digest.removeprefix("sha256:")


def _keep(source: Path, target: Path) -> None:
    with contextlib.suppress(FileExistsError):
        os.link(source, target)
