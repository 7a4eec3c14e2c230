"""Where resolvers register, and how a field finds its own."""

from __future__ import annotations

import inspect
import re
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from drydock.session import Session

F = TypeVar("F", bound="Callable[..., Any]")

RESOLVERS: dict[str, Callable[..., Any]] = {}
"""By `Type.field`. Called with the session, the parent's value, and the arguments by their Python names.

Objects come as nodes, since they are lazy. What a resolver of an object returns becomes the value of a new node, and is
asked for when a leaf needs it.
"""


SELF = object()
"""What a resolver such as `sync` returns to be answered with the id of its own object."""


def resolves(field: str) -> Callable[[F], F]:
    """Register a resolver for `Type.field`."""

    def register(resolver: F) -> F:
        RESOLVERS[field] = resolver
        return resolver

    return register


def resolves_attributes(type_name: str, *fields: str) -> None:
    """Register fields that are attributes of the value."""
    for field in fields:
        RESOLVERS[f"{type_name}.{field}"] = _attribute(python_name(field))


def _attribute(name: str) -> Callable[..., Any]:
    def read(session: Session, value: object) -> Any:  # noqa: ANN401 - any leaf
        del session
        return getattr(value, name)

    return read


def python_name(name: str) -> str:
    """Return `useEntrypoint` as `use_entrypoint`, and `from` as `from_`."""
    snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
    return f"{snake}_" if snake == "from" else snake


async def finished(value: Any) -> Any:  # noqa: ANN401 - of any resolver
    """Await what needs awaiting."""
    return await value if inspect.isawaitable(value) else value
