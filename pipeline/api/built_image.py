"""An image that was built and not yet scanned. It cannot be published."""

from typing import Annotated

import dagger
from dagger import Doc, dag

from pipeline.api.arguments import IgnoreFile, Scanner, Severity
from pipeline.api.scanned_image import ScannedImage
from pipeline.core.errors import GateClosedError, ScannerUnavailableError
from pipeline.core.log import log
from pipeline.core.sdk import field, function, object_type, uncached
from pipeline.images import Images
from pipeline.oci.content import archive_of, content_of
from pipeline.report.verdict import Status, Verdict
from pipeline.scan.scan import check_scanned, examine
from pipeline.signing.policy import Signatures
from pipeline.source.commit import Commit
from pipeline.source.delivery import IGNORE_FILE


@object_type
class BuiltImage:
    """A built image, never pushed. Made only by `build`."""

    container: Annotated[dagger.Container, Doc("The image.")] = field()
    variants: Annotated[list[dagger.Container], Doc("The image for further platforms.")] = field()
    commit: Annotated[Commit, Doc("The commit it was built from.")] = field()
    images: Annotated[Images, Doc("The images that the stages run in.")] = field()
    signatures: Annotated[Signatures, Doc("Who signs, and is trusted.")] = field()
    base_image: Annotated[str, Doc("What it was built on, host/path@sha256:…")] = field()
    name: Annotated[str, Doc("Name of the service.")] = field()
    delivery: Annotated[dagger.Directory, Doc("The service's own manifests (deploy/) and smoke test.")] = field()

    @function
    def archive(self) -> dagger.File:
        """The image as an archive (OCI layout), the very bytes that are scanned: `docker load` takes it."""
        return archive_of(self.container)

    @uncached
    async def scan(
        self,
        ignore: IgnoreFile = None,
        scanner: Scanner = None,
        severity: Severity = None,
        rehearsal: Annotated[
            bool, Doc("Go on without a verdict where no scanner can be had. Never publishes.")
        ] = False,
    ) -> ScannedImage:
        """Scan the image's own bytes with Trivy, before anything is pushed.

        Errors: a finding of a closing severity that no ignore covers; no scanner or database (`unavailable`, which
        only a rehearsal survives); an ignore without reason, without date or past its date.
        """
        verdict, evidence = await self.examine(ignore, scanner, severity)
        return await self.clear(verdict, evidence, rehearsal=rehearsal)

    @uncached
    async def findings(
        self,
        ignore: IgnoreFile = None,
        scanner: Scanner = None,
    ) -> dagger.Directory:
        """Everything the scanner wrote, also when the gate would fail: JSON, SARIF, table, CycloneDX SBOM."""
        _, evidence = await self.examine(ignore, scanner, None)
        return evidence

    async def examine(
        self, ignore: dagger.File | None, scanner: dagger.Container | None, severity: list[str] | None
    ) -> tuple[Verdict, dagger.Directory]:
        """Scan every platform; return the verdict and what the scanner wrote. A failed verdict is no error here."""
        return await examine(self.platforms, self.images.trivy, ignore=ignore, scanner=scanner, severity=severity)

    async def clear(self, verdict: Verdict, evidence: dagger.Directory, *, rehearsal: bool) -> ScannedImage:
        """Open the gate, or say why it wait_stable closed.

        Raises:
            GateClosedError: if the verdict is failed.
            ScannerUnavailableError: if there is none, outside a rehearsal.
        """
        if verdict.status == Status.FAILED:
            raise GateClosedError(
                f"scan: {verdict.reason}",
                output="\n".join(verdict.blocking),
                hint=f"upgrade what has a fix; what cannot hurt goes into {IGNORE_FILE} with a reason and a date",
            )
        if verdict.status == Status.UNAVAILABLE:
            if not rehearsal:
                raise ScannerUnavailableError(
                    f"scan: unavailable: {verdict.reason}",
                    hint="give --scanner, or make the scanner's image and database reachable; only a rehearsal goes on",
                )
            log("scan", f"UNAVAILABLE: this image was NOT scanned: {verdict.reason}")
        for warning in verdict.warnings:
            log("scan", f"warning: {warning}")
        content = await content_of(self.platforms, dag.container().from_(self.images.node))
        check_scanned(verdict, content)
        return ScannedImage(
            container=self.container,
            variants=self.variants,
            commit=self.commit,
            images=self.images,
            signatures=self.signatures,
            base_image=self.base_image,
            name=self.name,
            delivery=self.delivery,
            verdict=verdict,
            evidence=evidence,
            content=content,
        )

    @property
    def platforms(self) -> list[dagger.Container]:
        """The image for every platform."""
        return [self.container, *self.variants]
