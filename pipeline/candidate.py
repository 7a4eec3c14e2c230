"""An image that was built and not yet scanned. It cannot be published."""

import datetime
import json
import textwrap
from typing import Annotated

import dagger
from dagger import Doc, dag

from pipeline import ignores, trivy
from pipeline.cleared import Cleared
from pipeline.commit import Commit
from pipeline.console import say
from pipeline.content import archive_of, content_of
from pipeline.errors import GateClosedError, InvalidInputError, ScannerUnavailableError, StageFailedError
from pipeline.execution import run, run_id
from pipeline.images import Images
from pipeline.schema import field, function, object_type, uncached
from pipeline.verdict import Status, Verdict

GATE = ("CRITICAL", "HIGH")
# Trivy's database is made anew every six hours; older than this, it is no ground for a verdict.
DATABASE_MAX_AGE = datetime.timedelta(days=3)
RESULTS = "/results"
REASON_WIDTH = 240


@object_type
class Candidate:
    """A built image, never pushed. Made only by `build`."""

    container: Annotated[dagger.Container, Doc("The image.")] = field()
    variants: Annotated[list[dagger.Container], Doc("The image for further platforms.")] = field()
    commit: Annotated[Commit, Doc("The commit it was built from.")] = field()
    images: Annotated[Images, Doc("The images that the stages run in.")] = field()
    name: Annotated[str, Doc("Name of the service.")] = field()
    delivery: Annotated[dagger.Directory, Doc("The service's own manifests (deploy/) and smoke test.")] = field()

    @function
    def archive(self) -> dagger.File:
        """The image as an archive (OCI layout), the very bytes that are scanned: `docker load` takes it."""
        return archive_of(self.container)

    @uncached
    async def scan(
        self,
        ignore: Annotated[dagger.File | None, Doc("Ignores, in the form of .trivyignore.yaml.")] = None,
        scanner: Annotated[
            dagger.Container | None, Doc("Your own scanner: a container with trivy on its PATH.")
        ] = None,
        severity: Annotated[list[str] | None, Doc("What closes the gate. Default: CRITICAL,HIGH.")] = None,
        rehearsal: Annotated[
            bool, Doc("Go on without a verdict where no scanner can be had. Never publishes.")
        ] = False,
    ) -> Cleared:
        """Scan the image's own bytes with Trivy, before anything is pushed.

        Errors: a finding of a closing severity that no ignore covers; no scanner or database (`unavailable`, which
        only a rehearsal survives); an ignore without reason, without date or past its date.
        """
        verdict, evidence = await self.examine(ignore, scanner, severity)
        return await self.clear(verdict, evidence, rehearsal=rehearsal)

    @uncached
    async def findings(
        self,
        ignore: Annotated[dagger.File | None, Doc("Ignores, in the form of .trivyignore.yaml.")] = None,
        scanner: Annotated[
            dagger.Container | None, Doc("Your own scanner: a container with trivy on its PATH.")
        ] = None,
    ) -> dagger.Directory:
        """Everything the scanner wrote, also when the gate would fail: JSON, SARIF, table, CycloneDX SBOM."""
        _, evidence = await self.examine(ignore, scanner, None)
        return evidence

    async def examine(
        self, ignore: dagger.File | None, scanner: dagger.Container | None, severity: list[str] | None
    ) -> tuple[Verdict, dagger.Directory]:
        """Scan every platform; return the verdict and what the scanner wrote. A failed verdict is no error here."""
        closing = check_severities(severity)
        text = await ignore.contents() if ignore else ""
        accepted = ignores.parse(text, datetime.datetime.now(datetime.UTC).date())
        try:
            ready, version, made = await self._scanner(scanner)
        except ScannerUnavailableError as error:
            return Verdict(status=Status.UNAVAILABLE, reason=error.problem), dag.directory()

        if ignore:
            ready = ready.with_mounted_file(f"/{ignores.FILE}", ignore)
        scans: list[trivy.Scan] = []
        evidence = dag.directory()
        for container in self.platforms:
            scan, results = await _scan(ready, container, f"/{ignores.FILE}" if ignore else "")
            scans.append(scan)
            folder = "." if len(self.platforms) == 1 else (await container.platform()).replace("/", "-")
            evidence = evidence.with_directory(folder, results)
        return judge(scans, closing, accepted, version, made), evidence

    async def clear(self, verdict: Verdict, evidence: dagger.Directory, *, rehearsal: bool) -> Cleared:
        """Open the gate, or say why it stays closed.

        Raises:
            GateClosedError: if the verdict is failed.
            ScannerUnavailableError: if there is none, outside a rehearsal.
        """
        if verdict.status == Status.FAILED:
            raise GateClosedError(
                f"scan: {verdict.reason}",
                output="\n".join(verdict.blocking),
                hint=f"upgrade what has a fix; what cannot hurt goes into {ignores.FILE} with a reason and a date",
            )
        if verdict.status == Status.UNAVAILABLE:
            if not rehearsal:
                raise ScannerUnavailableError(
                    f"scan: unavailable: {verdict.reason}",
                    hint="give --scanner, or make the scanner's image and database reachable; only a rehearsal goes on",
                )
            say("scan", f"UNAVAILABLE: this image was NOT scanned: {verdict.reason}")
        for warning in verdict.warnings:
            say("scan", f"warning: {warning}")
        content = await content_of(self.platforms, dag.container().from_(self.images.node))
        if verdict.status == Status.PASSED and verdict.images != content.configs:
            raise GateClosedError(
                "scan: what was scanned is not what was built",
                output=f"scanned: {' '.join(verdict.images)}\nbuilt:   {' '.join(content.configs)}",
                hint="the scanner read other bytes than the engine built: do not ship this",
            )
        return Cleared(
            container=self.container,
            variants=self.variants,
            commit=self.commit,
            images=self.images,
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

    async def _scanner(self, own: dagger.Container | None) -> tuple[dagger.Container, str, datetime.datetime]:
        """Return a scanner with a fresh database, its version and the database's date.

        Raises:
            ScannerUnavailableError: if either cannot be had.
        """
        container = own or (
            dag.container()
            .from_(self.images.trivy)
            .with_env_variable("TRIVY_CACHE_DIR", "/var/cache/trivy")
            .with_mounted_cache("/var/cache/trivy", dag.cache_volume("slipway-trivy"))
        )
        # Neither the update nor its date may come from the engine's cache.
        fresh = container.with_env_variable("SLIPWAY_RUN", run_id())
        updated = fresh.with_exec(trivy.update_argv(), expect=dagger.ReturnType.ANY)
        try:
            failed = await updated.exit_code() != 0
            trouble = (await updated.stderr()).strip().splitlines()[-1:] if failed else []
            version, made = trivy.parse_version(await run(updated, trivy.version_argv(), what="scan"))
        except dagger.QueryError as error:
            what = "the given scanner" if own else self.images.trivy.partition("@")[0]
            reason = textwrap.shorten(_first_line(error), REASON_WIDTH, placeholder=" …")
            raise ScannerUnavailableError(f"{what} cannot be had: {reason}") from error
        if made is None:
            raise ScannerUnavailableError(
                f"there is no vulnerability database: {' '.join(trouble) or 'none in the cache'}"
            )
        age = datetime.datetime.now(datetime.UTC) - made
        if age < -DATABASE_MAX_AGE:
            raise ScannerUnavailableError(f"the vulnerability database is dated in the future: {made.isoformat()}")
        if age > DATABASE_MAX_AGE:
            raise ScannerUnavailableError(
                f"the vulnerability database is {age.days} days old, and no newer one can be had: {' '.join(trouble)}"
            )
        return container.with_env_variable("SLIPWAY_DATABASE", made.isoformat()), version, made


async def _scan(
    scanner: dagger.Container, image: dagger.Container, ignorefile: str
) -> tuple[trivy.Scan, dagger.Directory]:
    """Scan one platform's archive; return what was found and the files."""
    scanned = scanner.with_mounted_file("/image.tar", archive_of(image)).with_exec(["mkdir", "-p", RESULTS])
    for argv in (
        trivy.scan_argv("/image.tar", RESULTS, ignorefile),
        *(trivy.convert_argv(form, RESULTS) for form in trivy.CONVERSIONS),
    ):
        scanned = scanned.with_exec(argv)
    try:
        results = await scanned.directory(RESULTS).sync()
    except dagger.ExecError as error:
        raise StageFailedError(
            f"scan: `{' '.join(error.command)}` could not run",
            output=f"{error.stdout}\n{error.stderr}",
            hint="this is the scanner's own trouble, not a finding: read its words above",
        ) from error
    return trivy.parse_scan(await results.file(trivy.JSON_FILE).contents()), results


def judge(
    scans: list[trivy.Scan],
    closing: list[str],
    accepted: list[ignores.Ignore],
    version: str,
    made: datetime.datetime,
) -> Verdict:
    """Weigh what was found on all platforms."""
    blocking = list(dict.fromkeys(str(finding) for scan in scans for finding in scan.blocking(closing)))
    suppressed = {key: reason for scan in scans for key, reason in scan.suppressed.items()}
    return Verdict(
        status=Status.FAILED if blocking else Status.PASSED,
        reason=f"{len(blocking)} findings of severity {' or '.join(closing)}" if blocking else "",
        scanner=f"trivy {version}",
        database=made.isoformat(),
        counts=trivy.Scan("", tuple(dict.fromkeys(f for scan in scans for f in scan.findings)), {}).counts(),
        blocking=blocking,
        images=[scan.image_id for scan in scans],
        ignored=[f"{key}: {reason}" for key, reason in suppressed.items()],
        warnings=ignores.unused(accepted, set(suppressed)),
    )


def check_severities(severity: list[str] | None) -> list[str]:
    """Return the severities that close the gate.

    Raises:
        InvalidInputError: if one is unknown.
    """
    chosen = severity or list(GATE)
    unknown = [name for name in chosen if name not in trivy.SEVERITIES]
    if unknown:
        raise InvalidInputError(
            f"severity {json.dumps(unknown)} is unknown", hint=f"accepted: {', '.join(trivy.SEVERITIES)}"
        )
    return chosen


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
