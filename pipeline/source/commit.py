"""The commit that a source was taken from, and whether the source differs from it."""

import fnmatch
import re
from pathlib import PurePosixPath
from typing import Annotated

import dagger
from dagger import Doc

from pipeline.core.errors import InvalidInputError
from pipeline.core.execution import gather
from pipeline.core.sdk import field, object_type
from pipeline.source.git import call_git, open_git

UNVERSIONED = "unversioned"
# Never part of a build: what is installed or private, wherever it lies; what is built, at the service's root only,
# because a folder of the source may well have such a name.
NOT_SOURCE_ANYWHERE = ("node_modules", ".git", ".env")
NOT_SOURCE_AT_ROOT = ("dist", "coverage", ".env.*")
# Ignored files too: a build would read them, and they are in no commit.
# Submodules are looked for in the index instead: here Git would run in them, with their configuration.
STATUS = (
    *("status", "--porcelain", "-z", "--untracked-files=all", "--ignored=matching", "--ignore-submodules=all"),
    "--",
)
_SUBMODULE = "160000"
_SHA = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


@object_type
class Commit:
    """The commit that a source was taken from."""

    sha: Annotated[str, Doc("Full hash, or `unversioned` where there is no Git.")] = field()
    created: Annotated[str, Doc("Commit time, RFC 3339, or empty where it is unknown.")] = field(default="")
    epoch: Annotated[int, Doc("Commit time, seconds since 1970, or 0.")] = field(default=0)
    url: Annotated[str, Doc("Address of the repository, without credentials, or empty.")] = field(default="")
    path: Annotated[str, Doc("What of it is built: the service's folder.")] = field(default="")
    dirty: Annotated[bool, Doc("Whether the source differs from the commit.")] = field(default=False)
    changes: Annotated[list[str], Doc("How it differs, as `git status` prints it.")] = field(default=list)

    @property
    def tag(self) -> str:
        """The tag for people: twelve digits of the hash, marked where the tree was dirty."""
        return self.sha[:12] + ("-dirty" if self.dirty else "")


def check_releasable(commit: Commit) -> None:
    """Refuse source that differs from its commit, where it would leave a rehearsal.

    Raises:
        InvalidInputError: if it has uncommitted changes, or no commit.
    """
    if commit.dirty or commit.sha == UNVERSIONED:
        problem = "has no commit" if commit.sha == UNVERSIONED else "has uncommitted changes"
        raise InvalidInputError(
            f"publish: the source {problem}, so it may only be rehearsed",
            output="\n".join(commit.changes),
            hint="commit or remove them, then run again",
        )


def parse_sha(value: str) -> str:
    """Return a full commit hash.

    Raises:
        InvalidInputError: if it is shortened, a branch or anything else.
    """
    if not _SHA.fullmatch(value):
        raise InvalidInputError(
            f"commit {value!r} is not a full commit hash", hint="give 40 hex digits: `git rev-parse HEAD`"
        )
    return value


def changes_of(status: str, path: str) -> list[str]:
    """Return the changes below `path` that `git status --porcelain -z` lists, but ignored files that enter no build."""
    entries = [entry for entry in status.split("\0") if entry]
    return [entry for entry in entries if not (entry.startswith("!! ") and _enters_no_build(entry[3:], path))]


def _enters_no_build(name: str, path: str) -> bool:
    parts = PurePosixPath(name).relative_to(PurePosixPath(path)).parts
    return any(part in NOT_SOURCE_ANYWHERE for part in parts) or any(
        fnmatch.fnmatchcase(parts[0], pattern) for pattern in NOT_SOURCE_AT_ROOT
    )


def submodules_of(stage: str) -> list[str]:
    """Return the submodules that `git ls-files --stage -z` lists: their files are of another repository's commit."""
    entries = (entry.partition("\t") for entry in stage.split("\0") if entry.startswith(f"{_SUBMODULE} "))
    return [f"S  {name} (submodule)" for _, _, name in entries]


async def read_commit(source: dagger.Directory, path: str, *, image: str, sha: str = "") -> Commit:
    """Read the commit of a working tree, and whether `path` in it differs from that commit.

    Args:
        source: the root of the repository, with its `.git`.
        path: what is built, relative to the root: changes elsewhere do not make it dirty.
        image: an image with Git.
        sha: the commit as the caller gives it; trusted only where there is no `.git`.

    Raises:
        InvalidInputError: if `sha` is not a full hash, differs from HEAD, or cannot be checked.
        StageFailedError: if Git cannot read the repository, for example because it has no commit.
    """
    if sha:
        parse_sha(sha)
    if not await source.exists(".git", do_not_follow_symlinks=True):
        return Commit(sha=sha or UNVERSIONED, path=path, dirty=not sha)
    if not await source.exists(".git", expected_type=dagger.ExistsType.DIRECTORY_TYPE, do_not_follow_symlinks=True):
        if sha:
            raise InvalidInputError(
                f"cannot check whether the source is commit {sha}: its .git is not a folder, but names one elsewhere",
                hint="give a clone as --source, not a worktree or submodule",
            )
        return Commit(sha=UNVERSIONED, path=path, dirty=True)

    git, url = await open_git(source, image)
    # A new index, because the tree's own may say of a file that it never changes.
    unbiased = git.with_env_variable("GIT_INDEX_FILE", "/tmp/index").with_exec(["git", "read-tree", "HEAD"])  # noqa: S108
    log, status, stage = await gather(
        call_git(git, "log", "-1", "--format=%H%n%cI%n%ct"),
        call_git(unbiased, *STATUS, path),
        call_git(unbiased, "ls-files", "--stage", "-z", "--", path),
    )
    changes = [*changes_of(status, path), *submodules_of(stage)]
    head, created, epoch = log.split()
    if sha and sha != head:
        raise InvalidInputError(
            f"commit {sha} is not the one that the source holds: its HEAD is {head}",
            hint="leave --commit out, or check that commit out",
        )
    return Commit(sha=head, created=created, epoch=int(epoch), url=url, path=path, dirty=bool(changes), changes=changes)
