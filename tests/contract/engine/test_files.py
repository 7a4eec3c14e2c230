"""Directories and files."""

from pathlib import Path

import dagger
import pytest


def sample(dag: dagger.Client) -> dagger.Directory:
    return (
        dag.directory()
        .with_new_file("a.txt", "a")
        .with_new_file("sub/b.txt", "b")
        .with_new_file("sub/deep/c.md", "c")
        .with_new_directory("empty", permissions=0o755)
    )


async def test_entries_mark_directories(dag: dagger.Client):
    assert await sample(dag).entries() == ["a.txt", "empty/", "sub/"]
    assert await sample(dag).entries(path="sub") == ["b.txt", "deep/"]


async def test_glob_spans_directories(dag: dagger.Client):
    assert await sample(dag).glob("**/*.txt") == ["a.txt", "sub/b.txt"]
    assert await sample(dag).glob("*") == ["a.txt", "empty/", "sub/"]


async def test_files_are_read_whole_and_by_lines(dag: dagger.Client):
    file = dag.directory().with_new_file("f", "one\ntwo\nthree\n").file("f")
    assert await file.contents() == "one\ntwo\nthree\n"
    assert await file.contents(offset_lines=1, limit_lines=1) == "two\n"
    assert await file.size() == 14
    assert await file.name() == "f"


async def test_a_missing_path_is_named(dag: dagger.Client):
    with pytest.raises(dagger.QueryError, match="nowhere"):
        await sample(dag).file("nowhere").contents()
    with pytest.raises(dagger.QueryError, match="nowhere"):
        await sample(dag).directory("nowhere").entries()


async def test_without_takes_away_and_leaves_the_rest(dag: dagger.Client):
    left = sample(dag).without_file("a.txt").without_directory("sub/deep")
    assert await left.glob("**") == ["empty/", "sub/", "sub/b.txt"]


async def test_filter_includes_and_excludes(dag: dagger.Client):
    assert await sample(dag).filter(include=["sub/**"]).glob("**/*.*") == ["sub/b.txt", "sub/deep/c.md"]
    assert await sample(dag).filter(exclude=["**/*.md"]).glob("**/*.*") == ["a.txt", "sub/b.txt"]


async def test_with_directory_merges_and_replaces(dag: dagger.Client):
    new = dag.directory().with_new_file("b.txt", "newer").with_new_file("d.txt", "d")
    merged = sample(dag).with_directory("sub", new)
    assert await merged.file("sub/b.txt").contents() == "newer"
    assert await merged.directory("sub").entries() == ["b.txt", "d.txt", "deep/"]


async def test_with_file_keeps_the_name_in_a_directory(dag: dagger.Client):
    file = dag.directory().with_new_file("name", "x").file("name")
    placed = dag.directory().with_file("into/", file).with_file("as/other", file)
    assert await placed.glob("**/*") == ["as/", "as/other", "into/", "into/name"]


async def test_permissions_owner_and_times_are_set(dag: dagger.Client, debian: dagger.Container):
    file = dag.directory().with_new_file("f", "x", permissions=0o640).with_timestamps(1_000_000_000).file("f")
    ctr = debian.with_file("/f", file, owner="1000:1001").with_exec(["stat", "-c", "%a %u:%g %Y", "/f"])
    assert await ctr.stdout() == "640 1000:1001 1000000000\n"


async def test_a_symbolic_link_is_followed_inside_only(dag: dagger.Client):
    tree = sample(dag).with_symlink("sub/b.txt", "link").with_symlink("/etc/passwd", "outside")
    assert await tree.file("link").contents() == "b"
    with pytest.raises(dagger.QueryError):
        await tree.file("outside").contents()
    with pytest.raises(dagger.QueryError):
        await tree.file("../../../../etc/passwd").contents()


async def test_exists_and_stat_tell_kinds_apart(dag: dagger.Client):
    tree = sample(dag).with_symlink("a.txt", "link")
    assert await tree.exists("a.txt", expected_type=dagger.ExistsType.REGULAR_TYPE)
    assert not await tree.exists("a.txt", expected_type=dagger.ExistsType.DIRECTORY_TYPE)
    assert await tree.exists("link", expected_type=dagger.ExistsType.SYMLINK_TYPE)
    assert not await tree.exists("nowhere")
    assert await tree.stat("sub").file_type() == dagger.FileType.DIRECTORY


async def test_a_digest_is_that_of_the_content(dag: dagger.Client):
    assert await sample(dag).digest() == await sample(dag).without_file("none").digest()
    assert await sample(dag).digest() != await sample(dag).with_new_file("a.txt", "b").digest()


async def test_export_writes_to_the_host_and_wipe_removes_the_rest(dag: dagger.Client, tmp_path: Path):
    target = tmp_path / "out"
    target.mkdir()
    (target / "old").write_text("old")
    await sample(dag).export(str(target))
    assert sorted(path.name for path in target.iterdir()) == ["a.txt", "empty", "old", "sub"]
    await sample(dag).export(str(target), wipe=True)
    assert sorted(path.name for path in target.iterdir()) == ["a.txt", "empty", "sub"]
    await sample(dag).file("a.txt").export(str(tmp_path / "one"))
    assert (tmp_path / "one").read_text() == "a"


async def test_a_host_directory_honours_include_exclude_and_gitignore(dag: dagger.Client, tmp_path: Path):
    for name in ("keep.ts", "drop.log", "node_modules/m.js", "src/keep.ts", "src/drop.log"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    (tmp_path / ".gitignore").write_text("*.log\n/node_modules/\n")
    (tmp_path / ".git").mkdir()
    host = dag.host()
    assert await host.directory(str(tmp_path), exclude=["node_modules", "**/*.log", ".git*"]).glob("**/*.*") == [
        "keep.ts",
        "src/keep.ts",
    ]
    assert await host.directory(str(tmp_path), include=["src"]).glob("**/*.*") == ["src/drop.log", "src/keep.ts"]
    assert await host.directory(str(tmp_path), gitignore=True).glob("**/*.ts") == ["keep.ts", "src/keep.ts"]
    assert await host.directory(str(tmp_path), gitignore=True).glob("**/*.log") == []
    assert await host.directory(str(tmp_path), gitignore=True).exists("node_modules") is False


async def test_changes_are_added_modified_and_removed(dag: dagger.Client):
    before = sample(dag)
    after = before.with_new_file("a.txt", "changed").with_new_file("new/file", "x").without_directory("sub")
    changes = after.changes(before)
    assert await changes.added_paths() == ["new/", "new/file"]
    assert await changes.modified_paths() == ["a.txt"]
    assert await changes.removed_paths() == ["sub/"]
    assert not await changes.is_empty()
    assert await before.changes(sample(dag)).is_empty()
    assert await changes.layer().glob("**/*") == ["a.txt", "new/", "new/file"]


async def test_the_files_of_a_container_are_a_directory(debian: dagger.Container):
    ctr = debian.with_new_file("/data/x", "x").with_exec(["sh", "-c", "echo y > /data/y; rm /data/x"])
    assert await ctr.directory("/data").entries() == ["y"]
    assert await ctr.rootfs().file("data/y").contents() == "y\n"
    assert await debian.exists("/data") is False


async def test_an_object_passed_as_an_argument_is_the_same_object(dag: dagger.Client, debian: dagger.Container):
    built = debian.with_exec(["sh", "-c", "mkdir /out; echo built > /out/file"]).directory("/out")
    assert await dag.directory().with_directory("copy", built).file("copy/file").contents() == "built\n"
    synced = await debian.with_exec(["sh", "-c", "echo kept > /kept"]).sync()
    assert await synced.file("/kept").contents() == "kept\n"
