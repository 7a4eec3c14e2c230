"""Trivy: its command lines, and what its JSON says.

One scan writes JSON; SARIF, table and SBOMs are converted from it, so all of them tell of the same scan. Findings are
read from the JSON and not from the exit code, which is 1 for findings and errors alike.
Source: trivy.dev, `image`, `convert` and `version`, 0.75.
"""

import collections
import dataclasses
import datetime
import json
from collections.abc import Iterable
from typing import Any

from pipeline.core.errors import StageFailedError

SEVERITIES = ("CRITICAL", "HIGH", "MEDIUM", "LOW", "UNKNOWN")
SCHEMA_VERSION = 2
JSON_FILE = "trivy.json"
# What `convert` makes of the JSON: format and file name.
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
    """What one scan found."""

    image_id: str
    findings: tuple[Finding, ...]
    suppressed: dict[str, str]

    def blocking(self, severities: Iterable[str]) -> list[Finding]:
        """Return the findings of the given severities, worst first."""
        closing = set(severities)
        chosen = [finding for finding in self.findings if finding.severity in closing]
        return sorted(chosen, key=lambda finding: (SEVERITIES.index(finding.severity), finding.id))

    def counts(self) -> list[str]:
        """Return how many findings there are of each severity, worst first."""
        counter = collections.Counter(finding.severity for finding in self.findings)
        return [f"{severity} {counter[severity]}" for severity in SEVERITIES if counter[severity]]


def update_argv() -> list[str]:
    """Fetch the vulnerability database, if the cached one is stale."""
    return ["trivy", "image", "--download-db-only", "--no-progress"]


def version_argv() -> list[str]:
    """Tell the version and the database's date."""
    return ["trivy", "version", "--format", "json"]


def scan_argv(archive: str, folder: str, ignorefile: str = "") -> list[str]:
    """Scan an image archive into `folder`/trivy.json, with the database that is there."""
    argv = ["trivy", "image", "--input", archive, "--format", "json", "--output", f"{folder}/{JSON_FILE}"]
    argv += ["--scanners", "vuln,secret", "--list-all-pkgs", "--show-suppressed", "--exit-code", "0"]
    argv += ["--skip-db-update", "--skip-java-db-update", "--offline-scan", "--no-progress"]
    return [*argv, "--ignorefile", ignorefile] if ignorefile else argv


def convert_argv(form: str, folder: str) -> list[str]:
    """Convert `folder`/trivy.json to another form beside it."""
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
    """Return Trivy's version, and when its database was made (None without one).

    Raises:
        StageFailedError: if the answer is not what `trivy version --format json` prints.
    """
    try:
        answer = json.loads(text)
        version = str(answer["Version"])
        made = (answer.get("VulnerabilityDB") or {}).get("UpdatedAt")
        return version, _time(made) if made else None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StageFailedError(f"scan: the scanner's version cannot be read: {error}", output=text) from error


def parse_scan(text: str) -> Scan:
    """Read Trivy's JSON report.

    Raises:
        StageFailedError: if it has another form. A report that cannot be read is not an empty one.
    """
    try:
        report = json.loads(text)
        _check_schema(report["SchemaVersion"])
        results = report.get("Results") or []
        return Scan(
            image_id=str(report["Metadata"]["ImageID"]),
            findings=tuple(finding for result in results for finding in _findings(result)),
            suppressed=dict(pair for result in results for pair in _suppressed(result)),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StageFailedError(f"scan: the scanner's report cannot be read: {error!r}", output=text[-2000:]) from error


def _check_schema(version: object) -> None:
    if version != SCHEMA_VERSION:
        raise ValueError(f"schema version {version}, not {SCHEMA_VERSION}")


def _findings(result: dict[str, Any]) -> Iterable[Finding]:
    for found in result.get("Vulnerabilities") or []:
        yield Finding(
            id=found["VulnerabilityID"],
            severity=found["Severity"] if found["Severity"] in SEVERITIES else "UNKNOWN",
            package=found["PkgName"],
            installed=found.get("InstalledVersion", ""),
            fixed=found.get("FixedVersion", ""),
            title=found.get("Title", ""),
        )
    for found in result.get("Secrets") or []:
        # Never the match itself: it may hold the secret.
        yield Finding(found["RuleID"], found["Severity"], result["Target"], "", "", f"secret: {found['Title']}")


def _suppressed(result: dict[str, Any]) -> Iterable[tuple[str, str]]:
    for entry in result.get("ExperimentalModifiedFindings") or []:
        finding = entry["Finding"]
        yield finding.get("VulnerabilityID") or finding["RuleID"], entry.get("Statement", "")


def _time(text: str) -> datetime.datetime:
    """Read RFC 3339 with any number of fractional digits, as Go writes it."""
    whole, _, rest = text.partition(".")
    zone = rest.lstrip("0123456789") if rest else ""
    return datetime.datetime.fromisoformat(whole + zone)
