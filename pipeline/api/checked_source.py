"""The source that passed its gates."""

from typing import Annotated

from dagger import Doc

from pipeline.api.arguments import OwnBuilder, Platforms
from pipeline.api.built_image import BuiltImage
from pipeline.api.context import PipelineContext
from pipeline.build.build import build_images
from pipeline.build.node import NodeBuilder
from pipeline.core.sdk import field, function, object_type


@object_type
class CheckedSource:
    """Source that passed its gates. Made only by `check`."""

    context: Annotated[PipelineContext, Doc("The service, its commit, the settings.")] = field()

    @function
    async def build(self, platforms: Platforms = None, builder: OwnBuilder = None) -> BuiltImage:
        """Build the image: production dependencies, build, runtime image. Nothing is pushed.

        The image runs as 1001:1001 on port 3000, and holds neither npm nor sources nor development dependencies.

        Errors: the failing command's last lines; a platform that the engine cannot run.
        """
        project, commit, settings = self.context.project, self.context.commit, self.context.settings
        node = NodeBuilder(settings.images, settings.npmrc, commit)
        container, *variants = await build_images(builder or node, project, commit, platforms)
        return BuiltImage(
            container=container,
            variants=variants,
            base_image="" if builder else await node.base().image_ref(),
            context=self.context,
        )
