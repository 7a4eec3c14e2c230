"""Lazy values: nodes that are evaluated when a leaf asks, and at most once at a time."""

from __future__ import annotations

import asyncio
import hashlib
import json
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

T = TypeVar("T")


def key_of(*parts: object) -> str:
    """Return the key of an operation: sha256 over its name, arguments and the keys of its inputs.

    Parts are JSON values (tuples count as lists), so that `("a", "b")` and `("ab",)` differ.
    """
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


class Shared(Generic[T]):
    """Work that several wait for and that runs once.

    A success is kept. A failure is given to those who wait, then forgotten, so that the next one tries again. When the
    last one who waits is cancelled, the work is cancelled too.
    """

    __slots__ = ("_make", "_task", "_waiting")

    def __init__(self, make: Callable[[], Awaitable[T]]) -> None:
        self._make = make
        self._task: asyncio.Task[T] | None = None
        self._waiting = 0

    async def __call__(self) -> T:
        """Wait for the value; start the work if nobody has."""
        if self._task is None or (self._task.done() and not _succeeded(self._task)):
            self._task = asyncio.ensure_future(self._run())
        task = self._task
        if task.done():
            return task.result()
        self._waiting += 1
        try:
            return await asyncio.shield(task)
        finally:
            self._waiting -= 1
            if self._waiting == 0 and not task.done():
                task.cancel()
                if self._task is task:
                    self._task = None

    async def _run(self) -> T:
        return await self._make()


def _succeeded(task: asyncio.Task[Any]) -> bool:
    return not task.cancelled() and task.exception() is None


def settled(value: T) -> Shared[T]:
    """Return work that is done already."""

    async def give() -> T:
        return value

    return Shared(give)


class Node:
    """One object of the API: its type, its place in the graph of calls, and how to evaluate it.

    Attributes
    ----------
    type_name
        The GraphQL type, such as `Container`.
    digest
        Identifies the call chain within the session. It is no cache key: those are made from what evaluation finds.
    value
        Awaiting `node.value()` evaluates the node.
    """

    __slots__ = ("digest", "type_name", "value")

    def __init__(self, type_name: str, digest: str, make: Callable[[], Awaitable[Any]]) -> None:
        self.type_name = type_name
        self.digest = digest
        self.value: Shared[Any] = Shared(make)

    @property
    def id(self) -> str:
        """What clients pass around."""
        return f"{self.type_name}:{self.digest}"
