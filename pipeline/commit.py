"""Which commit the source is, read with Git."""

import fnmatch
import re
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Annotated
from urllib.parse import urlsplit, urlunsplit

import anyio
import dagger
from dagger import Doc, dag

from pipeline.errors import InvalidInputError
from pipeline.execution import run
from pipeline.schema import field, object_type

UNVERSIONED = "unversioned"
# Never part of a build: what is installed or private, wherever it lies; what is built, at the service's root only,
# because a folder of the source may well have such a name.
NOT_SOURCE_ANYWHERE = ("node_modules", ".git", ".env")
NOT_SOURCE_AT_ROOT = ("dist", "coverage", ".env.*")
# Ignored files too: a build would read them, and no commit tells of them.
STATUS = ("status", "--porcelain", "-z", "--untracked-files=all", "--ignored=matching", "--")
_SHA = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


@object_type
class Commit:
    """The commit that a source was taken from."""

    sha: Annotated[str, Doc("Full hash, or `unversioned` where there is no Git.")] = field()
    created: Annotated[str, Doc("Commit time, RFC 3339, or empty where it is unknown.")] = field(default="")
    epoch: Annotated[int, Doc("Commit time, seconds since 1970, or 0.")] = field(default=0)
    url: Annotated[str, Doc("Address of the repository, without credentials, or empty.")] = field(default="")
    dirty: Annotated[bool, Doc("Whether the source holds what no commit holds.")] = field(default=False)
    changes: Annotated[list[str], Doc("That, as `git status` names it.")] = field(default=list)

    @property
    def tag(self) -> str:
        """The tag for people: twelve digits of the hash, marked where the tree was dirty."""
        return self.sha[:12] + ("-dirty" if self.dirty else "")


def check_releasable(commit: Commit) -> None:
    """Refuse source that no commit tells of, where it would leave a rehearsal.

    Raises:
        InvalidInputError: if it has uncommitted changes, or no commit.
    """
    if commit.dirty or commit.sha == UNVERSIONED:
        what = "has no commit" if commit.sha == UNVERSIONED else "has uncommitted changes"
        raise InvalidInputError(
            f"publish: the source {what}, so it may only be rehearsed",
            output="\n".join(commit.changes),
            hint="commit or remove them, then run again",
        )


def parse_sha(value: str) -> str:
    """Return a full commit hash as given.

    Raises:
        InvalidInputError: if it is shortened, a branch or anything else.
    """
    if not _SHA.fullmatch(value):
        raise InvalidInputError(
            f"commit {value!r} is not a full commit hash", hint="give 40 hex digits: `git rev-parse HEAD`"
        )
    return value


def without_credentials(url: str) -> str:
    """Return a remote's address as https or as it was, never with user or password."""
    if match := re.fullmatch(r"(?:ssh://)?git@([^:/]+)[:/](.+?)(?:\.git)?/?", url):
        return f"https://{match[1]}/{match[2]}"
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        return ""
    host = parts.hostname if parts.port is None else f"{parts.hostname}:{parts.port}"
    return urlunsplit((parts.scheme, host, parts.path.removesuffix(".git"), "", ""))


def changes_of(status: str, path: str) -> list[str]:
    """Return what `git status --porcelain -z` tells of below `path`, without ignored files that enter no build."""
    entries = [entry for entry in status.split("\0") if entry]
    return [entry for entry in entries if not (entry.startswith("!! ") and _enters_no_build(entry[3:], path))]


def _enters_no_build(name: str, path: str) -> bool:
    parts = PurePosixPath(name).relative_to(PurePosixPath(path)).parts
    return any(part in NOT_SOURCE_ANYWHERE for part in parts) or any(
        fnmatch.fnmatchcase(parts[0], pattern) for pattern in NOT_SOURCE_AT_ROOT
    )


async def read_commit(source: dagger.Directory, path: str, *, image: str, sha: str = "") -> Commit:
    """Read the commit of a working tree, and whether `path` in it differs from that commit.

    Args:
        source: the root of the repository, with its `.git`.
        path: what is built, relative to the root: changes elsewhere do not make it dirty.
        image: an image with Git.
        sha: the caller's word, where there is no `.git`.

    Raises:
        InvalidInputError: if `sha` is no full hash, or is not the commit that Git says.
    """
    if sha:
        parse_sha(sha)
    if not await source.exists(".git", expected_type=dagger.ExistsType.DIRECTORY_TYPE):
        return Commit(sha=sha or UNVERSIONED, dirty=not sha)

    git = (
        dag.container()
        .from_(image)
        # The tree belongs to whoever owns it, and nothing that its configuration names is run.
        .with_env_variable("GIT_CONFIG_COUNT", "2")
        .with_env_variable("GIT_CONFIG_KEY_0", "safe.directory")
        .with_env_variable("GIT_CONFIG_VALUE_0", "*")
        .with_env_variable("GIT_CONFIG_KEY_1", "core.fsmonitor")
        .with_env_variable("GIT_CONFIG_VALUE_1", "false")
        .with_env_variable("GIT_OPTIONAL_LOCKS", "0")
        .with_mounted_directory("/source", source)
        .with_workdir("/source")
    )
    answers: dict[str, str] = {}

    # An index made anew, because the tree's own may say of a file that it never changes.
    unbiased = git.with_env_variable("GIT_INDEX_FILE", "/tmp/index").with_exec(["git", "read-tree", "HEAD"])  # noqa: S108

    async def ask(name: str, argv: Sequence[str], container: dagger.Container = git) -> None:
        answers[name] = await run(
            container, ["git", *argv], what="git", hint="commit something first, or give --commit and no .git"
        )

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask, "log", ["log", "-1", "--format=%H%n%cI%n%ct"])
        tasks.start_soon(ask, "status", [*STATUS, path], unbiased)
        tasks.start_soon(ask, "url", ["config", "--default", "", "--get", "remote.origin.url"])

    changes = changes_of(answers["status"], path)
    head, created, epoch = answers["log"].split()
    if sha and sha != head:
        raise InvalidInputError(
            f"commit {sha} is not what the source holds: its HEAD is {head}",
            hint="leave --commit out, or check that commit out",
        )
    return Commit(
        sha=head,
        created=created,
        epoch=int(epoch),
        url=without_credentials(answers["url"].strip()),
        dirty=bool(changes),
        changes=changes,
    )
