"""Directories that are Git repositories."""

import subprocess
from pathlib import Path

import dagger
import pytest


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@example.com", "-C", str(tmp_path)]
    (tmp_path / "file").write_text("one\n")
    (tmp_path / ".gitignore").write_text("ignored\n")
    subprocess.run([*git, "init", "-q", "-b", "main"], check=True)
    subprocess.run([*git, "add", "-A"], check=True)
    subprocess.run([*git, "commit", "-q", "-m", "first"], check=True)
    subprocess.run([*git, "tag", "v1"], check=True)
    return tmp_path


def git(folder: Path, *args: str) -> str:
    return subprocess.run(["git", "-C", str(folder), *args], capture_output=True, text=True, check=True).stdout.strip()


async def test_head_is_the_last_commit(dag: dagger.Client, repository: Path):
    head = dag.host().directory(str(repository)).as_git().head()
    assert await head.commit() == git(repository, "rev-parse", "HEAD")
    assert await head.ref() == "refs/heads/main"


async def test_a_tree_is_what_was_committed(dag: dagger.Client, repository: Path):
    (repository / "file").write_text("changed\n")
    git = dag.host().directory(str(repository)).as_git()
    assert await git.tag("v1").tree(discard_git_dir=True).file("file").contents() == "one\n"
    assert await git.tags() == ["v1"]
    assert await git.branches() == ["main"]


async def test_uncommitted_changes_are_seen_and_ignored_files_are_not(dag: dagger.Client, repository: Path):
    assert await dag.host().directory(str(repository), no_cache=True).as_git().uncommitted().is_empty()
    (repository / "file").write_text("changed\n")
    (repository / "new").write_text("new\n")
    (repository / "ignored").write_text("ignored\n")
    changes = dag.host().directory(str(repository), no_cache=True).as_git().uncommitted()
    assert await changes.modified_paths() == ["file"]
    assert await changes.added_paths() == ["new"]


# A Dagger Engine (v0.21.8) was seen to run it, inside the engine: no promise of its API.
@pytest.mark.drydock
async def test_what_a_repositorys_configuration_names_is_not_run(
    dag: dagger.Client, repository: Path, tmp_path_factory: pytest.TempPathFactory
):
    mark = tmp_path_factory.mktemp("mark") / "ran"
    for kind in ("clean", "smudge"):
        git(repository, "config", f"filter.evil.{kind}", f"touch {mark}; cat")
    git(repository, "config", "core.fsmonitor", f"touch {mark}; false")
    (repository / ".git" / "info" / "attributes").write_text("* filter=evil\n")
    (repository / "file").write_text("changed\n")
    read = dag.host().directory(str(repository), no_cache=True).as_git()
    assert await read.head().tree(discard_git_dir=True).file("file").contents() == "one\n"
    assert await read.uncommitted().modified_paths() == ["file"]
    assert not mark.exists()


async def test_a_directory_without_git_is_an_error(dag: dagger.Client):
    with pytest.raises(dagger.QueryError):
        await dag.directory().with_new_file("f", "x").as_git().head().commit()
