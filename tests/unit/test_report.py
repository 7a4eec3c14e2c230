"""The report of a run, in each of its three forms."""

import json
from typing import Any

import pytest

from pipeline.report.document import to_json
from pipeline.report.markdown import to_markdown
from pipeline.report.run import FAILED, PASSED, SKIPPED, UNAVAILABLE, Run, Stage
from pipeline.report.terminal import stage_table, summary
from pipeline.report.verdict import Status, Verdict

HOSTILE = "a|b\n</td><script>`alert(1)`</script>"
STAGES = ("check", "build", "scan", "publish", "deploy", "smoke", "rescan")


def run(**changes: Any) -> Run:
    stages = [Stage("check", PASSED, 12.34), Stage("build", PASSED, 5.0)]
    fields: dict[str, Any] = {
        "name": "harbour",
        "stages": stages,
        "commit": "c" * 40,
        "reference": "x/y@sha256:1",
        **changes,
    }
    return Run(**fields)


def test_the_table_has_a_row_for_each_stage_with_result_and_seconds():
    lines = stage_table(
        [Stage("check", PASSED, 12.34), Stage("build", FAILED, 1.0, "tsc exited with 2"), Stage("scan")]
    )
    assert lines.splitlines()[0].split() == ["stage", "result", "seconds", "detail"]
    assert lines.splitlines()[1].split() == ["check", "✔", "passed", "12.3"]
    assert lines.splitlines()[2].endswith("    1.0  tsc exited with 2")
    assert lines.splitlines()[3].split() == ["scan", "·", "not", "run"]


@pytest.mark.parametrize("detail", ["word " * 50, "https://example.com/" + "x" * 200, "two\nlines " * 20])
@pytest.mark.parametrize("result", [PASSED, FAILED, SKIPPED, UNAVAILABLE])
def test_the_table_fits_into_80_columns_and_cuts_only_the_detail(result: str, detail: str):
    lines = stage_table([Stage(name, result, 1799.9, detail) for name in STAGES]).splitlines()
    assert len(lines) == 1 + len(STAGES)
    assert max(map(len, lines)) <= 80
    assert all(line.endswith("…") and " ".join(detail.split())[:40] in line for line in lines[1:])


def test_the_summary_ends_with_the_reference_of_the_release():
    assert summary(run()).splitlines()[-1] == "x/y@sha256:1"


def test_the_headline_says_what_went_where_and_whether_it_passed():
    assert run(rehearsal=False, environment="staging").headline == f"harbour at {'c' * 12} to staging: passed"
    assert run(dirty=True, error="x").headline == f"rehearsal of harbour at {'c' * 12} (uncommitted changes): failed"


def test_a_run_without_a_scan_says_so_even_when_it_passed():
    verdict = Verdict(status=Status.UNAVAILABLE, reason="no scanner")
    unscanned = run(verdict=verdict, stages=[Stage("scan", UNAVAILABLE, 1.0, "no scanner")])
    assert unscanned.passed
    assert "NOT scanned" in summary(unscanned)
    assert "not scanned" in to_markdown(unscanned)
    assert json.loads(to_json(unscanned))["scan"]["status"] == "unavailable"


def test_skipped_gates_and_a_missing_signature_are_in_every_form():
    weakened = run(skipped=["secrets"], unsigned="x is not signed")
    assert "skipped gates: secrets" in summary(weakened)
    assert "the deployed image is NOT verified: x is not signed" in summary(weakened)
    assert "**Skipped gates:** secrets" in to_markdown(weakened)
    assert "**Not verified:** x is not signed" in to_markdown(weakened)
    document = json.loads(to_json(weakened))
    assert (document["skipped"], document["unsigned"]) == (["secrets"], "x is not signed")


@pytest.mark.parametrize("stages", [[Stage("check", FAILED)], [Stage("check", PASSED), Stage("build", SKIPPED)]])
def test_a_run_that_did_not_finish_has_not_passed(stages: list[Stage]):
    assert not run(stages=stages).passed


def test_a_run_with_an_error_has_not_passed():
    assert json.loads(to_json(run(error="boom")))["result"] == "failed"


def test_hostile_names_break_out_of_no_table_and_no_block():
    hostile = run(name=HOSTILE, stages=[Stage("check", FAILED, 1.0, HOSTILE)], error="```\n# not a heading")
    text = to_markdown(hostile)
    assert "<script>" not in text.split("## Error")[0]
    row = next(line for line in text.splitlines() if line.startswith("| check"))
    assert row.replace("\\|", "").count("|") == 5
    assert "````text\n```\n# not a heading\n````" in text


def test_the_report_shows_findings_ignores_and_warnings():
    verdict = Verdict(
        status=Status.FAILED,
        reason="1 findings",
        scanner="trivy 0.75.0",
        database="2026-11-23",
        counts=["HIGH 1"],
        blocking=["HIGH CVE-2026-1 libx 1.0, fixed in 1.1"],
        ignored=["CVE-2026-2: never called"],
        warnings=["the ignore of CVE-2026-3 matches no finding: remove it"],
    )
    text = to_markdown(run(verdict=verdict))
    for expected in ("trivy 0.75.0", "HIGH 1", "CVE-2026-1", "CVE-2026-2: never called", "CVE-2026-3"):
        assert expected in text
