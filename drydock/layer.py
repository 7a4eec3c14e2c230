"""Layers between their two forms: a directory as overlayfs keeps it, and a tar as images carry it."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import os
import shutil
import stat
import tarfile
import zlib
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

from drydock.edit import OPAQUE
from drydock.errors import ImageError
from drydock.graph import key_of
from drydock.tree import resolve

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from drydock.store import Store

WHITEOUT = ".wh."
OPAQUE_MARK = ".wh..wh..opq"
KEPT_ATTRIBUTES = ("security.capability", "user.")
GZIP_LEVEL = 6
GZIP_MAGIC = b"\x1f\x8b"
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
CHUNK = 1 << 20


@dataclass(frozen=True)
class Blob:
    """A packed layer: digest and size of the blob, digest of the tar in it, and its compression ("" or "gzip")."""

    digest: str
    size: int
    diff_id: str
    compression: str = "gzip"


class Hashed:
    """A file for writing that knows the digest of what was written."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._hash = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes) -> int:
        """Write and count."""
        self._hash.update(data)
        self.size += len(data)
        return self._file.write(data)

    def tell(self) -> int:
        """Return the position: tarfile asks for it."""
        return self.size

    def flush(self) -> None:
        """Pass on: gzip asks for it."""
        self._file.flush()

    @property
    def digest(self) -> str:
        """`sha256:…` of what was written so far."""
        return f"sha256:{self._hash.hexdigest()}"


def pack(store: Store, layer: str, *, latest: int | None = None, compression: str = "gzip") -> Blob:
    """Return a layer as a blob in the store; packed once.

    The tar is sorted, with numeric owners and times in whole seconds; the same layer gives the same bytes. Runs in a
    worker thread. Entries with a later time than `latest` (seconds since the epoch) are written with that; a layer that
    has none is the same blob for every such `latest`.
    """
    if latest is not None and _latest_time(store, layer) <= latest:
        latest = None
    key = key_of("blob", layer, latest, compression)
    found = store.record(key) or (store.record(key_of("blob", layer)) if compression == "gzip" else None)
    if found:
        return Blob(**found)
    temporary = store.temporary("pack") / "blob"
    with temporary.open("wb") as raw:
        packed = Hashed(raw)
        if compression == "gzip":
            with gzip.GzipFile("", "wb", GZIP_LEVEL, packed, mtime=0) as zipped:
                plain = Hashed(zipped)  # type: ignore[arg-type]
                _write_tar(plain, str(store.layers / layer), latest)
        else:
            plain = packed
            _write_tar(plain, str(store.layers / layer), latest)
    blob = Blob(packed.digest, packed.size, plain.digest, compression)
    temporary.rename(blob_path(store, blob.digest))
    store.save(key, vars(blob))
    return blob


def _latest_time(store: Store, layer: str) -> int:
    """Return the latest time of a layer's entries, in whole seconds since the epoch; looked up once."""
    key = key_of("latest", layer)
    if not (found := store.record(key)):
        times = (int(info.st_mtime) for _, info in _entries(str(store.layers / layer), ""))
        found = {"seconds": max(times, default=0)}
        store.save(key, found)
    return int(found["seconds"])


def blob_path(store: Store, digest: str) -> Path:
    """Return where a blob is kept."""
    return store.blobs / digest.removeprefix("sha256:")


def _write_tar(out: Hashed, root: str, latest: int | None) -> None:
    first_seen: dict[tuple[int, int], str] = {}
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:  # type: ignore[call-overload]
        for path, info in _entries(root, ""):
            for member in _members(root, path, info):
                if latest is not None:
                    member.mtime = min(member.mtime, latest)
                if not (member.isreg() and stat.S_ISREG(info.st_mode)):
                    tar.addfile(member)
                    continue
                original = first_seen.setdefault((info.st_dev, info.st_ino), path)
                if original != path:
                    member.type, member.linkname, member.size = tarfile.LNKTYPE, original, 0
                    tar.addfile(member)
                    continue
                with open(os.path.join(root, path), "rb") as handle:
                    tar.addfile(member, handle)


def _entries(root: str, base: str) -> Iterator[tuple[str, os.stat_result]]:
    with os.scandir(os.path.join(root, base)) as found:
        entries = sorted(found, key=lambda e: e.name)
    for entry in entries:
        path = f"{base}/{entry.name}" if base else entry.name
        info = entry.stat(follow_symlinks=False)
        yield path, info
        if stat.S_ISDIR(info.st_mode):
            yield from _entries(root, path)


def _members(root: str, path: str, info: os.stat_result) -> Iterator[tarfile.TarInfo]:
    """Yield the tar entries of one path: one, or two for a directory that hides what is below."""
    member = tarfile.TarInfo(path)
    member.mode, member.uid, member.gid = stat.S_IMODE(info.st_mode), info.st_uid, info.st_gid
    member.mtime = int(info.st_mtime)
    kind = stat.S_IFMT(info.st_mode)
    real = os.path.join(root, path)
    if kind == stat.S_IFCHR and info.st_rdev == 0:
        yield _mark(os.path.join(os.path.dirname(path), WHITEOUT + os.path.basename(path)))
        return
    if kind == stat.S_IFDIR:
        member.type = tarfile.DIRTYPE
    elif kind == stat.S_IFLNK:
        member.type, member.linkname = tarfile.SYMTYPE, os.readlink(real)
    elif kind == stat.S_IFREG:
        member.size = info.st_size
    elif kind == stat.S_IFIFO:
        member.type = tarfile.FIFOTYPE
    elif kind in (stat.S_IFCHR, stat.S_IFBLK):
        member.type = tarfile.CHRTYPE if kind == stat.S_IFCHR else tarfile.BLKTYPE
        member.devmajor, member.devminor = os.major(info.st_rdev), os.minor(info.st_rdev)
    else:
        return  # a socket means nothing in an image
    if kind != stat.S_IFLNK:
        member.pax_headers = _attributes(real)
    yield member
    if kind == stat.S_IFDIR and OPAQUE in os.listxattr(real):
        yield _mark(f"{path}/{OPAQUE_MARK}")


def _attributes(real: str) -> dict[str, str]:
    """Return the extended attributes that images carry, as tar headers."""
    kept = [name for name in sorted(os.listxattr(real)) if name.startswith(KEPT_ATTRIBUTES)]
    return {f"SCHILY.xattr.{n}": os.getxattr(real, n).decode("utf-8", "surrogateescape") for n in kept}


def _mark(path: str) -> tarfile.TarInfo:
    member = tarfile.TarInfo(path)
    member.mode = 0
    return member


def diff_id_of(blob: Path) -> str:
    """Return the digest of a layer's tar, uncompressed. Runs in a worker thread."""
    with blob.open("rb") as raw:
        magic = raw.read(4)
    if magic == ZSTD_MAGIC:
        raise ImageError("a layer is compressed with zstd, which the embedded engine cannot read; use gzip")
    try:
        with gzip.open(blob) if magic.startswith(GZIP_MAGIC) else blob.open("rb") as tar:
            return f"sha256:{hashlib.file_digest(tar, 'sha256').hexdigest()}"
    except (OSError, EOFError, zlib.error) as error:
        raise ImageError(f"a layer cannot be read: {error}") from error


def unpack(root: str, blob: Path) -> None:
    """Apply an image's layer to the merged view of those below it. Runs in a worker thread."""
    times: list[tuple[str, int]] = []
    with tarfile.open(blob, "r:*") as tar:
        for member in tar:
            _apply(root, tar, member, times)
    for path, mtime in reversed(times):
        with contextlib.suppress(FileNotFoundError):
            os.utime(path, (mtime, mtime))


def _apply(root: str, tar: tarfile.TarFile, member: tarfile.TarInfo, times: list[tuple[str, int]]) -> None:
    folder, name = os.path.split(member.name.rstrip("/"))
    parent = resolve(root, folder)
    if name in ("", "."):
        return
    os.makedirs(parent, exist_ok=True)
    if name.startswith(WHITEOUT):
        hidden = os.listdir(parent) if name == OPAQUE_MARK else [name.removeprefix(WHITEOUT)]
        for entry in hidden:
            _remove(os.path.join(parent, entry))
        return
    target = os.path.join(parent, name)
    if not (member.isdir() and os.path.isdir(target) and not os.path.islink(target)):
        _remove(target)
        _create(root, tar, member, target)
    if member.islnk():
        return
    os.chown(target, member.uid, member.gid, follow_symlinks=False)
    if not member.issym():
        os.chmod(target, member.mode)
        _set_attributes(target, member.pax_headers)
    os.utime(target, (member.mtime, member.mtime), follow_symlinks=False)
    if member.isdir():
        times.append((target, int(member.mtime)))


def _set_attributes(target: str, headers: Mapping[str, str]) -> None:
    for header, value in headers.items():
        if header.startswith("SCHILY.xattr."):
            with contextlib.suppress(OSError):
                name = header.removeprefix("SCHILY.xattr.")
                os.setxattr(target, name, value.encode("utf-8", "surrogateescape"))


def _create(root: str, tar: tarfile.TarFile, member: tarfile.TarInfo, target: str) -> None:
    if member.isdir():
        os.mkdir(target)
    elif member.issym():
        os.symlink(member.linkname, target)
    elif member.islnk():
        os.link(resolve(root, member.linkname, follow_last=False), target)
    elif member.isfifo():
        os.mkfifo(target)
    elif member.ischr() or member.isblk():
        kind = stat.S_IFCHR if member.ischr() else stat.S_IFBLK
        os.mknod(target, kind | member.mode, os.makedev(member.devmajor, member.devminor))
    elif source := tar.extractfile(member):
        with source, open(target, "xb") as out:
            shutil.copyfileobj(source, out, CHUNK)


def _remove(path: str) -> None:
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    elif os.path.lexists(path):
        os.unlink(path)
