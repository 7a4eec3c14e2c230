"""From the plain description of the API to graphql-core's objects."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from graphql import (
    GraphQLArgument,
    GraphQLBoolean,
    GraphQLEnumType,
    GraphQLField,
    GraphQLFloat,
    GraphQLID,
    GraphQLInputField,
    GraphQLInputObjectType,
    GraphQLInt,
    GraphQLInterfaceType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLScalarType,
    GraphQLSchema,
    GraphQLString,
)

if TYPE_CHECKING:
    from graphql.type.definition import GraphQLFieldResolver, GraphQLTypeResolver

    from drydock.schema import Api, ArgDef, FieldDef


class SchemaBuilder:
    """Builds one schema; types refer to each other by name, so fields are made late."""

    def __init__(self, api: Api, resolve: GraphQLFieldResolver, type_of: GraphQLTypeResolver) -> None:
        self._api = api
        self._resolve = resolve
        self._types: dict[str, Any] = {
            "String": GraphQLString,
            "Int": GraphQLInt,
            "Float": GraphQLFloat,
            "Boolean": GraphQLBoolean,
            "ID": GraphQLID,
        }
        for name in api.scalars:
            self._types[name] = GraphQLScalarType(name)
        for name, members in api.enums.items():
            # Every member stands for its own name: the SDK sends and reads names, never values.
            self._types[name] = GraphQLEnumType(name, {member: member for member in members})
        for name, inputs in api.inputs.items():
            self._types[name] = GraphQLInputObjectType(name, partial(self._input_fields, inputs))
        for name, fields in api.interfaces.items():
            self._types[name] = GraphQLInterfaceType(name, partial(self._fields, fields), resolve_type=type_of)
        for name, fields in api.objects.items():
            self._types[name] = GraphQLObjectType(
                name, partial(self._fields, fields), interfaces=self._interfaces(name, fields)
            )

    def schema(self) -> GraphQLSchema:
        """Return the finished schema."""
        return GraphQLSchema(query=self._types["Query"], types=list(self._types.values()))

    def _interfaces(self, name: str, fields: dict[str, FieldDef]) -> list[Any]:
        if name == "Query":
            return []
        return [
            self._types[interface]
            for interface, required in self._api.interfaces.items()
            if all(f in fields and fields[f].type == d.type for f, d in required.items())
        ]

    def _type(self, text: str) -> Any:  # noqa: ANN401 - any GraphQL type
        if text.endswith("!"):
            return GraphQLNonNull(self._type(text[:-1]))
        if text.startswith("["):
            return GraphQLList(self._type(text[1:-1]))
        return self._types[text]

    def _fields(self, fields: dict[str, FieldDef]) -> dict[str, GraphQLField]:
        return {
            name: GraphQLField(
                self._type(definition.type),
                {arg: self._argument(d) for arg, d in definition.args.items()},
                resolve=self._resolve,
            )
            for name, definition in fields.items()
        }

    def _argument(self, definition: ArgDef) -> GraphQLArgument:
        if definition.default is None:
            return GraphQLArgument(self._type(definition.type))
        return GraphQLArgument(self._type(definition.type), default_value=definition.default)

    def _input_fields(self, fields: dict[str, ArgDef]) -> dict[str, GraphQLInputField]:
        return {name: GraphQLInputField(self._type(d.type)) for name, d in fields.items()}
