"""A gate: the source must not hold a marker."""

from typing import Annotated

import dagger
from dagger import Doc, field, function, object_type


@object_type
class MarkerGate:
    """Fails where a source file holds a marker, such as FIXME."""

    marker: Annotated[str, Doc("The text that no file may hold.")] = field()

    @function
    async def check(self, source: Annotated[dagger.Directory, Doc("The folder of the service.")]) -> str:
        """Search the folder src of the service."""
        paths = [
            path
            for path in await source.glob("src/**")
            if not path.endswith("/") and self.marker in await source.file(path).contents()
        ]
        if paths:
            raise ValueError(f"{self.marker} in {', '.join(paths)}")
        return f"no {self.marker}"
