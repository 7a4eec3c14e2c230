"""The runs of an environment, folded from the events of its history, and questions about them. Pure functions."""

import dataclasses
import datetime
from collections.abc import Iterable, Sequence

from pipeline.core import clock
from pipeline.core.errors import NotPromotableError
from pipeline.observe.events import EventType, HistoryEvent

TWO_DAYS_IN_HOURS = 48


@dataclasses.dataclass(slots=True)
class DeploymentRecord:
    """One run in an environment. All times are RFC 3339, in UTC.

    Args:
        run: the run's identifier.
        started_at: when it began to change the environment.
        action: `deploy`, `promote` or `rollback`.
        reference: host/path@sha256:… of the deployed release.
        commit: the commit that the release was built from.
        committed_at: time of that commit, or empty.
        started_by: the user that the cluster authenticated.
        approved_by: who approved a promotion, or empty.
        link: address of the CI run, or empty.
        unsigned: why it was deployed without a signature, or empty.
        replaced_digest: digest of the release that ran until then, or empty.
        migrates: whether the release has migrations.
        result: `running`, `deployed`, `verified` or `failed`. It stays `running` if the run was killed.
        ended_at: time of its last event, or empty.
        verified_at: when the smoke test had passed and the pods had stayed ready, or empty.
        failed_at: when it failed, or empty.
        attempts: how many attempts the smoke test took.
        url: where the smoke test reached the service, or empty for inside the cluster.
        problem: why it failed, or empty.
        rolled_back_to: the reference that runs again after a failure, or empty.
    """

    run: str
    started_at: str
    action: str = ""
    reference: str = ""
    commit: str = ""
    committed_at: str = ""
    started_by: str = ""
    approved_by: str = ""
    link: str = ""
    unsigned: str = ""
    replaced_digest: str = ""
    migrates: bool = False
    result: str = "running"
    ended_at: str = ""
    verified_at: str = ""
    failed_at: str = ""
    attempts: int = 0
    url: str = ""
    problem: str = ""
    rolled_back_to: str = ""

    @property
    def digest(self) -> str:
        """Digest of the deployed release."""
        return self.reference.partition("@")[2]

    @property
    def is_deployed(self) -> bool:
        """Whether all pods ran the release and were ready, and nothing failed afterwards."""
        return self.result in {"deployed", "verified"}

    @property
    def seconds(self) -> int:
        """How long it took, 0 while it has not ended."""
        return int((clock.parse(self.ended_at) - clock.parse(self.started_at)).total_seconds()) if self.ended_at else 0


_STARTED = (
    "action",
    "reference",
    "commit",
    "committed_at",
    "started_by",
    "approved_by",
    "link",
    "unsigned",
    "replaced_digest",
    "migrates",
)


def fold(events: Iterable[HistoryEvent]) -> list[DeploymentRecord]:
    """Return the runs that events belong to, oldest first; without those with a start that was compacted away."""
    records: dict[str, DeploymentRecord] = {}
    for event in events:
        if event.type is EventType.STARTED:
            details = {name: event.details[name] for name in _STARTED if name in event.details}
            records[event.run] = DeploymentRecord(event.run, event.at, **details)
        elif record := records.get(event.run):
            _add(record, event)
    return list(records.values())


def _add(record: DeploymentRecord, event: HistoryEvent) -> None:
    """Add an event after the first to a run."""
    details = event.details
    record.ended_at = event.at
    match event.type:
        case EventType.DEPLOYED:
            record.result = "deployed"
        case EventType.VERIFIED:
            record.result, record.verified_at = "verified", event.at
            record.attempts, record.url = int(details.get("attempts", 0)), str(details.get("url", ""))
        case EventType.FAILED:
            record.result, record.failed_at, record.verified_at = "failed", event.at, ""
            record.problem = str(details.get("problem", ""))
        case EventType.ROLLED_BACK:
            record.rolled_back_to = str(details.get("reference", ""))
        case EventType.ROLLBACK_FAILED:
            record.rolled_back_to = ""


def last_verified(records: Sequence[DeploymentRecord]) -> DeploymentRecord | None:
    """Return the last verified run that did not fail afterwards."""
    return next((record for record in reversed(records) if record.result == "verified"), None)


def digest_of_commit(records: Sequence[DeploymentRecord], environment: str, commit: str) -> str:
    """Return the digest with which a commit was deployed the last time.

    Raises:
        NotPromotableError: if it never was.
    """
    digest = next((record.digest for record in reversed(records) if record.commit == commit), "")
    if not digest:
        raise NotPromotableError(
            f"commit {commit} was never deployed to {environment}", hint=f"deploy it to {environment} first"
        )
    return digest


def rollback_candidates(records: Sequence[DeploymentRecord], live: str) -> list[DeploymentRecord]:
    """Return the verified runs that a rollback may restore, oldest first: of releases older than the live one.

    A release that an earlier rollback replaced is newer than the live one, so it is left out.
    """
    first = next(
        (
            position
            for position, record in enumerate(records)
            if record.digest == live and record.result == "verified" and record.action != "rollback"
        ),
        len(records),
    )
    return [record for record in records[:first] if record.result == "verified" and record.digest != live]


def verification_of(
    records: Sequence[DeploymentRecord], environment: str, digest: str, *, max_age: datetime.timedelta
) -> DeploymentRecord:
    """Return the verified run that allows a digest to be promoted.

    Args:
        records: the runs of the environment, oldest first.
        environment: its name, for the error.
        digest: sha256:…, or empty for the one that the environment's last run deployed.
        max_age: how old the verification may be.

    Raises:
        NotPromotableError: if the verification is missing, failed, superseded by a failure, or too old.
    """
    if not records:
        raise NotPromotableError(f"nothing was ever deployed to {environment}", hint=f"deploy to {environment} first")
    promoted = digest or records[-1].digest
    runs = [record for record in records if record.digest == promoted]
    if not runs:
        raise NotPromotableError(
            f"{promoted} was never deployed to {environment}", hint=f"deploy it to {environment} first"
        )
    last = runs[-1]
    if last.result != "verified":
        earlier = ", though an earlier run was verified" if any(r.result == "verified" for r in runs) else ""
        running = f"; {last.rolled_back_to} runs there now: name it with --digest" if last.rolled_back_to else ""
        raise NotPromotableError(
            f"the last run of {promoted} in {environment} is {last.result}{earlier}",
            output=last.problem,
            hint=f"make it pass in {environment} first{'' if digest else running}",
        )
    age = clock.now() - clock.parse(last.verified_at)
    if age > max_age:
        raise NotPromotableError(
            f"{promoted} was verified in {environment} {_readable(age)} ago, more than {_readable(max_age)}",
            hint=f"deploy it to {environment} again, or give another --max-age-hours",
        )
    return last


def _readable(age: datetime.timedelta) -> str:
    hours = age.total_seconds() / 3600
    return f"{hours / 24:.0f} days" if hours >= TWO_DAYS_IN_HOURS else f"{hours:.1f} hours"
