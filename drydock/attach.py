"""Everything a command needs around it while it runs: mounts, cache volumes, secrets, services, the network."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

from drydock.container import owner_in
from drydock.edit import Editor, seed_upper
from drydock.errors import NotSupportedError
from drydock.plaintext import Scrubber
from drydock.process import BindMount, Mount, Process, SecretMount, TempMount, TreeMount
from drydock.tree import Selection, view

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from drydock.api.secret import CacheVolume
    from drydock.container import Container, Filesystem, MountPoint
    from drydock.edit import Owner
    from drydock.network import Namespace
    from drydock.services import Link
    from drydock.session import Session
    from drydock.store import Store
    from drydock.tree import Tree


@contextlib.asynccontextmanager
async def attached(
    session: Session, ctr: Container, files: Filesystem, process: Process, namespace: Namespace | None = None
) -> AsyncIterator[tuple[Process, Link]]:
    """Yield the process with its mounts and secrets, and its place in the network, with its services running there."""
    env = {**process.env, **dict(ctr.volatile_env)}
    for name, secret in ctr.secret_env:
        env[name] = (await secret.value()).plaintext
    async with contextlib.AsyncExitStack() as stack:
        mounts = [await _mount(session, stack, files, mount) for mount in ctr.mounts]
        link = await stack.enter_async_context(session.services.bound(ctr.bindings, namespace))
        mounts += [BindMount(target, source, read_only=True) for target, source in link.files.items()]
        yield replace(process, env=env, mounts=tuple(mounts), netns=link.netns), link


async def scrubber(session: Session, ctr: Container) -> Callable[[str], str]:
    """Return what keeps secrets out of a command's output: its own of any length, all others of some length."""
    own = Scrubber(shortest=1)
    mounted = [mount.source for mount in ctr.mounts if mount.kind == "secret" and mount.source]
    for secret in (*(secret for _, secret in ctr.secret_env), *mounted):
        own.add((await secret.value()).plaintext)
    return lambda text: session.scrub(own(text))


async def _mount(session: Session, stack: contextlib.AsyncExitStack, files: Filesystem, mount: MountPoint) -> Mount:
    match mount.kind:
        case "tree":
            return TreeMount(mount.target, files.mounted[mount.target], mount.read_only)
        case "temp":
            return TempMount(mount.target, mount.size)
        case "secret" if mount.source:
            plaintext = (await mount.source.value()).plaintext
            return SecretMount(mount.target, plaintext, mount.owner, mount.mode)
        case "cache" if mount.source:
            volume: CacheVolume = await mount.source.value()
            owner = await owner_in(session.store, files.root, mount.owner or volume.owner)
            seed = await (mount.seed or volume.source).value() if mount.seed or volume.source else None  # type: ignore[union-attr]
            sharing = mount.sharing if mount.sharing != "SHARED" else volume.sharing
            folder = await stack.enter_async_context(cache_folder(session.store, volume.key, sharing))
            if not folder.exists():
                await session.store.run(_new_volume, session.store, folder, seed, owner)
            return BindMount(mount.target, str(folder))
    raise NotSupportedError(f"Container.with{mount.kind.capitalize()}")


@contextlib.asynccontextmanager
async def cache_folder(store: Store, key: str, sharing: str) -> AsyncIterator[Path]:
    """Yield the folder of a cache volume: LOCKED waits for it, PRIVATE takes the first that is not in use."""
    name = hashlib.sha256(key.encode()).hexdigest()[:16]
    if sharing == "SHARED":
        yield store.volumes / name
    elif sharing == "LOCKED":
        async with store.lock(f"volume-{name}"):
            yield store.volumes / name
    else:
        for number in itertools.count(1):
            async with contextlib.AsyncExitStack() as stack:
                try:
                    await stack.enter_async_context(store.lock(f"volume-{name}-{number}", wait=False))
                except BlockingIOError:
                    continue
                yield store.volumes / f"{name}-{number}"
                return


def _new_volume(store: Store, folder: Path, seed: Tree | None, owner: Owner | None) -> None:
    """Make a cache volume, with what it starts with. Runs in a worker thread; a race is won by the first."""
    fresh = store.temporary("volume")
    if seed:
        with view(store, seed) as root:
            source = root + seed.path.rstrip("/")
            seed_upper(fresh, source)
            editor = Editor(str(fresh), "/")
            editor.copy_directory(source, "/", Selection(), owner, None)
            editor.finish(fresh)
    if owner:
        os.chown(fresh, owner.uid, owner.gid)
    try:
        fresh.rename(folder)
    except OSError:
        shutil.rmtree(fresh)
