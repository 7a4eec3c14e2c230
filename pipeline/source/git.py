"""Git on a working tree that nobody trusts: its configuration is never used, only read."""

import re
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit, urlunsplit

import dagger
from dagger import dag

from pipeline.core.errors import error_context
from pipeline.core.execution import run

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
_PATTERN = set("*?[]\\!")


async def open_git(source: dagger.Directory, image: str) -> tuple[dagger.Container, str]:
    """Return a container in which Git reads a working tree safely, and the address of its remote `origin`.

    Args:
        source: the root of the repository, with its `.git`.
        image: an image with Git.
    """

    def git(tree: dagger.Directory) -> dagger.Container:
        container = dag.container().from_(image).with_mounted_directory("/source", tree).with_workdir("/source")
        for name, value in _SETTINGS.items():
            container = container.with_env_variable(name, value)
        return container

    argv = ("config", "--file", "/source/.git/config", "--no-includes", "--null", "--list")
    config, url = safe_config(await call_git(git(source), *argv)())
    return git(source.with_new_file(".git/config", config)), url


def call_git(container: dagger.Container, *argv: str) -> Callable[[], Awaitable[str]]:
    """Return a function that runs Git and returns its output."""

    async def call() -> str:
        with error_context("git"):
            hint = "commit something first, or give --commit and no .git"
            return await run(container, ["git", *argv], hint=hint)

    return call


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
    with error_context("git"):
        return safe_config(await run(reader, argv))[1]


async def tracked_files(source: dagger.Directory, *, image: str) -> dagger.Directory:
    """Return a source without its .git and what Git ignores; all of it, where there is no Git.

    An ignored file stays if an engine would read its name as a pattern: more is searched, never less.

    Args:
        source: the root of the repository, with its `.git`.
        image: an image with Git.
    """
    if not await source.exists(".git", expected_type=dagger.ExistsType.DIRECTORY_TYPE, do_not_follow_symlinks=True):
        return source.without_file(".git")
    git, _ = await open_git(source, image)
    listing = ("ls-files", "-z", "--others", "--ignored", "--exclude-standard", "--directory")
    for name in (await call_git(git, *listing)()).split("\0"):
        if name and not _PATTERN & set(name):
            source = source.without_directory(name) if name.endswith("/") else source.without_file(name)
    return source.without_directory(".git")


def without_credentials(url: str) -> str:
    """Return a remote's address as https or as it was, never with user or password."""
    if match := re.fullmatch(r"(?:ssh://)?git@([^:/]+)[:/](.+?)(?:\.git)?/?", url):
        return f"https://{match[1]}/{match[2]}"
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        return ""
    host = parts.hostname if parts.port is None else f"{parts.hostname}:{parts.port}"
    return urlunsplit((parts.scheme, host, parts.path.removesuffix(".git"), "", ""))


def safe_config(listing: str) -> tuple[str, str]:
    """Return a configuration that holds the repository's format only, and the address of its remote `origin`.

    Everything else could run a program, or show Git other files than those that are built.

    Args:
        listing: the output of `git config --null --list`.
    """
    settings = {key: value for key, _, value in (entry.partition("\n") for entry in listing.split("\0"))}
    lines = []
    for key in _FORMAT:
        if re.fullmatch(r"[a-z0-9]+", settings.get(key, "")):
            section, _, name = key.partition(".")
            lines += [f"[{section}]", f"    {name} = {settings[key]}"]
    return "".join(f"{line}\n" for line in lines), without_credentials(settings.get("remote.origin.url", ""))
