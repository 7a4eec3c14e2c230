import datetime
import json
from pathlib import Path

import pytest

from pipeline.core.errors import StageFailedError
from pipeline.report.verdict import Status
from pipeline.scan import trivy
from pipeline.scan.scan import judge

RECORDED = Path(__file__).resolve().parent.parent / "fixtures" / "trivy-0.74.0"
NOW = datetime.datetime(2026, 11, 23, tzinfo=datetime.UTC)


def recorded(name: str) -> trivy.Scan:
    return trivy.parse_scan((RECORDED / f"{name}.json").read_text())


def test_findings_are_read_from_a_recorded_report():
    scan = recorded("vulnerable")
    assert scan.counts() == ["HIGH 1", "MEDIUM 1"]
    assert [finding.id for finding in scan.blocking(["CRITICAL", "HIGH"])] == ["CVE-2021-23337"]
    assert scan.image_id.startswith("sha256:")


def test_suppressed_findings_are_read_with_the_reason_of_their_ignore():
    scan = recorded("ignored")
    assert scan.blocking(["HIGH"]) == []
    assert scan.suppressed == {"CVE-2021-23337": "template is never called"}


def test_a_clean_image_passes_and_a_vulnerable_one_fails():
    for name, status in (("clean", Status.PASSED), ("vulnerable", Status.FAILED), ("ignored", Status.PASSED)):
        assert judge([recorded(name)], ["CRITICAL", "HIGH"], [], "0.74.0", NOW).status == status


def test_one_vulnerable_platform_of_several_closes_the_gate():
    verdict = judge([recorded("clean"), recorded("vulnerable")], ["HIGH"], [], "0.74.0", NOW)
    assert verdict.status == Status.FAILED
    assert len(verdict.images) == 2


def test_a_secret_in_the_image_is_a_finding_and_its_text_is_not_shown():
    report = json.loads((RECORDED / "clean.json").read_text())
    secret = {
        "RuleID": "aws-access-key-id",
        "Severity": "CRITICAL",
        "Title": "AWS Access Key ID",
        "Match": "AKIAHIDDEN",
    }
    report["Results"].append({"Target": "/app/config.js", "Class": "secret", "Secrets": [secret]})
    [finding] = trivy.parse_scan(json.dumps(report)).blocking(["CRITICAL"])
    assert "aws-access-key-id" in str(finding)
    assert "AKIAHIDDEN" not in str(finding)


@pytest.mark.parametrize("text", ["", "{}", "[]", "null", '{"SchemaVersion": 3, "Metadata": {"ImageID": "x"}}'])
def test_an_unreadable_report_is_an_error_and_never_an_empty_one(text: str):
    with pytest.raises(StageFailedError):
        trivy.parse_scan(text)


def test_the_build_time_of_the_database_is_read_with_the_fractions_that_go_writes():
    text = '{"Version":"0.74.0","VulnerabilityDB":{"Version":2,"UpdatedAt":"2026-11-23T10:31:31.915547166Z"}}'
    version, built = trivy.parse_version(text)
    assert version == "0.74.0"
    assert built == datetime.datetime(2026, 11, 23, 10, 31, 31, tzinfo=datetime.UTC)


def test_no_database_has_no_date():
    assert trivy.parse_version('{"Version":"0.74.0"}') == ("0.74.0", None)


def test_a_scan_never_downloads_and_never_hides_findings_behind_an_exit_code():
    argv = trivy.scan_argv("/image.tar", "/results")
    assert "--skip-db-update" in argv
    assert argv[argv.index("--exit-code") + 1] == "0"
    assert "--ignorefile" not in argv
    assert trivy.scan_argv("/image.tar", "/results", "/i.yaml")[-2:] == ["--ignorefile", "/i.yaml"]
