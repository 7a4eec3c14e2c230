"""The runs of an environment as a table and as JSON. Pure functions."""

import dataclasses
import json
from collections.abc import Sequence

from pipeline.core.table import text_table
from pipeline.observe.records import DeploymentRecord

HEAD = ("started", "action", "digest", "commit", "result", "seconds", "by", "approved by")
SHORT = 12


def history_table(records: Sequence[DeploymentRecord]) -> str:
    """Return the runs as a table, newest first. One that never ended, and is not the last, was killed."""
    return text_table(HEAD, [_row(record, last=record is records[-1]) for record in reversed(records)])


def _row(record: DeploymentRecord, *, last: bool) -> tuple[str, ...]:
    result = "never ended" if record.result == "running" and not last else record.result
    result += ", unsigned" if record.unsigned else ""
    result += f", rolled back to {record.rolled_back_to.rpartition(':')[2][:SHORT]}" if record.rolled_back_to else ""
    return (
        record.started_at[:19] + "Z",
        record.action,
        record.digest.removeprefix("sha256:")[:SHORT],
        record.commit[:SHORT],
        result,
        str(record.seconds or ""),
        record.started_by.removeprefix("system:serviceaccount:").replace(":", "/"),
        record.approved_by,
    )


def history_document(records: Sequence[DeploymentRecord]) -> str:
    """Return the runs as JSON, oldest first."""
    return json.dumps([dataclasses.asdict(record) | {"seconds": record.seconds} for record in records], indent=2)
