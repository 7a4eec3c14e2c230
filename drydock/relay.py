"""A port of the host as a service: what connects within the session's network is led to it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from drydock.errors import ServiceError
from drydock.graph import key_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from drydock.network import Namespace, Network

CONNECT_SECONDS = 10
CHUNK = 1 << 16
BACKLOG = 128


@dataclass(frozen=True)
class Forward:
    """A port within the session, and the host's port that it leads to."""

    port: int
    backend: int
    protocol: str = "TCP"
    description: str = ""
    experimental_skip_healthcheck: bool = False


@dataclass(frozen=True)
class HostService:
    """The value of the API's Service for ports of the host, or of what the host can reach."""

    host: str
    ports: tuple[Forward, ...]
    name: str = ""

    async def key(self) -> str:
        """Return the key of the definition."""
        ports = [(forward.port, forward.backend) for forward in self.ports]
        return key_of("host-service", self.host, ports, self.name)

    @property
    def hostname(self) -> str:
        """The name it goes by in the session."""
        ports = [(forward.port, forward.backend) for forward in self.ports]
        return self.name or f"{key_of('host-service', self.host, ports)[:13]}.drydock.local"

    def describe(self) -> str:
        """Return what a person recognises it by."""
        return f"{self.host}:{','.join(str(forward.backend) for forward in self.ports)}"

    def with_hostname(self, name: str) -> HostService:
        """Return the service under another name."""
        return replace(self, name=name)

    async def ready(self) -> None:
        """Do nothing: there are no files to make."""


class Relay:
    """Listens in a namespace and connects on the host. Ends as a process does."""

    def __init__(self, service: HostService) -> None:
        self._service = service
        self._servers: list[asyncio.Server] = []
        self._over = asyncio.Event()

    async def start(self, network: Network, namespace: Namespace) -> None:
        """Check that the host's ports answer, then listen."""
        for forward in self._service.ports:
            _, writer = await self._connect(forward.backend)
            writer.close()
            listener = await network.within(namespace, _listener, forward.port)
            self._servers.append(await asyncio.start_server(self._serve(forward.backend), sock=listener))

    async def _connect(self, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                return await asyncio.open_connection(self._service.host, port)
        except (OSError, TimeoutError) as error:
            raise ServiceError(f"nothing listens at {self._service.host}:{port} of this machine: {error}") from error

    def _serve(self, port: int) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.closing(writer), contextlib.suppress(ServiceError):
                there, back = await self._connect(port)
                with contextlib.closing(back):
                    await asyncio.gather(_copy(reader, back), _copy(there, writer))

        return serve

    # As of a process

    @property
    def returncode(self) -> int | None:
        """None while it listens."""
        return 0 if self._over.is_set() else None

    def send_signal(self, _number: int) -> None:
        """End, whatever the signal."""
        self.kill()

    def kill(self) -> None:
        """Stop listening."""
        for server in self._servers:
            server.close()
        self._over.set()

    async def wait(self) -> int:
        """Wait for the end."""
        await self._over.wait()
        return 0


def _listener(port: int) -> socket.socket:
    """Listen on every address of the namespace: a registry's client is within, and asks localhost."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("0.0.0.0", port))  # noqa: S104 - of a namespace, which has nothing else
    listener.listen(BACKLOG)
    listener.setblocking(False)  # noqa: FBT003 - the standard library's form
    return listener


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(CHUNK):
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
