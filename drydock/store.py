"""The cache folder: layers, records of operations, locks, and the session's temporary folder.

<cache>/v1/
    in-use              shared lock of every running session; pruning takes it alone
    starting            held by a session while it starts
    layers/<id>/        file trees; a snapshot is a chain of them, as overlayfs stacks them
    ops/<kk>/<key>.json what an operation gave: layers, output, exit code
    blobs/sha256/…      image blobs, pulled or packed
    volumes/<id>/       cache volumes
    locks/<key>         one writer per key, over all engines
    tmp/<session>/      removed when its session is gone
    secret.key          random; secrets enter keys only as HMAC under it
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import functools
import hmac
import json
import os
import secrets
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from drydock import mounts
from drydock.errors import CacheFolderError
from drydock.schema import write_atomically

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

T = TypeVar("T")

LAYOUT = "v1"
CLONE_FS = 0x200


def cache_folder() -> Path:
    """Return where state is kept: $SLIPWAY_CACHE, $XDG_CACHE_HOME/slipway or ~/.cache/slipway."""
    if explicit := os.environ.get("SLIPWAY_CACHE"):
        return Path(explicit).absolute()
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser().absolute() / "slipway"


def check_folder(folder: Path) -> None:
    """Refuse a cache folder that mount options could not name.

    Raises
    ------
    CacheFolderError
        Its path has a character that separates overlayfs options.
    """
    if found := [mark for mark in (",", ":", "\\") if mark in str(folder)]:
        raise CacheFolderError(f"{folder}: the path has {' and '.join(map(repr, found))}, which overlayfs cannot take")


class Store:
    """One session's hold on the cache folder."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / LAYOUT
        self.layers = self.root / "layers"
        self.blobs = self.root / "blobs" / "sha256"
        self.volumes = self.root / "volumes"
        self._ops = self.root / "ops"
        self._locks = self.root / "locks"
        check_folder(folder)
        try:
            for path in (self.layers, self.blobs, self.volumes, self._ops, self._locks, self.root / "tmp"):
                path.mkdir(parents=True, exist_ok=True)
            self.root.chmod(0o700)
            self._in_use = (self.root / "in-use").open("a")
        except OSError as error:
            raise CacheFolderError(f"{folder}: {error.strerror or error}") from error
        fcntl.flock(self._in_use, fcntl.LOCK_SH)
        with (self.root / "starting").open("a") as starting:  # lest another session takes ours for abandoned
            fcntl.flock(starting, fcntl.LOCK_EX)
            remove_abandoned(self.root / "tmp")
            self.tmp = Path(tempfile.mkdtemp(dir=self.root / "tmp"))
            self._alive = (self.tmp / "alive").open("w")
            fcntl.flock(self._alive, fcntl.LOCK_EX)
        self._secret = self._secret_key()
        self._pool = ThreadPoolExecutor(8, "drydock", initializer=self._enter_layers)
        self._count = 0

    def close(self) -> None:
        """Remove the session's temporary folder."""
        self._pool.shutdown(cancel_futures=True)
        shutil.rmtree(self.tmp, ignore_errors=True)
        self._alive.close()
        self._in_use.close()

    def _enter_layers(self) -> None:
        """Give a worker thread its own working directory, so that overlay options can name layers in short."""
        mounts.unshare(CLONE_FS)
        os.chdir(self.layers)

    async def run(self, work: Callable[..., T], *args: Any, **kwargs: Any) -> T:  # noqa: ANN401 - as `work` takes them
        """Do file work in a worker thread, whose working directory is `layers`."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, functools.partial(work, *args, **kwargs))

    # Records

    def record(self, key: str) -> dict[str, Any] | None:
        """Return what an operation gave the last time, and note that it was of use."""
        path = self._record_path(key)
        try:
            found: dict[str, Any] = json.loads(path.read_bytes())
        except FileNotFoundError:
            return None
        os.utime(path)
        return found

    def save(self, key: str, record: dict[str, Any]) -> None:
        """Keep what an operation gave."""
        write_atomically(self._record_path(key), json.dumps(record, separators=(",", ":")).encode())

    def _record_path(self, key: str) -> Path:
        return self._ops / key[:2] / f"{key}.json"

    # Layers

    def temporary(self, name: str = "t") -> Path:
        """Make an empty folder that lives no longer than the session."""
        self._count += 1
        path = self.tmp / f"{name}{self._count}"
        path.mkdir(mode=0o755)
        return path

    def keep_layer(self, tree: Path) -> str:
        """Move a finished tree into the store and return its layer id.

        Ids are random: whatever is remembered of a layer never meets another one of the same name.
        """
        layer = secrets.token_hex(8)
        tree.rename(self.layers / layer)
        return layer

    # Secrets

    def seal(self, plaintext: str) -> str:
        """Return what stands for a secret in keys: nobody can tell the secret from it without this cache's own key."""
        return hmac.new(self._secret, plaintext.encode("utf-8", "surrogateescape"), "sha256").hexdigest()

    def _secret_key(self) -> bytes:
        path = self.root / "secret.key"
        if not path.exists():
            temporary = self.tmp / "secret.key"
            temporary.write_bytes(secrets.token_bytes(32))
            temporary.chmod(0o600)
            with contextlib.suppress(FileExistsError):
                os.link(temporary, path)
        return path.read_bytes()

    # Locks

    @contextlib.asynccontextmanager
    async def lock(self, key: str, *, wait: bool = True) -> AsyncIterator[None]:
        """Hold the only right to make what `key` stands for, over all engines that share the folder.

        Raises
        ------
        BlockingIOError
            Somebody else holds it, and `wait` is false.
        """
        path = self._locks / key
        while True:
            with path.open("a") as handle:
                pause = 0.005
                while not _try_lock(handle.fileno()):
                    if not wait:
                        raise BlockingIOError(key)
                    await asyncio.sleep(pause)
                    pause = min(pause * 2, 0.2)
                if not _is_still(path, handle.fileno()):
                    continue  # its last holder removed it while we waited
                try:
                    yield
                finally:
                    path.unlink(missing_ok=True)
                return


def _try_lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_still(path: Path, fd: int) -> bool:
    try:
        return path.stat().st_ino == os.fstat(fd).st_ino
    except FileNotFoundError:
        return False


def remove_abandoned(folder: Path) -> None:
    """Remove the temporary folders of sessions that are gone: nobody holds their `alive` lock."""
    for path in folder.iterdir():
        try:
            with (path / "alive").open("a") as alive:
                if _try_lock(alive.fileno()):
                    shutil.rmtree(path, ignore_errors=True)
        except FileNotFoundError:
            continue  # its session has just removed it
