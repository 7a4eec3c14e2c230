"""The report of a run for machines: JSON."""

import dataclasses
import json
from typing import Any

from pipeline.report.run import FAILED, PASSED, Run


def to_json(run: Run) -> str:
    """Return the report."""
    document: dict[str, Any] = {
        "result": PASSED if run.passed else FAILED,
        "name": run.name,
        "commit": run.commit,
        "dirty": run.dirty,
        "rehearsal": run.rehearsal,
        "environment": run.environment,
        "reference": run.reference,
        "base_image": run.base_image,
        "unsigned": run.unsigned,
        "skipped": list(run.skipped),
        "link": run.link,
        "recovered": run.recovered,
        "stages": [dataclasses.asdict(stage) for stage in run.stages],
        "scan": dataclasses.asdict(run.verdict) | {"status": run.verdict.status.value} if run.verdict else None,
        "error": run.error,
    }
    return json.dumps(document, indent=2) + "\n"
