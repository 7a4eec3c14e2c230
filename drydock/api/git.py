"""Git on a directory that is a repository; the host's git reads it."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from drydock.api import directory as dirs
from drydock.api.changeset import Changeset
from drydock.api.registry import resolves
from drydock.errors import GitError, HostToolError
from drydock.tree import SCRATCH, Selection, Tree, view

if TYPE_CHECKING:
    from drydock.edit import Editor
    from drydock.session import Session
    from drydock.store import Store

SECOND = 1_000_000_000


@dataclass(frozen=True)
class Repository:
    """A directory with a .git in it."""

    tree: Tree


@dataclass(frozen=True)
class Ref:
    """A name of a commit in a repository."""

    tree: Tree
    name: str


def git(store: Store, folder: str, *args: str, index: Path | None = None) -> str:
    """Run git on a folder without writing to it; return what it says.

    The folder may be anybody's, and git runs here as root: so of its configuration, which can name programs to run,
    only the repository's format is taken.

    Raises
    ------
    GitError
        It failed; carries its own words.
    """
    env = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    env |= {
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_NO_LAZY_FETCH": "1",
        "LC_ALL": "C.UTF-8",
    }
    inner = Path(folder, ".git")
    if not inner.is_dir() or inner.is_symlink():
        raise GitError(f"git {' '.join(args)}: not a git repository: it has no .git folder")
    own = store.temporary("git")
    (own / "HEAD").write_bytes((inner / "HEAD").read_bytes())  # as a link, git would take it for another kind
    for name in ("objects", "refs", "packed-refs", "shallow", "info", "index", "reftable"):
        if os.path.lexists(inner / name):
            (own / name).symlink_to(inner / name)
    for key in ("core.repositoryFormatVersion", "extensions.objectFormat", "extensions.refStorage"):
        asked = ["git", "config", "--file", str(inner / "config"), "--no-includes", "--get", key]
        if value := _run(asked, env, check=False).strip():
            _run(["git", "config", "--file", str(own / "config"), key, value], env)
    env |= {"GIT_DIR": str(own), "GIT_WORK_TREE": folder}
    if index:
        env["GIT_INDEX_FILE"] = str(index)
    return _run(["git", "-C", folder, *args], env)


def _run(argv: list[str], env: dict[str, str], *, check: bool = True) -> str:
    try:
        done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise HostToolError("git", "git") from None
    if check and done.returncode:
        raise GitError(f"{' '.join(argv)}: {done.stderr.strip()}")
    return done.stdout


async def ask(session: Session, tree: Tree, *args: str) -> str:
    """Run git on a directory; return its output without the last newline."""

    def run() -> str:
        with view(session.store, tree) as root:
            return git(session.store, root + tree.path, *args)

    return (await session.store.run(run)).removesuffix("\n")


@resolves("Directory.asGit")
async def as_git(session: Session, tree: Tree) -> Repository:
    await ask(session, tree, "rev-parse", "--git-dir")
    return Repository(tree)


@resolves("GitRepository.head")
def head(_session: Session, repository: Repository) -> Ref:
    return Ref(repository.tree, "HEAD")


@resolves("GitRepository.ref")
def ref(_session: Session, repository: Repository, *, name: str) -> Ref:
    return Ref(repository.tree, name)


@resolves("GitRepository.branch")
def branch(_session: Session, repository: Repository, *, name: str) -> Ref:
    return Ref(repository.tree, f"refs/heads/{name.removeprefix('refs/heads/')}")


@resolves("GitRepository.tag")
def tag(_session: Session, repository: Repository, *, name: str) -> Ref:
    return Ref(repository.tree, f"refs/tags/{name.removeprefix('refs/tags/')}")


@resolves("GitRepository.commit")
def commit_ref(_session: Session, repository: Repository, *, id: str) -> Ref:  # noqa: A002 - the API's name
    return Ref(repository.tree, id)


@resolves("GitRepository.branches")
async def branches(session: Session, repository: Repository, *, patterns: list[str] | None = None) -> list[str]:
    return await _names(session, repository, "refs/heads", patterns)


@resolves("GitRepository.tags")
async def tags(session: Session, repository: Repository, *, patterns: list[str] | None = None) -> list[str]:
    return await _names(session, repository, "refs/tags", patterns)


async def _names(session: Session, repository: Repository, kind: str, patterns: list[str] | None) -> list[str]:
    wanted = [f"{kind}/{pattern}" for pattern in patterns or ()] or [kind]
    said = await ask(session, repository.tree, "for-each-ref", "--format=%(refname:lstrip=2)", *wanted)
    return said.splitlines()


@resolves("GitRef.commit")
async def commit(session: Session, ref: Ref) -> str:
    return await ask(session, ref.tree, "rev-parse", "--verify", "--end-of-options", f"{ref.name}^{{commit}}")


@resolves("GitRef.ref")
async def ref_name(session: Session, ref: Ref) -> str:
    full = await ask(session, ref.tree, "rev-parse", "--symbolic-full-name", "--verify", ref.name)
    return full or await commit(session, ref)


@resolves("GitRef.tree")
async def tree(session: Session, ref: Ref, *, discard_git_dir: bool, depth: int, include_tags: bool) -> Tree:
    del depth, include_tags  # the repository is here in full already
    found = await commit(session, ref)
    seconds = int(await ask(session, ref.tree, "show", "--no-patch", "--format=%ct", found))

    def change(editor: Editor) -> None:
        index = session.store.temporary("git") / "index"
        with view(session.store, ref.tree) as root:
            folder = root + ref.tree.path
            git(session.store, folder, "read-tree", found, index=index)
            git(session.store, folder, "checkout-index", "--all", "--force", f"--prefix={editor.base}/", index=index)
            if not discard_git_dir:
                editor.copy_directory(f"{folder}/.git", "/.git", Selection(), None, None)
        editor.set_times("/", seconds * SECOND)

    op = ("checkout", ref.tree.key, found, discard_git_dir)
    return await dirs.changed(session, SCRATCH, op, change, by_content=False)


@resolves("GitRepository.uncommitted")
async def uncommitted(session: Session, repository: Repository) -> Changeset:
    """Compare the last commit with the working directory, without what .gitignore leaves out."""
    before = await tree(session, Ref(repository.tree, "HEAD"), discard_git_dir=True, depth=1, include_tags=False)
    source = repository.tree
    listed = await ask(session, source, "ls-files", "-z", "--cached", "--others", "--exclude-standard")

    def change(editor: Editor) -> None:
        with view(session.store, source) as root:
            for path in sorted(filter(None, listed.split("\0"))):
                real = os.path.join(root + source.path, path)
                if os.path.lexists(real):
                    editor.copy_file(real, path, None, None)

    after = await dirs.changed(session, SCRATCH, ("working-directory", source.key), change)
    return Changeset(before, after)
