"""The history of an environment: what happened, one record each, never changed. Pure functions.

A record is an immutable ConfigMap with one event. The oldest are compacted into one archive, without their manifests.
"""

import base64
import dataclasses
import datetime
import enum
import gzip
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pipeline.core.errors import NotPromotableError
from pipeline.kubernetes.manifests import MANAGED_BY, PREFIX, Manifest, identity

LABEL = f"{PREFIX}/history"
KEPT = 100
ARCHIVED = 1000
# A ConfigMap may hold 1 MiB.
ARCHIVE_BYTES = 800_000
PROBLEM_LENGTH = 2000


class EventType(enum.StrEnum):
    """What a record tells of a run."""

    BEGUN = "begun"
    """Something is about to change; holds the manifests that will be applied."""
    DEPLOYED = "deployed"
    """All pods are of the release, and ready."""
    PROVEN = "proven"
    """The smoke test passed, and the pods stayed."""
    FAILED = "failed"
    """Migration, rollout or smoke test failed."""
    RESTORED = "restored"
    """After a failure: what was proven before runs again, and its smoke test passed."""
    UNRESTORED = "unrestored"
    """After a failure: it could not be brought back, or there was nothing before."""


@dataclasses.dataclass(frozen=True, slots=True)
class HistoryEvent:
    """One event of one run.

    Args:
        at: RFC 3339, in UTC.
        details: what else there is to tell; see `DeploymentRecord`.
        number: its place in the history, from 1; 0 before it has one.
    """

    run: str
    event: EventType
    at: str
    details: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    number: int = 0

    def to_json(self) -> str:
        """Return the record as one line; a long problem is cut."""
        known = {"run": self.run, "event": self.event.value, "at": self.at}
        told = dict(self.details)
        if "problem" in told:
            told["problem"] = str(told["problem"])[:PROBLEM_LENGTH]
        return json.dumps(known | told | ({"number": self.number} if self.number else {}), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> "HistoryEvent":
        """Read what `to_json` returned."""
        document = json.loads(text)
        run, event, at = document.pop("run"), EventType(document.pop("event")), document.pop("at")
        return cls(run, event, at, number=document.pop("number", 0), details=document)


@dataclasses.dataclass(slots=True)
class DeploymentRecord:
    """One run in an environment, folded from its records.

    Args:
        result: `running`, `deployed`, `proven` or `failed`. A run that was killed wait_stable `running`.
        action: `deploy`, `promote` or `rollback`.
        reference: host/path@sha256:… of what was deployed.
        commit: the commit that it was built from, and when that was made.
        began: RFC 3339, like all times.
        proven: when its smoke test passed and its pods had stayed, or empty.
        failed: when it failed, or empty.
        url: where the smoke test asked, or empty for inside the cluster.
        unsigned: why it was deployed without a signature, or empty.
        replaced: digest of the release that ran until then, or empty.
        restored: the reference that runs again after a failure, or empty.
    """

    run: str
    began: str
    action: str = ""
    reference: str = ""
    commit: str = ""
    committed: str = ""
    by: str = ""
    approved_by: str = ""
    link: str = ""
    unsigned: str = ""
    replaced: str = ""
    result: str = "running"
    ended: str = ""
    proven: str = ""
    failed: str = ""
    attempts: int = 0
    url: str = ""
    problem: str = ""
    restored: str = ""
    migrates: bool = False

    @property
    def digest(self) -> str:
        """Digest of what was deployed."""
        return self.reference.partition("@")[2]

    @property
    def arrived(self) -> bool:
        """Whether all pods were of the release, and ready."""
        return self.result in {"deployed", "proven"}

    @property
    def seconds(self) -> int:
        """How long it took, 0 while it is not over."""
        return int((moment(self.ended) - moment(self.began)).total_seconds()) if self.ended else 0


def moment(text: str) -> datetime.datetime:
    """Read a time in RFC 3339."""
    return datetime.datetime.fromisoformat(text)


def now() -> str:
    """Return the time in RFC 3339, in UTC, to the millisecond."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


_BEGUN = ("action", "reference", "commit", "committed", "by", "approved_by", "link", "unsigned", "replaced", "migrates")


def fold(records: Iterable[HistoryEvent]) -> list[DeploymentRecord]:
    """Return the runs that records tell of, oldest first."""
    entries: dict[str, DeploymentRecord] = {}
    for record in records:
        details = record.details
        if record.event is EventType.BEGUN:
            entries[record.run] = DeploymentRecord(
                record.run, record.at, **{name: details[name] for name in _BEGUN if name in details}
            )
            continue
        entry = entries.get(record.run)
        if entry is None:
            continue  # its beginning was compacted away
        entry.ended = record.at
        match record.event:
            case EventType.DEPLOYED:
                entry.result = "deployed"
            case EventType.PROVEN:
                entry.result, entry.proven = "proven", record.at
                entry.attempts, entry.url = int(details.get("attempts", 0)), str(details.get("url", ""))
            case EventType.FAILED:
                entry.result, entry.failed, entry.proven = "failed", record.at, ""
                entry.problem = str(details.get("problem", ""))
            case EventType.RESTORED:
                entry.restored = str(details.get("reference", ""))
            case EventType.UNRESTORED:
                entry.restored = ""
    return list(entries.values())


def last_verified(entries: Sequence[DeploymentRecord], *, before: str = "") -> DeploymentRecord | None:
    """Return the last run that ended with a proof; `before` leaves out that run."""
    return next((entry for entry in reversed(entries) if entry.result == "proven" and entry.run != before), None)


def digest_of(entries: Sequence[DeploymentRecord], environment: str, commit: str) -> str:
    """Return the digest that a commit was deployed with the last time.

    Raises:
        NotPromotableError: if it never was.
    """
    digest = next((entry.digest for entry in reversed(entries) if entry.commit == commit), "")
    if not digest:
        raise NotPromotableError(
            f"promote: commit {commit} was never deployed to {environment}", hint=f"deploy it to {environment} first"
        )
    return digest


def rollback_candidates(entries: Sequence[DeploymentRecord], live: str) -> list[DeploymentRecord]:
    """Return the proven runs that a rollback may go back to, oldest first: of releases from before the live one.

    A release that a rollback took back came after the one that runs now, and is none of them.
    """
    first = next(
        (i for i, e in enumerate(entries) if e.digest == live and e.result == "proven" and e.action != "rollback"),
        len(entries),
    )
    return [entry for entry in entries[:first] if entry.result == "proven" and entry.digest != live]


def verification_of(
    entries: Sequence[DeploymentRecord], environment: str, digest: str, *, max_age: datetime.timedelta, at: str
) -> DeploymentRecord:
    """Return the run that proves a digest fit to be promoted.

    Args:
        entries: the runs of the environment, oldest first.
        environment: its name, for the error.
        digest: sha256:…, or empty for what the last run of the environment deployed.
        max_age: how old a proof may be.
        at: the present time, RFC 3339.

    Raises:
        NotPromotableError: if the proof is missing, failed, superseded by a failure, or too old.
    """
    if not entries:
        raise NotPromotableError(
            f"promote: nothing was ever deployed to {environment}", hint=f"deploy to {environment} first"
        )
    wanted = digest or entries[-1].digest
    of_it = [entry for entry in entries if entry.digest == wanted]
    if not of_it:
        raise NotPromotableError(
            f"promote: {wanted} was never deployed to {environment}", hint=f"deploy it to {environment} first"
        )
    last = of_it[-1]
    if last.result != "proven":
        before = ", though an earlier run proved it" if any(entry.result == "proven" for entry in of_it) else ""
        also = (
            "" if digest or last.restored == "" else f"; what runs there now is {last.restored}: name it with --digest"
        )
        raise NotPromotableError(
            f"promote: the last run of {wanted} in {environment} is {last.result}{before}",
            output=last.problem,
            hint=f"make it pass in {environment} first{also}",
        )
    age = moment(at) - moment(last.proven)
    if age > max_age:
        raise NotPromotableError(
            f"promote: {wanted} was proven in {environment} {_readable(age)} ago, more than {_readable(max_age)}",
            hint=f"deploy it to {environment} again, or give another --max-age",
        )
    return last


def _readable(age: datetime.timedelta) -> str:
    hours = age.total_seconds() / 3600
    return f"{hours / 24:.0f} days" if hours >= 48 else f"{hours:.1f} hours"  # noqa: PLR2004 - two days


# ConfigMaps


def to_manifest(
    record: HistoryEvent, *, service: str, environment: str, number: int, extra: Mapping[str, str] | None = None
) -> Manifest:
    """Return the object that keeps a record; `extra` is kept packed beside it."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": f"{service}-history-{number:06d}",
            "labels": {LABEL: service, MANAGED_BY: PREFIX},
            "annotations": {f"{PREFIX}/environment": environment},
        },
        "immutable": True,
        "data": {"event": dataclasses.replace(record, number=number).to_json()},
        "binaryData": {name: packed(text) for name, text in (extra or {}).items() if text},
    }


def packed(text: str) -> str:
    """Return text compressed, in base64."""
    return base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode()


def unpacked(data: str) -> str:
    """Read what `packed` returned."""
    return gzip.decompress(base64.b64decode(data)).decode()


def number_of(config_map: Manifest) -> int:
    """Return the number of a record; the archive's is 0."""
    tail = str(config_map["metadata"]["name"]).rpartition("-")[2]
    return int(tail) if tail.isdigit() else 0


@dataclasses.dataclass(frozen=True, slots=True)
class History:
    """All that a namespace remembers of one service.

    Args:
        records: oldest first.
        config_maps: the objects, oldest first; before them the archive.
    """

    records: Sequence[HistoryEvent]
    config_maps: Sequence[Manifest]

    @classmethod
    def read(cls, config_maps: Iterable[Manifest]) -> "History":
        """Read the records of a namespace, in any order."""
        ordered = sorted(config_maps, key=number_of)
        lines = [line for found in ordered for line in (found.get("data") or {}).get("event", "").splitlines()]
        return cls(sorted((HistoryEvent.from_json(line) for line in lines), key=lambda record: record.number), ordered)

    @property
    def environment(self) -> str:
        """The environment that they are of, or empty where there is none."""
        found = (config_map["metadata"].get("annotations") or {} for config_map in reversed(self.config_maps))
        return next((name for annotations in found if (name := annotations.get(f"{PREFIX}/environment"))), "")

    @property
    def entries(self) -> list[DeploymentRecord]:
        """The runs, oldest first."""
        return fold(self.records)

    @property
    def next_number(self) -> int:
        """The number of the next record."""
        return max((number_of(found) for found in self.config_maps), default=0) + 1

    def kept(self, run: str, name: str) -> str:
        """Return what was kept beside a run's records, or an empty string."""
        for found in reversed(self.config_maps):
            if number_of(found) and name in (found.get("binaryData") or {}):
                record = HistoryEvent.from_json(found["data"]["event"])
                if record.run == run:
                    return unpacked(found["binaryData"][name])
        return ""

    def manifests(self, run: str) -> list[Manifest]:
        """Return the manifests that a run applied, or none where they were compacted away."""
        return list(json.loads(self.kept(run, "manifests") or "[]"))

    def found_by(self, run: str) -> set[str]:
        """Return the objects among a run's own that were there before it, by identity."""
        begun = (record for record in self.records if record.run == run and record.event is EventType.BEGUN)
        return {name for record in begun for name in record.details.get("existed", ())}

    def created_by(self, run: str) -> list[str]:
        """Return the objects that a run made, by identity: those that it did not find."""
        found = self.found_by(run)
        return [name for name in map(identity, self.manifests(run)) if name not in found]

    def created_since(self, target: DeploymentRecord | None, objects: Iterable[Manifest]) -> list[str]:
        """Return what later runs than `target`, or all runs, made, and is not among the objects; by identity."""
        runs = [entry.run for entry in self.entries]
        wanted = set(map(identity, objects))
        later = runs[runs.index(target.run) + 1 :] if target else runs
        return [name for name in dict.fromkeys(n for run in later for n in self.created_by(run)) if name not in wanted]

    def surplus(self) -> list[Manifest]:
        """Return the oldest records, which may be compacted: never those of the last proven run."""
        single = [found for found in self.config_maps if number_of(found)]
        proven = last_verified(self.entries)
        old = single[: max(len(single) - KEPT, 0)]
        return [
            found for found in old if not proven or HistoryEvent.from_json(found["data"]["event"]).run != proven.run
        ]

    def archive(self, old: Sequence[Manifest], *, service: str) -> Manifest:
        """Return the archive with old records taken in, bounded in number and size: the oldest are dropped."""
        present = next((found for found in self.config_maps if not number_of(found)), None)
        lines = (present["data"]["event"].splitlines() if present else []) + [found["data"]["event"] for found in old]
        lines = sorted(lines, key=lambda line: HistoryEvent.from_json(line).number)[-ARCHIVED:]
        while sum(len(line.encode()) + 1 for line in lines) > ARCHIVE_BYTES:
            lines = lines[len(lines) // 10 + 1 :]
        return {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": f"{service}-history-archive",
                "labels": {LABEL: service, MANAGED_BY: PREFIX},
            },
            "data": {"event": "\n".join(lines)},
        }


def table(entries: Sequence[DeploymentRecord]) -> str:
    """Return the runs as a table, newest first. One that never ended, and is not the last, was killed."""
    head = ("began", "action", "digest", "commit", "result", "seconds", "by", "approved by")
    rows = [
        (
            entry.began[:19] + "Z",
            entry.action,
            entry.digest.removeprefix("sha256:")[:12],
            entry.commit[:12],
            ("never ended" if entry.result == "running" and entry is not entries[-1] else entry.result)
            + (", unsigned" if entry.unsigned else "")
            + (f", restored {entry.restored.rpartition(':')[2][:12]}" if entry.restored else ""),
            str(entry.seconds or ""),
            entry.by.removeprefix("system:serviceaccount:").replace(":", "/"),
            entry.approved_by,
        )
        for entry in reversed(entries)
    ]
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in [head, *rows]
    )


def to_document(entries: Sequence[DeploymentRecord]) -> str:
    """Return the runs as JSON, oldest first."""
    return json.dumps([dataclasses.asdict(entry) | {"seconds": entry.seconds} for entry in entries], indent=2)
