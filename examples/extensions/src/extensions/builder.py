"""A builder: the sources as they are, on Node."""

from typing import Annotated

import dagger
from dagger import Doc, dag, field, function, object_type


@object_type
class SourceBuilder:
    """Builds an image that runs a file of the source, without a build step."""

    image: Annotated[str, Doc("Node.")] = field()
    main: Annotated[str, Doc("The file to run, such as src/main.js.")] = field()

    @function
    def build(
        self,
        source: Annotated[dagger.Directory, Doc("The folder of the service.")],
        platform: Annotated[str, Doc("Such as linux/arm64; empty for the engine's own.")],
    ) -> dagger.Container:
        """Return the image."""
        chosen = dagger.Platform(platform) if platform else None
        return (
            dag.container(platform=chosen)
            .from_(self.image)
            .with_directory("/app", source)
            .with_workdir("/app")
            .with_user("1001:1001")
            .with_exposed_port(3000)
            .with_entrypoint(["node", self.main])
        )
