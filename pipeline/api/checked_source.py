"""The source that passed its gates, and how it is built."""

import json
from collections.abc import Sequence
from typing import Annotated

import dagger
from dagger import Doc

from pipeline.api.built_image import BuiltImage
from pipeline.build.node import NodeBuilder
from pipeline.core.errors import InvalidInputError, StageFailedError
from pipeline.core.sdk import field, function, object_type
from pipeline.images import Images
from pipeline.signing.policy import Signatures
from pipeline.source.commit import Commit
from pipeline.source.delivery import delivery_of


@object_type
class CheckedSource:
    """Source that passed lint, types, tests and the manifests' check. Made only by `verify`."""

    source: Annotated[dagger.Directory, Doc("The folder with package.json.")] = field()
    commit: Annotated[Commit, Doc("The commit of the source.")] = field()
    images: Annotated[Images, Doc("The images that the stages run in.")] = field()
    signatures: Annotated[Signatures, Doc("Who signs, and is trusted.")] = field()
    name: Annotated[str, Doc("Name of the service, from package.json.")] = field()
    npmrc: Annotated[dagger.Secret | None, Doc("npm's user configuration.")] = field(default=None)

    @function
    async def build(
        self,
        platforms: Annotated[
            list[str] | None, Doc("Platforms, such as linux/amd64,linux/arm64. Default: the engine's own.")
        ] = None,
    ) -> BuiltImage:
        """Build the image in stages: production dependencies, builder, runner. Nothing is pushed.

        The image runs as 1001:1001 on port 3000, and holds neither npm nor sources nor development dependencies.

        Errors: the failing build's own last lines; a platform that the engine cannot run.
        """
        containers = [self._runner(platform) for platform in check_platforms(platforms)]
        for container in containers:
            try:
                await container.sync()
            except dagger.ExecError as error:
                raise StageFailedError(
                    f"build: `{' '.join(error.command)}` exited with {error.exit_code}",
                    output=f"{error.stdout}\n{error.stderr}",
                    hint=f"run it in the source folder: {' '.join(error.command)}",
                ) from error
        return BuiltImage(
            container=containers[0],
            variants=containers[1:],
            commit=self.commit,
            images=self.images,
            signatures=self.signatures,
            base_image=await NodeBuilder(self.source, self.images).base().image_ref(),
            name=self.name,
            delivery=delivery_of(self.source),
        )

    def _runner(self, platform: str) -> dagger.Container:
        toolchain = NodeBuilder(self.source, self.images, self.npmrc, platform)
        return toolchain.runner(self.commit, self.name)


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
