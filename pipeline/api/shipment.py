"""A whole run of the chain, whether it passed or failed."""

from typing import Annotated

import dagger
from dagger import Doc, dag

from pipeline.core.errors import ShipmentFailedError
from pipeline.core.interfaces import Notifier
from pipeline.core.sdk import field, function, object_type, uncached
from pipeline.report.document import to_json
from pipeline.report.markdown import to_markdown
from pipeline.report.notification import notify
from pipeline.report.run import Run
from pipeline.report.terminal import summary


@object_type
class Shipment:
    """The result of `ship`. A failed one still has its report."""

    passed: Annotated[bool, Doc("Whether every stage passed.")] = field()
    recovered: Annotated[bool, Doc("Whether it passed after the environment's last run had failed.")] = field()
    reference: Annotated[str, Doc("host/path@sha256:… of the release, or empty.")] = field()
    error: Annotated[str, Doc("Why it failed, or empty.")] = field()
    table: Annotated[str, Doc("The summary, as the terminal shows it.")] = field()
    markdown: Annotated[str, Doc("The report for people.")] = field()
    document: Annotated[str, Doc("The report for machines: JSON.")] = field()
    scan_reports: Annotated[dagger.Directory, Doc("What the scanner wrote.")] = field()

    @classmethod
    def of(cls, run: Run, scan_reports: dagger.Directory) -> "Shipment":
        """Render the report of a run that has ended."""
        return cls(
            passed=run.passed,
            recovered=run.recovered,
            reference=run.reference,
            error=run.error,
            table=summary(run),
            markdown=to_markdown(run),
            document=to_json(run),
            scan_reports=scan_reports,
        )

    @function
    async def summary(self) -> str:
        """Stage, result and seconds as a table, and the digest. Fails if a stage failed."""
        self._check()
        return self.table

    @function
    def report(self) -> dagger.Directory:
        """The report, also of a failed run: report.md, report.json, and what the scanner wrote in scan/."""
        return (
            dag.directory()
            .with_new_file("report.md", self.markdown)
            .with_new_file("report.json", self.document)
            .with_directory("scan", self.scan_reports)
        )

    @uncached
    async def notify(
        self, notifier: Annotated[Notifier, Doc("An object of another module, with `notify`.")]
    ) -> "Shipment":
        """Notify of a failure, or of the recovery from one; returns the shipment as it is.

        A notifier that fails, or takes longer than ten seconds, changes nothing.
        """
        if self.recovered or not self.passed:
            await notify(notifier, "recovered" if self.passed else "failed", self.document)
        return self

    @function
    async def sync(self) -> str:
        """End the run: fails if a stage failed. This is what `dagger call ship` alone does."""
        self._check()
        return await self.report().id()

    def _check(self) -> None:
        if not self.passed:
            # An engine puts the error's type before its first line, which would push the table's head aside.
            raise ShipmentFailedError(f"the shipment failed\n\n{self.table}")
