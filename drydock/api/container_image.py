"""Container: where it comes from and where it goes as an image."""

from __future__ import annotations

import contextlib
import os
import tarfile
from dataclasses import replace
from typing import TYPE_CHECKING

from drydock import oci
from drydock.api.directory import copied
from drydock.api.registry import resolves
from drydock.container import Container, Filesystem
from drydock.edit import Editor, new_layer
from drydock.errors import ImageError, InvalidArgumentError, NotSupportedError, RegistryError
from drydock.export import host_path, place_file
from drydock.graph import Shared, key_of, settled
from drydock.images import Image, image_of, made, pulled, unpacked
from drydock.registry import Reference, Skopeo, unreachable
from drydock.tree import SCRATCH, FileRef, Selection, Tree, view

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from drydock.graph import Node
    from drydock.oci import Packed
    from drydock.session import Session


@resolves("Container.withRegistryAuth")
def with_registry_auth(_session: Session, ctr: Container, *, address: str, username: str, secret: Node) -> Container:
    others = tuple(auth for auth in ctr.auths if auth[0] != address)
    return replace(ctr, auths=(*others, (address, username, secret)))


@resolves("Container.withoutRegistryAuth")
def without_registry_auth(_session: Session, ctr: Container, *, address: str) -> Container:
    return replace(ctr, auths=tuple(auth for auth in ctr.auths if auth[0] != address))


@contextlib.asynccontextmanager
async def registry_client(session: Session, ctr: Container, service: Node | None) -> AsyncIterator[Skopeo]:
    """Yield a client with the container's credentials; with a service, in its network, where localhost is it."""
    credentials = [(address, user, (await secret.value()).plaintext) for address, user, secret in ctr.auths]
    if service is None:
        yield Skopeo(credentials)
        return
    async with session.services.held(await service.value()) as running:
        yield Skopeo(credentials, running.namespace.path)


# In


@resolves("Container.from")
async def from_(session: Session, ctr: Container, *, address: str, registry_service: Node | None = None) -> Container:
    reference = Reference.parse(address)
    try:
        async with registry_client(session, ctr, registry_service) as skopeo:
            digest, image = await pulled(session, skopeo, reference)
    except RegistryError as error:
        if registry_service or not unreachable(error):
            raise
        return await _made_instead(session, ctr, address, error)
    name = f"{reference.name}:{reference.tag}" if reference.tag else reference.name
    return from_image(ctr, image, settled(f"{name}@{digest}"))


async def _made_instead(session: Session, ctr: Container, address: str, error: RegistryError) -> Container:
    """Return the container on an image made out of packages, which says so in its reference and in the log."""
    from drydock.bases import recipe_for  # noqa: PLC0415 - only where no registry answers

    recipe = recipe_for(address)
    if recipe is None:
        raise ImageError(f"{error}; and there is no recipe to make {address} out of packages") from error
    session.say_once(f"{address.partition('@')[0]}: no image registry answers; made of {recipe.note}")
    image = await made(session, recipe)

    async def reference() -> str:
        packed = await session.store.run(
            oci.packed, session.store, image.config, image.tree.layers, image.tree.layers, {}
        )
        return f"drydock.local/{recipe.name}@{packed.manifest.digest}"

    return from_image(ctr, image, Shared(reference))


def from_image(ctr: Container, image: Image, reference: Shared[str] | None) -> Container:
    """Return the container on another image; its own mounts, bindings and credentials stay."""
    before = ctr.files

    async def step() -> Filesystem:
        mounted = (await before()).mounted if ctr.mounts else {}
        return Filesystem(image.tree, mounted)

    return replace(
        ctr,
        config=image.config,
        files=Shared(step),
        annotations=image.annotations,
        image_ref=reference,
        base_layers=image.tree.layers,
        explicit_args=False,
    )


@resolves("Container.imageRef")
async def image_ref(_session: Session, ctr: Container) -> str:
    if ctr.image_ref is None:
        raise InvalidArgumentError("imageRef: the container was not made from an image, or its files changed since")
    return await ctr.image_ref()


@resolves("Container.import")
async def import_(session: Session, ctr: Container, *, source: Node, tag: str) -> Container:
    file: FileRef = await source.value()
    store = session.store
    key = key_of("import", file.key, tag)
    if (found := store.record(key)) is None:
        folder, archive = store.temporary("import"), store.temporary("archive") / "image.tar"

        def copy_out() -> str:
            with view(store, file.tree) as root:
                place_file(root + file.path, str(archive))
            with tarfile.open(archive) as tar:
                return "oci-archive" if "oci-layout" in tar.getnames() else "docker-archive"

        transport = await store.run(copy_out)
        await Skopeo().load(transport, f"{archive}:{tag}" if tag else str(archive), str(folder))
        found = await unpacked(session, folder)
        store.save(key, found)
        archive.unlink()
    return from_image(ctr, image_of(found), None)


# Out


async def packed(
    session: Session, ctr: Container, variants: list[Node], forced_compression: str | None, media_types: str
) -> Packed:
    """Pack the container, or its one variant that has files."""
    containers = [ctr, *[await variant.value() for variant in variants]]
    full = [c for c in containers if (await c.files()).root.layers]
    if len(full) > 1:
        raise NotSupportedError(
            "Container.publish(platformVariants) with several images: only linux/amd64 is built here"
        )
    chosen = full[0] if full else ctr
    root = (await chosen.files()).root
    if root.path != "/":
        root = await _at_top(session, root)
    return await session.store.run(
        oci.packed,
        session.store,
        chosen.config,
        root.layers,
        chosen.base_layers,
        dict(chosen.annotations),
        media_types=media_types,
        compression=forced_compression,
    )


async def _at_top(session: Session, tree: Tree) -> Tree:
    """Return a directory within layers as layers of its own."""
    return await copied(session, SCRATCH, "/.", tree, Selection(), None, 0o755, by_content=False)


@resolves("Container.publish")
async def publish(
    session: Session,
    ctr: Container,
    *,
    address: str,
    platform_variants: list[Node],
    forced_compression: str | None = None,
    media_types: str,
    registry_service: Node | None = None,
) -> str:
    reference = Reference.parse(address)
    if reference.digest:
        raise InvalidArgumentError(f"publish: {address!r} holds a digest; a push names a tag")
    image = await packed(session, ctr, platform_variants, forced_compression, media_types)
    folder = session.store.temporary("push")
    await session.store.run(oci.write_directory, session.store, image, folder)
    async with registry_client(session, ctr, registry_service) as skopeo:
        await skopeo.push(str(folder), reference)
    name = f"{reference.name}:{reference.tag}" if reference.tag else reference.name
    return f"{name}@{image.manifest.digest}"


@resolves("Container.asTarball")
async def as_tarball(
    session: Session,
    ctr: Container,
    *,
    platform_variants: list[Node],
    forced_compression: str | None = None,
    media_types: str,
) -> FileRef:
    store = session.store
    image = await packed(session, ctr, platform_variants, forced_compression, media_types)
    key = key_of("tarball", image.manifest.digest)
    async with store.lock(key):
        if (found := store.record(key)) is None:

            def write() -> str:
                folder = store.temporary("layout")
                oci.write_layout(store, image, folder)
                layer = new_layer(store, SCRATCH, lambda editor: _write_archive(editor, folder)) or folder
                return store.keep_layer(layer)

            found = {"layer": await store.run(write)}
            store.save(key, found)
    return FileRef(Tree((found["layer"],), "/", key), "/container.tar", key)


def _write_archive(editor: Editor, folder: Path) -> None:
    with open(f"{editor.base}/container.tar", "wb") as out:
        oci.write_archive(folder, out)


@resolves("Container.export")
async def export(
    session: Session,
    ctr: Container,
    *,
    path: str,
    platform_variants: list[Node],
    forced_compression: str | None = None,
    media_types: str,
    expand: bool,
) -> str:
    file = await as_tarball(
        session,
        ctr,
        platform_variants=platform_variants,
        forced_compression=forced_compression,
        media_types=media_types,
    )
    target = host_path(session.workdir, ctr.expand(path) if expand else path)

    def copy() -> None:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        with view(session.store, file.tree) as root:
            place_file(root + file.path, target)

    await session.store.run(copy)
    return target
