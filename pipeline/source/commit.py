"""Which commit the source is, read with Git."""

import fnmatch
import functools
import re
from collections.abc import Awaitable, Callable
from pathlib import PurePosixPath
from typing import Annotated
from urllib.parse import urlsplit, urlunsplit

import dagger
from dagger import Doc, dag

from pipeline.core.errors import InvalidInputError
from pipeline.core.execution import gather, run
from pipeline.core.sdk import field, object_type

UNVERSIONED = "unversioned"
# Never part of a build: what is installed or private, wherever it lies; what is built, at the service's root only,
# because a folder of the source may well have such a name.
NOT_SOURCE_ANYWHERE = ("node_modules", ".git", ".env")
NOT_SOURCE_AT_ROOT = ("dist", "coverage", ".env.*")
# Ignored files too: a build would read them, and no commit tells of them.
# Submodules are looked for in the index instead: here Git would run in them, with their configuration.
STATUS = (
    *("status", "--porcelain", "-z", "--untracked-files=all", "--ignored=matching", "--ignore-submodules=all"),
    "--",
)
# The working tree is the one that is built, whatever the repository's configuration says; paths are no patterns.
_SETTINGS = {
    "GIT_DIR": "/source/.git",
    "GIT_WORK_TREE": "/source",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_LITERAL_PATHSPECS": "1",
    "GIT_OPTIONAL_LOCKS": "0",
}
_FORMAT = ("core.repositoryformatversion", "extensions.objectformat", "extensions.refstorage")
_SUBMODULE = "160000"
_PATTERN = set("*?[]\\!")
_SHA = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


@object_type
class Commit:
    """The commit that a source was taken from."""

    sha: Annotated[str, Doc("Full hash, or `unversioned` where there is no Git.")] = field()
    created: Annotated[str, Doc("Commit time, RFC 3339, or empty where it is unknown.")] = field(default="")
    epoch: Annotated[int, Doc("Commit time, seconds since 1970, or 0.")] = field(default=0)
    url: Annotated[str, Doc("Address of the repository, without credentials, or empty.")] = field(default="")
    path: Annotated[str, Doc("What of it is built: the service's folder.")] = field(default="")
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


def submodules_of(stage: str) -> list[str]:
    """Return the submodules that `git ls-files --stage -z` lists: their files are of another repository's commit."""
    entries = (entry.partition("\t") for entry in stage.split("\0") if entry.startswith(f"{_SUBMODULE} "))
    return [f"S  {name} (submodule)" for _, _, name in entries]


def harmless_config(listed: str) -> tuple[str, str]:
    """Return what is taken from a repository's configuration: one with its format alone, and its remote's address.

    Everything else could run a program, or show Git other files than those that are built.

    Args:
        listed: the output of `git config --null --list`.
    """
    given = {key: value for key, _, value in (entry.partition("\n") for entry in listed.split("\0"))}
    lines = []
    for key in _FORMAT:
        if re.fullmatch(r"[a-z0-9]+", given.get(key, "")):
            section, _, name = key.partition(".")
            lines += [f"[{section}]", f"    {name} = {given[key]}"]
    return "".join(f"{line}\n" for line in lines), without_credentials(given.get("remote.origin.url", ""))


async def read_origin(source: dagger.Directory, *, image: str) -> str:
    """Return the address of a source's remote `origin`, or an empty string.

    Args:
        source: the root of the repository, with its `.git`.
        image: an image with Git.
    """
    config = ".git/config"
    if not await source.exists(config, expected_type=dagger.ExistsType.REGULAR_TYPE, do_not_follow_symlinks=True):
        return ""
    reader = dag.container().from_(image).with_mounted_file("/config", source.file(config))
    argv = ["git", "config", "--file", "/config", "--no-includes", "--null", "--list"]
    return harmless_config(await run(reader, argv, what="git"))[1]


async def tracked(source: dagger.Directory, *, image: str) -> dagger.Directory:
    """Return a source without its .git and what that ignores; all of it, where there is no Git.

    An ignored file whose name an engine would read as a pattern wait_stable: more is looked at, never less.

    Args:
        source: the root of the repository, with its `.git`.
        image: an image with Git.
    """
    if not await source.exists(".git", expected_type=dagger.ExistsType.DIRECTORY_TYPE, do_not_follow_symlinks=True):
        return source.without_file(".git")
    clean, _ = await git_in(source, image)
    listed = ("ls-files", "-z", "--others", "--ignored", "--exclude-standard", "--directory")
    for name in (await _ask(clean, *listed)()).split("\0"):
        if name and not _PATTERN & set(name):
            source = source.without_directory(name) if name.endswith("/") else source.without_file(name)
    return source.without_directory(".git")


async def git_in(source: dagger.Directory, image: str) -> tuple[dagger.Container, str]:
    """Return a container in which Git reads a working tree harmlessly, and the address of its remote."""

    def git(tree: dagger.Directory) -> dagger.Container:
        container = dag.container().from_(image).with_mounted_directory("/source", tree).with_workdir("/source")
        for name, value in _SETTINGS.items():
            container = container.with_env_variable(name, value)
        return container

    own = ("config", "--file", "/source/.git/config", "--no-includes", "--null", "--list")
    config, url = harmless_config(await _ask(git(source), *own)())
    return git(source.with_new_file(".git/config", config)), url


def _ask(container: dagger.Container, *argv: str) -> Callable[[], Awaitable[str]]:
    """Return what asks Git, and gives its answer."""
    hint = "commit something first, or give --commit and no .git"
    return functools.partial(run, container, ["git", *argv], what="git", hint=hint)


async def read_commit(source: dagger.Directory, path: str, *, image: str, sha: str = "") -> Commit:
    """Read the commit of a working tree, and whether `path` in it differs from that commit.

    Args:
        source: the root of the repository, with its `.git`.
        path: what is built, relative to the root: changes elsewhere do not make it dirty.
        image: an image with Git.
        sha: the caller's word, where there is no `.git`.

    Raises:
        InvalidInputError: if `sha` is no full hash, is not the commit that Git says, or cannot be checked.
        StageFailedError: if Git cannot read the repository, for example because nothing was committed.
    """
    if sha:
        parse_sha(sha)
    if not await source.exists(".git", do_not_follow_symlinks=True):
        return Commit(sha=sha or UNVERSIONED, path=path, dirty=not sha)
    if not await source.exists(".git", expected_type=dagger.ExistsType.DIRECTORY_TYPE, do_not_follow_symlinks=True):
        if sha:
            raise InvalidInputError(
                f"whether the source is commit {sha} cannot be told: its .git is no folder, but names one elsewhere",
                hint="give a clone as --source, not a worktree or submodule",
            )
        return Commit(sha=UNVERSIONED, path=path, dirty=True)

    clean, url = await git_in(source, image)
    # An index made anew, because the tree's own may say of a file that it never changes.
    unbiased = clean.with_env_variable("GIT_INDEX_FILE", "/tmp/index").with_exec(["git", "read-tree", "HEAD"])  # noqa: S108
    log, status, stage = await gather(
        _ask(clean, "log", "-1", "--format=%H%n%cI%n%ct"),
        _ask(unbiased, *STATUS, path),
        _ask(unbiased, "ls-files", "--stage", "-z", "--", path),
    )
    changes = [*changes_of(status, path), *submodules_of(stage)]
    head, created, epoch = log.split()
    if sha and sha != head:
        raise InvalidInputError(
            f"commit {sha} is not what the source holds: its HEAD is {head}",
            hint="leave --commit out, or check that commit out",
        )
    return Commit(sha=head, created=created, epoch=int(epoch), url=url, path=path, dirty=bool(changes), changes=changes)
