import json

import pytest

from pipeline.report import report
from pipeline.report.report import FAILED, PASSED, SKIPPED, UNAVAILABLE, Run, Stage
from pipeline.report.verdict import Status, Verdict

HOSTILE = "a|b\n</td><script>`alert(1)`</script>"


def run(**changes: object) -> Run:
    stages = [Stage("verify", PASSED, 12.34), Stage("build", PASSED, 5.0)]
    return Run(**({"name": "harbour", "stages": stages, "commit": "c" * 40, "reference": "x/y@sha256:1"} | changes))


def test_the_table_has_a_row_for_each_stage_with_result_and_seconds():
    lines = report.table([Stage("verify", PASSED, 12.34), Stage("build", FAILED, 1.0, "tsc said no"), Stage("scan")])
    assert lines.splitlines()[1].split() == ["verify", "✔", "passed", "12.3"]
    assert "tsc said no" in lines.splitlines()[2]
    assert lines.splitlines()[3].split() == ["scan", "·", "not", "run"]


def test_the_summary_ends_with_the_digest():
    assert report.summary(run()).splitlines()[-1] == "x/y@sha256:1"


def test_a_run_without_a_scan_says_so_even_when_it_passed():
    verdict = Verdict(status=Status.UNAVAILABLE, reason="no scanner")
    told = run(verdict=verdict, stages=[Stage("scan", UNAVAILABLE, 1.0, "no scanner")])
    assert told.passed
    assert "NOT scanned" in report.summary(told)
    assert "not scanned" in report.to_markdown(told)
    assert json.loads(report.to_json(told))["scan"]["status"] == "unavailable"


@pytest.mark.parametrize("stages", [[Stage("verify", FAILED)], [Stage("verify", PASSED), Stage("build", SKIPPED)]])
def test_a_run_that_did_not_finish_has_not_passed(stages: list[Stage]):
    assert not run(stages=stages).passed


def test_a_run_with_an_error_has_not_passed():
    assert json.loads(report.to_json(run(error="boom")))["result"] == "failed"


def test_hostile_names_break_out_of_no_table_and_no_block():
    told = run(name=HOSTILE, stages=[Stage("verify", FAILED, 1.0, HOSTILE)], error="```\n# not a heading")
    text = report.to_markdown(told)
    assert "<script>" not in text.split("## What failed")[0]
    row = next(line for line in text.splitlines() if line.startswith("| verify"))
    assert row.replace("\\|", "").count("|") == 5
    assert "````text\n```\n# not a heading\n````" in text


def test_the_report_tells_findings_ignores_and_warnings():
    verdict = Verdict(
        status=Status.FAILED,
        reason="1 findings",
        scanner="trivy 0.75.0",
        database="2026-11-23",
        counts=["HIGH 1"],
        blocking=["HIGH CVE-2026-1 libx 1.0, fixed in 1.1"],
        ignored=["CVE-2026-2: never called"],
        warnings=["the ignore of CVE-2026-3 matches nothing: remove it"],
    )
    text = report.to_markdown(run(verdict=verdict))
    for expected in ("trivy 0.75.0", "HIGH 1", "CVE-2026-1", "CVE-2026-2: never called", "CVE-2026-3"):
        assert expected in text
