"""One session: the objects clients hold, the store, the network, the secrets and the log."""

from __future__ import annotations

import secrets
import sys
import traceback
from typing import TYPE_CHECKING, Any

from drydock.errors import DrydockError, InvalidArgumentError
from drydock.graph import Node, key_of
from drydock.network import Network
from drydock.plaintext import Scrubber
from drydock.services import Services

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from drydock.store import Store


class Session:
    """What all resolvers share.

    Parameters
    ----------
    store
        The cache folder.
    workdir
        Host paths are relative to it.
    verbose
        Show the output of commands as it comes.
    """

    def __init__(self, store: Store, workdir: Path, *, verbose: bool = False) -> None:
        self.store = store
        self.workdir = workdir
        self.verbose = verbose
        self.scrub = Scrubber()
        self.network = Network(store)
        self.services = Services(self)
        self._nodes: dict[str, Node] = {}
        self._salt = secrets.token_hex(16)
        self._calls = 0
        self._said: set[str] = set()

    # Objects

    def node(self, type_name: str, call: tuple[object, ...], make: Callable[[], Awaitable[Any]]) -> Node:
        """Return the one node for a call: the same call gives the same object throughout the session."""
        node = Node(type_name, key_of(self._salt, type_name, *call)[:32], make)
        return self._nodes.setdefault(node.id, node)

    def load(self, node_id: str) -> Node:
        """Return the node that an id stands for."""
        try:
            return self._nodes[node_id]
        except KeyError:
            raise InvalidArgumentError(f"no object has the id {node_id!r} in this session") from None

    def unique(self) -> int:
        """Return a number that makes a call unlike all others."""
        self._calls += 1
        return self._calls

    # Log

    def say(self, line: str) -> None:
        """Write one line to the session's log, without secrets."""
        print(self.scrub(line), file=sys.stderr, flush=True)

    def say_once(self, line: str) -> None:
        """Write a line that the session has not seen yet."""
        if line not in self._said:
            self._said.add(line)
            self.say(line)

    def output(self, text: str) -> None:
        """Show output of a command, where that is wanted."""
        if self.verbose:
            sys.stderr.write(self.scrub(text))
            sys.stderr.flush()

    def explain(self, error: BaseException) -> tuple[str, dict[str, Any]]:
        """Return message and extensions of an error, without secrets; an unforeseen one is logged in full."""
        if isinstance(error, DrydockError):
            extensions = error.extensions()
            return self.scrub(str(error)), self._scrub_all(extensions)
        self.say("".join(traceback.format_exception(error)))
        return self.scrub(f"internal error of the embedded engine: {type(error).__name__}: {error}"), {}

    def _scrub_all(self, value: Any) -> Any:  # noqa: ANN401 - any JSON value
        if isinstance(value, str):
            return self.scrub(value)
        if isinstance(value, list):
            return [self._scrub_all(item) for item in value]
        if isinstance(value, dict):
            return {name: self._scrub_all(item) for name, item in value.items()}
        return value

    async def close(self) -> None:
        """Stop services, take the network down, remove temporary files."""
        await self.services.close()
        await self.network.close()
        self.store.close()
