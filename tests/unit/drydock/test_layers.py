"""Layers as directories and as tars. (Whiteouts need mknod, and so root.)"""

import os
import shutil
import tarfile
from pathlib import Path

import pytest

from drydock.layer import _write_tar, blob_path, pack, unpack
from drydock.store import Store


class Sink:
    """A file in memory that tarfile can write to."""

    def __init__(self, path: Path) -> None:
        self.file = path.open("wb")
        self.write, self.tell, self.flush = self.file.write, self.file.tell, self.file.flush


def packed(root: Path, out: Path, latest: int | None = None) -> list[tarfile.TarInfo]:
    sink = Sink(out)
    _write_tar(sink, str(root), latest)  # type: ignore[arg-type]
    sink.file.close()
    with tarfile.open(out) as tar:
        return tar.getmembers()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    (root / "b").mkdir(parents=True)
    (root / "b" / "file").write_text("x")
    (root / "a").symlink_to("b/file")
    os.link(root / "b" / "file", root / "c")
    for path in (root / "b" / "file", root / "b"):
        os.utime(path, (2_000_000_000, 2_000_000_000))
    return root


def test_entries_are_sorted_and_hard_links_are_kept(root: Path, tmp_path: Path):
    members = packed(root, tmp_path / "tar")
    assert [m.name for m in members] == ["a", "b", "b/file", "c"]
    assert (members[3].islnk(), members[3].linkname) == (True, "b/file")
    assert members[0].linkname == "b/file"


def test_the_same_files_give_the_same_bytes(root: Path, tmp_path: Path):
    os.utime(root / "a", (5, 5), follow_symlinks=False)
    packed(root, tmp_path / "one")
    packed(root, tmp_path / "two")
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_no_entry_is_later_than_wanted(root: Path, tmp_path: Path):
    assert {m.mtime for m in packed(root, tmp_path / "tar", latest=1_000_000_000)} == {1_000_000_000}


def test_a_layer_with_nothing_later_than_the_release_is_packed_once_for_all_releases(root: Path, tmp_path: Path):
    store = Store(tmp_path / "cache")
    os.utime(root / "a", (5, 5), follow_symlinks=False)
    shutil.copytree(root, store.layers / "layer", symlinks=True)
    release, next_release, before = 2_000_000_001, 2_000_000_002, 1_000_000_000
    first = pack(store, "layer", latest=release)
    written = blob_path(store, first.digest).stat().st_mtime_ns
    assert pack(store, "layer", latest=next_release) == first
    assert blob_path(store, first.digest).stat().st_mtime_ns == written
    assert pack(store, "layer", latest=before) != first


@pytest.mark.skipif(os.geteuid() != 0, reason="whiteouts are device nodes, which root makes")
def test_what_a_layer_removes_is_removed_where_it_is_unpacked(tmp_path: Path):
    layer, below = tmp_path / "layer", tmp_path / "below"
    (layer / "opaque").mkdir(parents=True)
    os.mknod(layer / "gone", 0o020000, os.makedev(0, 0))
    os.setxattr(layer / "opaque", "trusted.overlay.opaque", b"y")
    (layer / "opaque" / "new").write_text("new")
    for name in ("gone", "kept", "opaque/old"):
        (below / name).parent.mkdir(parents=True, exist_ok=True)
        (below / name).write_text(name)
    names = [m.name for m in packed(layer, tmp_path / "tar")]
    assert names == [".wh.gone", "opaque", "opaque/.wh..wh..opq", "opaque/new"]
    unpack(str(below), tmp_path / "tar")
    assert sorted(str(p.relative_to(below)) for p in below.rglob("*")) == ["kept", "opaque", "opaque/new"]


def test_nothing_is_unpacked_outside(tmp_path: Path):
    (tmp_path / "root").mkdir()
    (tmp_path / "evil").write_text("evil")
    with tarfile.open(tmp_path / "tar", "w") as tar:
        tar.add(tmp_path / "evil", "../../escaped")
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, "/../.."
        tar.addfile(link)
        tar.add(tmp_path / "evil", "link/through")
    unpack(str(tmp_path / "root"), tmp_path / "tar")
    assert not (tmp_path / "escaped").exists()
    assert sorted(p.name for p in (tmp_path / "root").iterdir()) == ["escaped", "link", "through"]
