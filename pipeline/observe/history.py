"""The history of one service in one environment: an immutable ConfigMap for each event. Pure functions.

The oldest events are compacted into one archive, without the manifests attached to them.
"""

import base64
import dataclasses
import gzip
import json
from collections.abc import Iterable, Mapping, Sequence

from pipeline.kubernetes.manifests import MANAGED_BY, PREFIX, Manifest, identity
from pipeline.observe.events import EventType, HistoryEvent
from pipeline.observe.records import DeploymentRecord, fold, last_verified

LABEL = f"{PREFIX}/history"
# ConfigMaps that hold a single event.
SINGLE_EVENTS = 100
ARCHIVED_EVENTS = 1000
# A ConfigMap may hold 1 MiB.
ARCHIVE_BYTES = 800_000


def to_config_map(
    event: HistoryEvent, *, service: str, environment: str, attachments: Mapping[str, str] | None = None
) -> Manifest:
    """Return the ConfigMap that stores a numbered event, with compressed attachments."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": f"{service}-history-{event.number:06d}",
            "labels": {LABEL: service, MANAGED_BY: PREFIX},
            "annotations": {f"{PREFIX}/environment": environment},
        },
        "immutable": True,
        "data": {"event": event.to_json()},
        "binaryData": {name: compress(text) for name, text in (attachments or {}).items() if text},
    }


def compress(text: str) -> str:
    """Return text compressed, in base64."""
    return base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode()


def decompress(data: str) -> str:
    """Read what `compress` returned."""
    return gzip.decompress(base64.b64decode(data)).decode()


def number_of(config_map: Manifest) -> int:
    """Return the number of a ConfigMap's event; 0 for the archive."""
    tail = str(config_map["metadata"]["name"]).rpartition("-")[2]
    return int(tail) if tail.isdigit() else 0


def _events_in(config_map: Manifest) -> list[HistoryEvent]:
    return [HistoryEvent.from_json(line) for line in _lines(config_map)]


def _lines(config_map: Manifest) -> list[str]:
    return str((config_map.get("data") or {}).get("event", "")).splitlines()


@dataclasses.dataclass(frozen=True, slots=True)
class History:
    """The history of one service in one namespace.

    Args:
        events: oldest first.
        config_maps: the objects that store them: the archive, if there is one, then those of single events.
    """

    events: Sequence[HistoryEvent]
    config_maps: Sequence[Manifest]

    @classmethod
    def read(cls, config_maps: Iterable[Manifest]) -> "History":
        """Read the ConfigMaps of a namespace, in any order."""
        ordered = sorted(config_maps, key=number_of)
        events = [event for config_map in ordered for event in _events_in(config_map)]
        return cls(sorted(events, key=lambda event: event.number), ordered)

    @property
    def environment(self) -> str:
        """The environment that the namespace belongs to, or empty."""
        annotations = (config_map["metadata"].get("annotations") or {} for config_map in reversed(self.config_maps))
        return next((name for known in annotations if (name := known.get(f"{PREFIX}/environment"))), "")

    @property
    def deployments(self) -> list[DeploymentRecord]:
        """The runs, oldest first."""
        return fold(self.events)

    @property
    def next_number(self) -> int:
        """The number of the next event."""
        return max(map(number_of, self.config_maps), default=0) + 1

    def attachment(self, run: str, name: str) -> str:
        """Return the last attachment of that name to an event of a run, or an empty string."""
        for config_map in reversed(self.config_maps):
            attached = (config_map.get("binaryData") or {}).get(name)
            if attached and _events_in(config_map)[0].run == run:
                return decompress(attached)
        return ""

    def manifests(self, run: str) -> list[Manifest]:
        """Return the manifests that a run applied, or none if they were compacted away."""
        return list(json.loads(self.attachment(run, "manifests") or "[]"))

    def existing_before(self, run: str) -> set[str]:
        """Return the identities of a run's objects that existed before it."""
        started = (event for event in self.events if event.run == run and event.type is EventType.STARTED)
        return {name for event in started for name in event.details.get("existing", ())}

    def created_by(self, run: str) -> list[str]:
        """Return the identities of the objects that a run created: those which did not exist before it."""
        existing = self.existing_before(run)
        return [name for name in map(identity, self.manifests(run)) if name not in existing]

    def created_since(self, target: DeploymentRecord | None, objects: Iterable[Manifest]) -> list[str]:
        """Return the identities of what runs after `target` (or all runs) created and `objects` do not contain."""
        runs = [record.run for record in self.deployments]
        kept = set(map(identity, objects))
        later = runs[runs.index(target.run) + 1 :] if target else runs
        created = (name for run in later for name in self.created_by(run))
        return [name for name in dict.fromkeys(created) if name not in kept]

    def compactable(self) -> list[Manifest]:
        """Return the oldest ConfigMaps of single events, beyond the limit; never those of the last verified run."""
        single = [config_map for config_map in self.config_maps if number_of(config_map)]
        verified = last_verified(self.deployments)
        old = single[: max(len(single) - SINGLE_EVENTS, 0)]
        return [config_map for config_map in old if not verified or _events_in(config_map)[0].run != verified.run]

    def archive(self, old: Sequence[Manifest], *, service: str) -> Manifest:
        """Return the archive with old events added; it is bounded in number and size, and drops the oldest."""
        present = [config_map for config_map in self.config_maps if not number_of(config_map)]
        lines = [line for config_map in [*present, *old] for line in _lines(config_map)]
        # An event may be in both, if a run was killed before it deleted what it had archived.
        unique = {HistoryEvent.from_json(line).number: line for line in lines}
        lines = [unique[number] for number in sorted(unique)][-ARCHIVED_EVENTS:]
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
