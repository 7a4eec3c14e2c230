"""The schema is that of the SDK."""

from pathlib import Path

import dagger.client.gen
import pytest
from graphql import GraphQLObjectType, validate_schema

from drydock import schema
from drydock.api import RESOLVERS


@pytest.fixture(scope="module")
def api() -> schema.Api:
    return schema.derive(Path(dagger.client.gen.__file__).read_text())


def test_fields_have_the_types_of_the_api(api: schema.Api):
    container = api.objects["Container"]
    assert container["from"].type == "Container!"
    assert container["stdout"].type == "String!"
    assert container["sync"].type == "ID!"
    assert container["envVariable"].type == "String"
    assert container["envVariables"].type == "[EnvVariable!]!"
    assert api.objects["Service"]["start"].type == "ID!"


def test_arguments_have_their_names_types_and_defaults(api: schema.Api):
    args = api.objects["Container"]["withExec"].args
    assert args["args"] == schema.ArgDef("[String!]!")
    assert args["useEntrypoint"] == schema.ArgDef("Boolean", default=False)
    assert args["expect"] == schema.ArgDef("ReturnType", default="SUCCESS")
    assert api.objects["Directory"]["changes"].args == {"from": schema.ArgDef("ID!")}
    assert api.objects["Container"]["withFiles"].args["sources"].type == "[ID!]!"


def test_the_description_survives_its_file(api: schema.Api):
    assert schema.from_json(schema.to_json(api)) == api


def test_the_built_schema_is_valid(api: schema.Api):
    built = schema.build(api, lambda *_: None, lambda *_: None)
    assert validate_schema(built) == []
    container = built.type_map["Container"]
    assert isinstance(container, GraphQLObjectType)
    assert {i.name for i in container.interfaces} == {"Node", "Syncer", "Exportable"}


def test_every_resolver_is_a_field_of_the_api_and_takes_its_arguments(api: schema.Api):
    import inspect

    from drydock.api.registry import python_name

    for name, resolver in RESOLVERS.items():
        owner, _, field = name.partition(".")
        taken = list(inspect.signature(resolver).parameters)[2:]
        assert sorted(taken) == sorted(map(python_name, api.objects[owner][field].args)), name
