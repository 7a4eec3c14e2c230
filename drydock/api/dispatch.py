"""From a GraphQL field to a resolver: objects stay lazy, leaves are evaluated, the rest is said to be missing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from graphql import (
    GraphQLError,
    GraphQLInterfaceType,
    GraphQLObjectType,
    get_named_type,
    is_list_type,
    is_wrapping_type,
)

from drydock.api import RESOLVERS
from drydock.api.registry import SELF, finished, python_name
from drydock.errors import NotSupportedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from graphql import GraphQLResolveInfo

    from drydock.graph import Node
    from drydock.session import Session

UNSUPPORTED_FLAGS = {"experimentalPrivilegedNesting"}


def type_of(value: Node, _info: GraphQLResolveInfo[Any], _type: object) -> str:
    """Return the concrete type behind an interface."""
    return value.type_name


def resolver_for(session: Session) -> Callable[..., Any]:
    """Return the function that answers every field of the schema."""

    async def resolve(parent: Node | None, info: GraphQLResolveInfo[Any], **arguments: Any) -> Any:  # noqa: ANN401
        try:
            return await _resolve(session, parent, info, arguments)
        except GraphQLError:
            raise
        except Exception as error:  # noqa: BLE001 - every error becomes an answer
            message, extensions = session.explain(error)
            raise GraphQLError(message, original_error=error, extensions=extensions) from None

    return resolve


async def _resolve(
    session: Session, parent: Node | None, info: GraphQLResolveInfo[Any], arguments: dict[str, Any]
) -> Any:  # noqa: ANN401 - any field
    field, owner = info.field_name, info.parent_type.name
    if field == "id" and parent:
        return parent.id
    if parent is None and (field == "node" or field.startswith("load")):
        return session.load(arguments["id"])
    name = f"{owner}.{field}"
    for flag in UNSUPPORTED_FLAGS:
        if arguments.get(flag):
            raise NotSupportedError(f"{name}({flag})")
    resolver = RESOLVERS.get(name)
    if resolver is None:
        raise NotSupportedError(name)
    ids = {arg for arg, d in info.parent_type.fields[field].args.items() if get_named_type(d.type).name == "ID"}
    values = {python_name(arg): _load(session, value) if arg in ids else value for arg, value in arguments.items()}
    target = get_named_type(info.return_type)

    async def call() -> Any:  # noqa: ANN401 - any value
        value = await parent.value() if parent else None
        return await finished(resolver(session, value, **values))

    if not isinstance(target, GraphQLObjectType | GraphQLInterfaceType):
        answer = await call()
        return parent.id if parent and answer is SELF else answer
    fresh = session.unique() if arguments.get("noCache") else 0
    place = (parent.digest if parent else "", field, arguments, fresh)
    if is_list_type(_unwrapped(info.return_type)):
        return [session.node(target.name, (*place, index), _giving(value)) for index, value in enumerate(await call())]
    return session.node(target.name, place, call)


def _unwrapped(type_: Any) -> Any:  # noqa: ANN401 - graphql-core's types
    return type_.of_type if is_wrapping_type(type_) and not is_list_type(type_) else type_


def _load(session: Session, value: Any) -> Any:  # noqa: ANN401 - an id, ids or None
    if isinstance(value, list):
        return [session.load(item) for item in value]
    return session.load(value) if value is not None else None


def _giving(value: Any) -> Callable[[], Any]:  # noqa: ANN401 - any object's value
    async def give() -> Any:  # noqa: ANN401
        return value

    return give
