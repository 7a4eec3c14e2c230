"""An image that was built and not yet scanned. It cannot be published."""

from typing import Annotated

import dagger
from dagger import Doc

from pipeline.api.context import PipelineContext
from pipeline.api.scanned_image import ScannedImage
from pipeline.core.sdk import field, function, object_type, uncached
from pipeline.oci.content import archive_of
from pipeline.scan.scan import ScanResult, judge_image, scan


@object_type
class BuiltImage:
    """A built image, never pushed. Made only by `build`."""

    container: Annotated[dagger.Container, Doc("The image.")] = field()
    variants: Annotated[list[dagger.Container], Doc("The image for further platforms.")] = field()
    base_image: Annotated[str, Doc("What it was built on, host/path@sha256:…; empty where unknown.")] = field()
    context: Annotated[PipelineContext, Doc("The service, its commit, the settings.")] = field()

    @function
    def archive(self) -> dagger.File:
        """The image as an archive (OCI layout), the very bytes that are scanned: `docker load` reads it."""
        return archive_of(self.container)

    @uncached
    async def scan(
        self,
        rehearsal: Annotated[
            bool, Doc("Go on without a verdict where no scanner is available; then it cannot be published.")
        ] = False,
    ) -> ScannedImage:
        """Scan the image's own bytes with Trivy, before anything is pushed.

        Errors: a finding of a closing severity that no ignore covers; no scanner or database (`unavailable`, which
        only a rehearsal survives); an ignore without reason, without date or past its date.
        """
        settings = self.context.settings
        ignore_file = await self.context.project.ignore_file()
        result = await scan(self._platforms, settings.scanner, settings.images, ignore_file, rehearsal=rehearsal)
        return self._scanned(result)

    @uncached
    async def findings(self) -> dagger.Directory:
        """Everything the scanner wrote, also when the gate would fail: JSON, SARIF, table, SBOMs."""
        settings = self.context.settings
        ignore_file = await self.context.project.ignore_file()
        return (await judge_image(self._platforms, settings.scanner, settings.images, ignore_file)).reports

    @property
    def _platforms(self) -> list[dagger.Container]:
        return [self.container, *self.variants]

    def _scanned(self, result: ScanResult) -> ScannedImage:
        assert result.content  # noqa: S101 - a scan that did not raise has read the image
        return ScannedImage(
            container=self.container,
            variants=self.variants,
            base_image=self.base_image,
            verdict=result.verdict,
            reports=result.reports,
            content=result.content,
            context=self.context,
        )
