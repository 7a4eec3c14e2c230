"""The DORA metrics of an environment."""

from typing import Annotated

import dagger
from dagger import Doc, dag

from pipeline.core.sdk import field, function, object_type


@object_type
class Dora:
    """The four DORA metrics of an environment, in a window. `docs/dora.md` explains how each is computed."""

    summary: Annotated[str, Doc("A table for the terminal.")] = field()
    markdown: Annotated[str, Doc("For people.")] = field()
    document: Annotated[str, Doc("For machines: JSON.")] = field()
    plot: Annotated[str, Doc("The changes over time: SVG.")] = field()

    @function
    def report(self) -> dagger.Directory:
        """dora.md, dora.json and dora.svg: `report export --path dora`."""
        return (
            dag.directory()
            .with_new_file("dora.md", self.markdown)
            .with_new_file("dora.json", self.document)
            .with_new_file("dora.svg", self.plot)
        )
