"""Where an environment's history is stored: in its namespace, one immutable ConfigMap for each event."""

import dataclasses
from collections.abc import Mapping

from pipeline.core.errors import InvalidInputError, error_context
from pipeline.kubernetes import manifests
from pipeline.kubernetes.client import ClusterClient
from pipeline.observe import history
from pipeline.observe.events import HistoryEvent
from pipeline.observe.history import History


@dataclasses.dataclass(frozen=True, slots=True)
class HistoryStore:
    """The history of one service in one environment.

    Args:
        client: the environment's namespace.
        service: name of the service.
        environment: such as staging.
    """

    client: ClusterClient
    service: str
    environment: str

    async def read(self) -> History:
        """Read the whole history.

        Raises:
            InvalidInputError: if the namespace belongs to another environment.
        """
        with error_context("history"):
            config_maps = await self.client.find(["configmaps"], labels={history.LABEL: self.service})
        past = History.read(config_maps)
        if past.environment not in {"", self.environment}:
            raise InvalidInputError(
                f"namespace {self.client.namespace} belongs to environment {past.environment}",
                hint=f"name that environment, or give --namespace: {self.environment} needs its own",
            )
        return past

    async def append(self, past: History, event: HistoryEvent, attachments: Mapping[str, str] | None = None) -> History:
        """Store an event under the next free number, and compact the oldest; return the history with it.

        Args:
            past: the history as it was read.
            event: what happened.
            attachments: texts to store with it, by name.
        """
        with error_context("history"):
            stored = await self._create(past, event, attachments)
            config_maps = list(past.config_maps)
            if old := past.compactable():
                archive = past.archive(old, service=self.service)
                await self.client.apply([archive], force=True)
                await self.client.delete(map(manifests.identity, old))
                single = (item for item in config_maps if history.number_of(item) and item not in old)
                config_maps = [archive, *single]
        return History.read([*config_maps, stored])

    async def _create(
        self, past: History, event: HistoryEvent, attachments: Mapping[str, str] | None
    ) -> manifests.Manifest:
        """Create the ConfigMap of an event; a number that another writer used is skipped."""
        number = past.next_number
        while True:
            config_map = history.to_config_map(
                dataclasses.replace(event, number=number),
                service=self.service,
                environment=self.environment,
                attachments=attachments,
            )
            if await self.client.create(config_map):
                return config_map
            number += 1
