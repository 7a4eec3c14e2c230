"""Scanning an image with Trivy: the scanner and its database, the findings, and the verdict."""

import dataclasses
import datetime
import json
import textwrap
from collections.abc import Sequence
from typing import Annotated

import dagger
from dagger import Doc, dag

from pipeline.core import clock
from pipeline.core.errors import (
    GateClosedError,
    InvalidInputError,
    ScannerUnavailableError,
    SlipwayError,
    StageFailedError,
    error_context,
)
from pipeline.core.execution import run, with_run_id
from pipeline.core.log import log
from pipeline.core.sdk import field, object_type
from pipeline.images import Images
from pipeline.oci.content import Content, archive_of, content_of
from pipeline.report.verdict import Status, Verdict
from pipeline.scan import ignores, trivy
from pipeline.source.project import IGNORE_FILE

GATE = ("CRITICAL", "HIGH")
# Trivy's database is built every six hours; an older one than this is no ground for a verdict.
DATABASE_MAX_AGE = datetime.timedelta(days=3)
RESULTS = "/results"
REASON_WIDTH = 240


@object_type
class Scanner:
    """How images are scanned."""

    container: Annotated[dagger.Container | None, Doc("A scanner to use instead of Trivy's image.")] = field(
        default=None
    )
    severity: Annotated[list[str], Doc("Severities that close the gate; CRITICAL and HIGH if empty.")] = field(
        default=list
    )
    ignore: Annotated[dagger.File | None, Doc("Accepted findings, instead of the service's .trivyignore.yaml.")] = (
        field(default=None)
    )


@dataclasses.dataclass(frozen=True, slots=True)
class ScanResult:
    """What a scan found.

    Args:
        verdict: passed, failed or unavailable.
        reports: what the scanner wrote; empty where it is unavailable.
        content: the bytes that were scanned; None where the verdict is not passed or unavailable.
    """

    verdict: Verdict
    reports: dagger.Directory
    content: Content | None = None


async def scan(
    platforms: Sequence[dagger.Container],
    scanner: Scanner,
    images: Images,
    own_ignores: dagger.File | None,
    *,
    rehearsal: bool,
) -> ScanResult:
    """Scan an image and judge it; a closed gate is an error that carries its verdict and reports as `result`.

    Args:
        platforms: the image for every platform.
        scanner: how it is scanned.
        images: Trivy, and the tool image.
        own_ignores: the service's own ignore file, used where the scanner has none.
        rehearsal: go on without a verdict where no scanner or database is available.

    Raises:
        GateClosedError: if the verdict is failed, or other bytes were scanned than built.
        ScannerUnavailableError: if there is no verdict, outside a rehearsal.
        InvalidInputError: if an ignore or severity is not of the accepted form, or an ignore has expired.
        StageFailedError: if the scanner starts, and then fails.
    """
    result = await judge_image(platforms, scanner, images, own_ignores)
    try:
        check_verdict(result.verdict, rehearsal=rehearsal)
        with error_context("scan"):
            content = await content_of(list(platforms), dag.container().from_(images.tool))
        check_scanned(result.verdict, content)
    except SlipwayError as error:
        error.result = result
        raise
    return dataclasses.replace(result, content=content)


async def judge_image(
    platforms: Sequence[dagger.Container], scanner: Scanner, images: Images, own_ignores: dagger.File | None
) -> ScanResult:
    """Scan an image; a failed verdict is not an error here. Arguments and errors are those of `scan`."""
    closing = check_severities(scanner.severity)
    ignore = scanner.ignore or own_ignores
    today = clock.today()
    accepted = [
        entry
        for entry in ignores.parse(await ignore.contents() if ignore else "", today)
        if entry.section != ignores.LICENSES
    ]
    try:
        ready, version, database_time = await _prepare_scanner(scanner.container, images.trivy)
    except ScannerUnavailableError as error:
        return ScanResult(Verdict(status=Status.UNAVAILABLE, reason=error.problem), dag.directory())

    if ignore:
        ready = ready.with_mounted_file(f"/{IGNORE_FILE}", ignore)
    scans: list[trivy.Scan] = []
    reports = dag.directory()
    for container in platforms:
        scan_result, results = await _scan_archive(ready, container, f"/{IGNORE_FILE}" if ignore else "")
        scans.append(scan_result)
        folder = "." if len(platforms) == 1 else (await container.platform()).replace("/", "-")
        reports = reports.with_directory(folder, results)
    verdict = judge(scans, closing, accepted, version, database_time)
    verdict.warnings += ignores.expiring(accepted, today)
    return ScanResult(verdict, reports)


def check_verdict(verdict: Verdict, *, rehearsal: bool) -> None:
    """Open the gate, or raise the reason why it stays closed.

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
                hint="`with-scanner`, or make the scanner's image and database reachable; only a rehearsal goes on",
            )
        log("scan", f"UNAVAILABLE: this image was NOT scanned: {verdict.reason}")
    for warning in verdict.warnings:
        log("scan", f"warning: {warning}")


def check_scanned(verdict: Verdict, content: Content) -> None:
    """Refuse a verdict of another image.

    Raises:
        GateClosedError: if the scanned image is not the one at hand.
    """
    if verdict.status == Status.PASSED and verdict.images != content.configs:
        raise GateClosedError(
            "scan: the scanned image is not the built one",
            output=f"scanned: {' '.join(verdict.images)}\nbuilt:   {' '.join(content.configs)}",
            hint="the scanner read other bytes than the engine built: do not ship this",
        )


def judge(
    scans: list[trivy.Scan],
    closing: list[str],
    accepted: list[ignores.Ignore],
    version: str,
    database_time: datetime.datetime,
) -> Verdict:
    """Return the verdict on the findings of all platforms."""
    blocking = list(dict.fromkeys(str(finding) for scan in scans for finding in scan.blocking(closing)))
    suppressed = {key: reason for scan in scans for key, reason in scan.suppressed.items()}
    return Verdict(
        status=Status.FAILED if blocking else Status.PASSED,
        reason=f"{len(blocking)} findings of severity {' or '.join(closing)}" if blocking else "",
        scanner=f"trivy {version}",
        database=database_time.isoformat(),
        counts=trivy.Scan("", tuple(dict.fromkeys(f for scan in scans for f in scan.findings)), {}).counts(),
        blocking=blocking,
        images=[scan.image_id for scan in scans],
        ignored=[f"{key}: {reason}" for key, reason in suppressed.items()],
        warnings=ignores.unused(accepted, set(suppressed)),
    )


def check_severities(severity: Sequence[str]) -> list[str]:
    """Return the severities that close the gate.

    Raises:
        InvalidInputError: if one is unknown.
    """
    chosen = list(severity or GATE)
    if unknown := [name for name in chosen if name not in trivy.SEVERITIES]:
        raise InvalidInputError(
            f"severity {json.dumps(unknown)} is unknown", hint=f"accepted: {', '.join(trivy.SEVERITIES)}"
        )
    return chosen


async def _prepare_scanner(own: dagger.Container | None, image: str) -> tuple[dagger.Container, str, datetime.datetime]:
    """Return a scanner with a fresh database, its version and the database's time.

    Raises:
        ScannerUnavailableError: if either is not available.
    """
    container = own or (
        dag.container()
        .from_(image)
        .with_env_variable("TRIVY_CACHE_DIR", "/var/cache/trivy")
        .with_mounted_cache("/var/cache/trivy", dag.cache_volume("slipway-trivy"))
    )
    # Neither the update nor its time may come from the engine's cache.
    updated = container.with_(with_run_id).with_exec(trivy.update_argv(), expect=dagger.ReturnType.ANY)
    try:
        failed = await updated.exit_code() != 0
        last_line = "".join((await updated.stderr()).strip().splitlines()[-1:]) if failed else ""
        with error_context("scan"):
            version, database_time = trivy.parse_version(await run(updated, trivy.version_argv()))
    except dagger.QueryError as error:
        name = "the scanner given" if own else image.partition("@")[0]
        reason = textwrap.shorten(str(error).strip().partition("\n")[0], REASON_WIDTH, placeholder=" …")
        raise ScannerUnavailableError(f"{name} is not available: {reason}") from error
    if database_time is None:
        raise ScannerUnavailableError(f"there is no vulnerability database: {last_line or 'none in the cache'}")
    age = clock.now() - database_time
    if age < -DATABASE_MAX_AGE:
        raise ScannerUnavailableError(f"the vulnerability database is dated in the future: {database_time.isoformat()}")
    if age > DATABASE_MAX_AGE:
        raise ScannerUnavailableError(
            f"the vulnerability database is {age.days} days old, and no newer one is available: {last_line}"
        )
    return container.with_env_variable("SLIPWAY_DATABASE", database_time.isoformat()), version, database_time


async def _scan_archive(
    scanner: dagger.Container, image: dagger.Container, ignorefile: str
) -> tuple[trivy.Scan, dagger.Directory]:
    """Scan one platform's archive; return the findings and the reports."""
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
            hint="the scanner failed, which is not a finding: read its output above",
        ) from error
    with error_context("scan"):
        return trivy.parse_scan(await results.file(trivy.JSON_FILE).contents()), results
