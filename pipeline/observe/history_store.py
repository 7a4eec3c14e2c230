"""Where an environment's history is kept: in its namespace, one immutable ConfigMap for each record."""

import dataclasses

from pipeline.core.errors import InvalidInputError
from pipeline.kubernetes import manifests
from pipeline.kubernetes.cluster import Cluster
from pipeline.observe import history
from pipeline.observe.history import History, HistoryEvent


@dataclasses.dataclass(frozen=True, slots=True)
class HistoryStore:
    """The history of one service in one environment.

    Args:
        cluster: with the namespace.
        service: name of the service.
        environment: such as staging.
    """

    cluster: Cluster
    service: str
    environment: str

    async def read(self) -> History:
        """Read all that there is.

        Raises:
            InvalidInputError: if the namespace is that of another environment.
        """
        selector = f"--selector={history.LABEL}={self.service}"
        found = History.read(await self.cluster.objects("configmaps", selector, what=self._what))
        if found.environment not in {"", self.environment}:
            raise InvalidInputError(
                f"{self.environment}: namespace {self.cluster.namespace} is that of {found.environment}",
                hint=f"name that environment, or give --namespace: {self.environment} needs one of its own",
            )
        return found

    async def write(self, past: History, record: HistoryEvent, kept: dict[str, str] | None = None) -> History:
        """Write a record under the next free number, and compact the oldest; return the history with it.

        Args:
            past: the history as it was read.
            record: what happened.
            kept: texts to keep beside it, by name.
        """
        number = past.next_number
        while not await self.cluster.create(
            written := history.to_manifest(
                record, service=self.service, environment=self.environment, number=number, extra=kept
            ),
            what=self._what,
        ):
            number += 1
        single = list(past.config_maps)
        if old := past.surplus():
            archive = past.archive(old, service=self.service)
            await self.cluster.apply([archive], what=self._what, force=True)
            await self.cluster.remove(map(manifests.identity, old), what=self._what)
            single = [archive, *(found for found in single if history.number_of(found) and found not in old)]
        return History.read([*single, written])

    @property
    def _what(self) -> str:
        return f"history of {self.environment}"
