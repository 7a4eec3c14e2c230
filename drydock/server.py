"""GraphQL over HTTP on loopback: `POST /query`, with the session's token as the user of basic authentication."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import hmac
import json
from typing import TYPE_CHECKING, Any

import h11

from drydock import schema
from drydock.graph import Shared
from drydock.schema import write_atomically

if TYPE_CHECKING:
    from graphql import GraphQLSchema

    from drydock.session import Session

CHUNK = 65536


class Server:
    """Answers one session's clients.

    Parameters
    ----------
    session
        What the resolvers work on.
    token
        Who does not send it is turned away.
    """

    def __init__(self, session: Session, token: str) -> None:
        self._session = session
        self._authorization = b"Basic " + base64.b64encode(f"{token}:".encode())
        self._folder = session.store.root / "schema"
        self._schema = Shared(lambda: asyncio.to_thread(self._build))
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def start(self) -> int:
        """Listen on a free port of 127.0.0.1 and return it. The schema is built meanwhile."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        port: int = self._server.sockets[0].getsockname()[1]
        self._warming = asyncio.ensure_future(self._schema())
        return port

    async def close(self) -> None:
        """Stop listening; cancel what is under way."""
        if self._server:
            self._server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None:
            return
        self._connections.add(task)
        try:
            await self._converse(reader, writer)
        except (ConnectionError, h11.RemoteProtocolError, asyncio.CancelledError):
            pass  # the client is gone, or the session ends
        finally:
            self._connections.discard(task)
            writer.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer requests on one connection, one after the other."""
        http = h11.Connection(h11.SERVER)
        while True:
            request = await _next_event(http, reader)
            if not isinstance(request, h11.Request):
                return
            body = b""
            while isinstance(event := await _next_event(http, reader), h11.Data):
                body += event.data
            status, answer = await self._watched(request, body, reader)
            headers = [("content-type", "application/json"), ("content-length", str(len(answer)))]
            for out in (
                h11.Response(status_code=status, headers=headers),
                h11.Data(data=answer),
                h11.EndOfMessage(),
            ):
                writer.write(http.send(out) or b"")
            await writer.drain()
            if http.our_state is h11.MUST_CLOSE:
                return
            http.start_next_cycle()

    async def _watched(self, request: h11.Request, body: bytes, reader: asyncio.StreamReader) -> tuple[int, bytes]:
        """Answer, unless the client hangs up first: then the work it waits for is cancelled."""
        work = asyncio.ensure_future(self._answer(request, body))
        gone = asyncio.ensure_future(_hung_up(reader))
        try:
            await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                raise ConnectionResetError
            return work.result()
        finally:
            work.cancel()
            gone.cancel()
            await asyncio.gather(work, gone, return_exceptions=True)

    async def _answer(self, request: h11.Request, body: bytes) -> tuple[int, bytes]:
        sent = dict(request.headers).get(b"authorization", b"")
        if not hmac.compare_digest(sent, self._authorization):
            return 401, b'{"errors":[{"message":"the session token is missing or wrong"}]}'
        if request.method != b"POST" or request.target.partition(b"?")[0] != b"/query":
            return 404, b'{"errors":[{"message":"only POST /query is answered"}]}'
        try:
            asked = json.loads(body)
            query, variables = asked["query"], asked.get("variables")
        except (ValueError, KeyError, TypeError):
            return 400, b'{"errors":[{"message":"the body is no GraphQL request in JSON"}]}'
        if "__schema" in query:
            return 200, await self._introspection(query, variables)
        return 200, await self._execute(query, variables)

    async def _introspection(self, query: str, variables: dict[str, Any] | None) -> bytes:
        """Answer what every client asks first, from the cache folder: it depends on versions only."""
        name = hashlib.sha256(query.encode()).hexdigest()[:16]
        path = self._folder / f"{schema.version_name()}-{name}.answer"
        with contextlib.suppress(FileNotFoundError):
            return path.read_bytes()
        answer = await self._execute(query, variables)
        write_atomically(path, answer)
        return answer

    def _build(self) -> GraphQLSchema:
        """Import what is slow to import, and build the schema; the first answer comes from a file and does not wait."""
        from drydock.api.dispatch import resolver_for, type_of  # noqa: PLC0415

        return schema.build(schema.load(self._folder), resolver_for(self._session), type_of)

    async def _execute(self, query: str, variables: dict[str, Any] | None) -> bytes:
        built = await self._schema()
        from graphql import graphql  # noqa: PLC0415 - imported by now

        result = await graphql(built, query, variable_values=variables)
        return json.dumps(result.formatted).encode("utf-8", "surrogatepass")


async def _next_event(http: h11.Connection, reader: asyncio.StreamReader) -> Any:  # noqa: ANN401 - h11's events
    while True:
        event = http.next_event()
        if event is not h11.NEED_DATA:
            return event
        http.receive_data(await reader.read(CHUNK))


async def _hung_up(reader: asyncio.StreamReader) -> None:
    """Wait until the client closes the connection; clients send nothing before they have their answer."""
    while not reader.at_eof():
        if not await reader.read(1):
            return
