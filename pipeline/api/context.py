"""What every stage needs, and passes on whole."""

import dataclasses
from typing import Annotated

from dagger import Doc

from pipeline.core.sdk import field, object_type
from pipeline.settings import Settings
from pipeline.source.commit import Commit
from pipeline.source.project import Project


@object_type
class PipelineContext:
    """The service that is delivered, its commit, and the settings of the pipeline."""

    project: Annotated[Project, Doc("The service.")] = field()
    commit: Annotated[Commit, Doc("The commit of the source.")] = field()
    settings: Annotated[Settings, Doc("How the stages work.")] = field()

    def at(self, commit: Commit) -> "PipelineContext":
        """Return the context of another commit."""
        return dataclasses.replace(self, commit=commit)
