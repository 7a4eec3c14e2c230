"""Building the image of a service for every platform."""

import json
from collections.abc import Sequence

import dagger

from pipeline.build.node import NodeBuilder
from pipeline.core.errors import InvalidInputError, StageFailedError
from pipeline.core.interfaces import Builder
from pipeline.source.commit import Commit
from pipeline.source.project import Project


async def build_images(
    builder: Builder, project: Project, commit: Commit, platforms: Sequence[str] | None
) -> list[dagger.Container]:
    """Build and label the image for every platform; return one container each.

    Args:
        builder: builds one platform.
        project: the service.
        commit: the commit that it is built from.
        platforms: such as linux/arm64; none for the engine's own.

    Raises:
        StageFailedError: with the failing command's last lines.
    """
    containers = []
    for platform in check_platforms(platforms):
        container = builder.build(project.directory, platform)
        for key, value in labels(commit, project.name).items():
            container = container.with_label(key, value)
        try:
            containers.append(await container.sync())
        except dagger.ExecError as error:
            command = " ".join(error.command)
            raise StageFailedError(
                f"build: `{command}` exited with {error.exit_code}",
                output=f"{error.stdout}\n{error.stderr}",
                hint=f"run it in the source folder: {command}",
            ) from error
    return containers


def labels(commit: Commit, name: str) -> dict[str, str]:
    """Return the OCI labels of an image; what is unknown is left out."""
    known = {
        "org.opencontainers.image.title": name,
        "org.opencontainers.image.revision": commit.sha,
        "org.opencontainers.image.source": commit.url,
        "org.opencontainers.image.created": commit.created,
    }
    return {key: value for key, value in known.items() if value}


def check_platforms(platforms: Sequence[str] | None) -> list[str]:
    """Return the platforms to build for; an empty one means the engine's own.

    Raises:
        InvalidInputError: if one has not the form os/architecture[/variant], or comes twice.
    """
    if not platforms:
        return [""]
    for platform in platforms:
        parts = platform.split("/")
        if len(parts) not in {2, 3} or parts[0] != "linux" or not all(part.isalnum() for part in parts):
            raise InvalidInputError(
                f"platform {platform!r} is not of the form linux/architecture", hint="such as linux/arm64"
            )
    if len(set(platforms)) != len(platforms):
        raise InvalidInputError(f"platforms {json.dumps(list(platforms))} name one twice")
    return list(platforms)


async def check_runnable(builder: NodeBuilder, platforms: Sequence[str] | None) -> None:
    """Refuse a platform that the engine cannot run, before any work is done for it.

    Raises:
        InvalidInputError: if there is one.
    """
    for platform in platforms or ():
        try:
            await builder.base(platform).with_exec(["node", "--version"]).sync()
        except dagger.QueryError as error:
            raise InvalidInputError(
                f"platform {platform} cannot be run here",
                output=str(error),
                hint="leave it out, or use an engine with an emulator for it (binfmt_misc)",
            ) from error
