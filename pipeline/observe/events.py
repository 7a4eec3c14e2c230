"""The events of an environment's history, and how they are stored.

Events are stored for ever, so the names of earlier versions are read for ever, too; only the present ones are written.
"""

import dataclasses
import enum
import json
from collections.abc import Mapping
from typing import Any

PROBLEM_LENGTH = 2000


class EventType(enum.StrEnum):
    """What happened in a run."""

    STARTED = "started"
    """The environment is about to be changed; the manifests that will be applied are attached."""
    DEPLOYED = "deployed"
    """All pods run the release, and are ready."""
    VERIFIED = "verified"
    """The smoke test passed, and the pods stayed ready."""
    FAILED = "failed"
    """Migration, rollout or smoke test failed."""
    ROLLED_BACK = "rolled-back"
    """After a failure: the last verified release runs again, and its smoke test passed."""
    ROLLBACK_FAILED = "rollback-failed"
    """After a failure: the last verified release could not be restored, or there was none."""


# As version 0.1 stored them.
_FORMER_TYPES = {
    "begun": EventType.STARTED,
    "proven": EventType.VERIFIED,
    "restored": EventType.ROLLED_BACK,
    "unrestored": EventType.ROLLBACK_FAILED,
}
_FORMER_DETAILS = {
    "committed": "committed_at",
    "by": "started_by",
    "replaced": "replaced_digest",
    "existed": "existing",
}


@dataclasses.dataclass(frozen=True, slots=True)
class HistoryEvent:
    """One event of one run.

    Args:
        run: the run's identifier.
        type: what happened.
        at: RFC 3339, in UTC.
        details: further members, which depend on the type; see `records.fold`.
        number: its place in the history, from 1; 0 before it is stored.
    """

    run: str
    type: EventType
    at: str
    details: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    number: int = 0

    def to_json(self) -> str:
        """Return the event as one line; a long problem is shortened."""
        document = {"run": self.run, "event": self.type.value, "at": self.at} | dict(self.details)
        if "problem" in document:
            document["problem"] = str(document["problem"])[:PROBLEM_LENGTH]
        return json.dumps(document | ({"number": self.number} if self.number else {}), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> "HistoryEvent":
        """Read what `to_json` of this or an earlier version returned."""
        document = json.loads(text)
        run, stored_type, at = document.pop("run"), document.pop("event"), document.pop("at")
        number = document.pop("number", 0)
        details = {_FORMER_DETAILS.get(key, key): value for key, value in document.items()}
        return cls(run, _FORMER_TYPES.get(stored_type) or EventType(stored_type), at, details, number)
