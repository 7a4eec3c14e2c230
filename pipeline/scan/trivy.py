"""Trivy's command lines, and parsers of its JSON.

A scan writes JSON, from which SARIF, table and SBOMs are converted, so that all describe the same scan. Findings are
read from the JSON, not from the exit code, which is 1 for findings and errors alike.
Source: trivy.dev, `image`, `convert` and `version`, 0.75.
"""

import collections
import dataclasses
import datetime
import json
from collections.abc import Iterable
from typing import Any

from pipeline.core.documents import as_list
from pipeline.core.errors import StageFailedError

SEVERITIES = ("CRITICAL", "HIGH", "MEDIUM", "LOW", "UNKNOWN")
SCHEMA_VERSION = 2
# What reading JSON of another form raises.
_MALFORMED = (ValueError, LookupError, TypeError, AttributeError, RecursionError)
JSON_FILE = "trivy.json"
# Formats that are converted from the JSON, with their file names.
SBOM_FILES = {"cyclonedx": "sbom.cyclonedx.json", "spdx": "sbom.spdx.json"}
CONVERSIONS = {
    "sarif": "trivy.sarif",
    "table": "trivy.txt",
    "cyclonedx": SBOM_FILES["cyclonedx"],
    "spdx-json": SBOM_FILES["spdx"],
}


@dataclasses.dataclass(frozen=True, slots=True)
class Finding:
    """One vulnerability or secret in the image."""

    id: str
    severity: str
    package: str
    installed: str
    fixed: str
    title: str

    def __str__(self) -> str:
        """Return the finding in one line."""
        fix = f", fixed in {self.fixed}" if self.fixed else ", no fix yet"
        return f"{self.severity} {self.id} {self.package} {self.installed}{fix}: {self.title}".rstrip(": ")


@dataclasses.dataclass(frozen=True, slots=True)
class Scan:
    """The report of a scan of one platform's image.

    Args:
        image_id: digest of the image's config.
        findings: vulnerabilities and secrets that no ignore covers.
        suppressed: ids of the findings that an ignore covers, with its statement.
    """

    image_id: str
    findings: tuple[Finding, ...]
    suppressed: dict[str, str]

    def blocking(self, severities: Iterable[str]) -> list[Finding]:
        """Return the findings of the given severities, worst first."""
        blocking = [finding for finding in self.findings if finding.severity in set(severities)]
        return sorted(blocking, key=lambda finding: (SEVERITIES.index(finding.severity), finding.id))

    def counts(self) -> list[str]:
        """Return the number of findings of each severity, worst first."""
        counter = collections.Counter(finding.severity for finding in self.findings)
        return [f"{severity} {counter[severity]}" for severity in SEVERITIES if counter[severity]]


def update_argv() -> list[str]:
    """Download the vulnerability database, if the cached one is stale."""
    return ["trivy", "image", "--download-db-only", "--no-progress"]


def version_argv() -> list[str]:
    """Print the version and the database's build time."""
    return ["trivy", "version", "--format", "json"]


def scan_argv(archive: str, folder: str, ignorefile: str = "") -> list[str]:
    """Scan an image archive into `folder`/trivy.json, with the downloaded database."""
    argv = ["trivy", "image", "--input", archive, "--format", "json", "--output", f"{folder}/{JSON_FILE}"]
    argv += ["--scanners", "vuln,secret", "--list-all-pkgs", "--show-suppressed", "--exit-code", "0"]
    argv += ["--skip-db-update", "--skip-java-db-update", "--offline-scan", "--no-progress"]
    return [*argv, "--ignorefile", ignorefile] if ignorefile else argv


def convert_argv(form: str, folder: str) -> list[str]:
    """Convert `folder`/trivy.json to another format in the same folder."""
    return [
        "trivy",
        "convert",
        "--format",
        form,
        "--output",
        f"{folder}/{CONVERSIONS[form]}",
        f"{folder}/{JSON_FILE}",
    ]


def parse_version(text: str) -> tuple[str, datetime.datetime | None]:
    """Return Trivy's version and the build time of its database, which is None without a database.

    Raises:
        StageFailedError: if the text is not the output of `trivy version --format json`.
    """
    try:
        document = json.loads(text)
        version = str(document["Version"])
        built = (document.get("VulnerabilityDB") or {}).get("UpdatedAt")
        return version, _time(built) if built else None
    except _MALFORMED as error:
        raise StageFailedError(f"cannot parse the scanner's version: {error!r}", output=text[-2000:]) from error


def parse_scan(text: str) -> Scan:
    """Parse Trivy's JSON report.

    Raises:
        StageFailedError: if it has another form: an unreadable report is not an empty one.
    """
    try:
        report = json.loads(text)
        _check_schema(report["SchemaVersion"])
        results = as_list(report.get("Results") or [])
        return Scan(
            image_id=str(report["Metadata"]["ImageID"]),
            findings=tuple(finding for result in results for finding in _findings(result)),
            suppressed=dict(pair for result in results for pair in _suppressed(result)),
        )
    except _MALFORMED as error:
        raise StageFailedError(f"cannot parse the scanner's report: {error!r}", output=text[-2000:]) from error


def _check_schema(version: object) -> None:
    if version != SCHEMA_VERSION:
        raise ValueError(f"schema version {version}, not {SCHEMA_VERSION}")


def _findings(result: dict[str, Any]) -> Iterable[Finding]:
    for entry in as_list(result.get("Vulnerabilities") or []):
        yield Finding(
            id=str(entry["VulnerabilityID"]),
            severity=_severity(entry["Severity"]),
            package=str(entry["PkgName"]),
            installed=str(entry.get("InstalledVersion", "")),
            fixed=str(entry.get("FixedVersion", "")),
            title=str(entry.get("Title", "")),
        )
    for entry in as_list(result.get("Secrets") or []):
        yield Finding(
            id=str(entry["RuleID"]),
            severity=_severity(entry["Severity"]),
            package=str(result["Target"]),
            installed="",
            fixed="",
            # Not the match: it may contain the secret.
            title=f"secret: {entry['Title']}",
        )


def _severity(name: object) -> str:
    return str(name) if name in SEVERITIES else "UNKNOWN"


def _suppressed(result: dict[str, Any]) -> Iterable[tuple[str, str]]:
    for entry in as_list(result.get("ExperimentalModifiedFindings") or []):
        finding = entry["Finding"]
        yield str(finding.get("VulnerabilityID") or finding["RuleID"]), str(entry.get("Statement", ""))


def _time(text: str) -> datetime.datetime:
    """Parse RFC 3339 with any number of fractional digits, as Go writes it."""
    whole, _, rest = text.partition(".")
    zone = rest.lstrip("0123456789") if rest else ""
    time = datetime.datetime.fromisoformat(whole + zone)
    if time.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone")
    return time
