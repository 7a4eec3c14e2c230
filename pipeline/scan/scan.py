"""Scanning an image with Trivy: the scanner and its database, what it found, and what that means."""

import datetime
import json
import textwrap
from collections.abc import Sequence

import dagger
from dagger import dag

from pipeline.core.errors import GateClosedError, InvalidInputError, ScannerUnavailableError, StageFailedError
from pipeline.core.execution import run, run_id
from pipeline.oci.content import Content, archive_of
from pipeline.report.verdict import Status, Verdict
from pipeline.scan import ignores, trivy
from pipeline.source.delivery import IGNORE_FILE

GATE = ("CRITICAL", "HIGH")
# Trivy's database is made anew every six hours; older than this, it is no ground for a verdict.
DATABASE_MAX_AGE = datetime.timedelta(days=3)
RESULTS = "/results"
REASON_WIDTH = 240


async def examine(
    platforms: Sequence[dagger.Container],
    trivy_image: str,
    *,
    ignore: dagger.File | None,
    scanner: dagger.Container | None,
    severity: list[str] | None,
) -> tuple[Verdict, dagger.Directory]:
    """Scan an image; return the verdict and what the scanner wrote. A failed verdict is no error here.

    Args:
        platforms: the image for every platform.
        trivy_image: the scanner's image, where no other scanner is given.
        ignore: findings that may pass, in the form of .trivyignore.yaml.
        scanner: a container with trivy on its PATH, instead.
        severity: what closes the gate; CRITICAL and HIGH by default.

    Raises:
        InvalidInputError: if an ignore or severity is not of the accepted form, or an ignore is past its date.
        StageFailedError: if the scanner starts, and then fails.
    """
    closing = check_severities(severity)
    text = await ignore.contents() if ignore else ""
    today = datetime.datetime.now(datetime.UTC).date()
    accepted = [ignore for ignore in ignores.parse(text, today) if ignore.section != ignores.LICENSES]
    try:
        ready, version, made = await _scanner(scanner, trivy_image)
    except ScannerUnavailableError as error:
        return Verdict(status=Status.UNAVAILABLE, reason=error.problem), dag.directory()

    if ignore:
        ready = ready.with_mounted_file(f"/{IGNORE_FILE}", ignore)
    scans: list[trivy.Scan] = []
    evidence = dag.directory()
    for container in platforms:
        scan, results = await _scan(ready, container, f"/{IGNORE_FILE}" if ignore else "")
        scans.append(scan)
        folder = "." if len(platforms) == 1 else (await container.platform()).replace("/", "-")
        evidence = evidence.with_directory(folder, results)
    verdict = judge(scans, closing, accepted, version, made)
    verdict.warnings += ignores.expiring(accepted, today)
    return verdict, evidence


def check_scanned(verdict: Verdict, content: Content) -> None:
    """Refuse a verdict of another image.

    Raises:
        GateClosedError: if what was scanned is not what is at hand.
    """
    if verdict.status == Status.PASSED and verdict.images != content.configs:
        raise GateClosedError(
            "scan: what was scanned is not what was built",
            output=f"scanned: {' '.join(verdict.images)}\nbuilt:   {' '.join(content.configs)}",
            hint="the scanner read other bytes than the engine built: do not ship this",
        )


async def _scanner(own: dagger.Container | None, image: str) -> tuple[dagger.Container, str, datetime.datetime]:
    """Return a scanner with a fresh database, its version and the database's date.

    Raises:
        ScannerUnavailableError: if either cannot be had.
    """
    container = own or (
        dag.container()
        .from_(image)
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
        what = "the given scanner" if own else image.partition("@")[0]
        reason = textwrap.shorten(_first_line(error), REASON_WIDTH, placeholder=" …")
        raise ScannerUnavailableError(f"{what} cannot be had: {reason}") from error
    if made is None:
        raise ScannerUnavailableError(f"there is no vulnerability database: {' '.join(trouble) or 'none in the cache'}")
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
