"""The GraphQL schema, derived from the installed SDK.

The official SDK holds one Python class per type of Dagger's API (`dagger/client/gen.py`). This module reads that file
without importing it and turns it into a plain description (`Api`), which is cached as JSON; `build` makes the
executable schema of it. So every field of the real API exists, validates, and has its default arguments.
"""

from __future__ import annotations

import ast
import json
import tempfile
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from drydock import __version__

if TYPE_CHECKING:
    from collections.abc import Iterable

    from graphql import GraphQLSchema
    from graphql.type.definition import GraphQLFieldResolver, GraphQLTypeResolver

SCALARS = {"str": "String", "int": "Int", "float": "Float", "bool": "Boolean"}
INTERFACES = ("Node", "Exportable", "Syncer")


@dataclass(frozen=True)
class ArgDef:
    """One argument: its type in GraphQL's notation, and the default that the SDK leaves out when it sends."""

    type: str
    default: Any = None


@dataclass(frozen=True)
class FieldDef:
    """One field of an object or interface."""

    type: str
    args: dict[str, ArgDef] = field(default_factory=dict)


@dataclass
class Api:
    """The whole API: types by name, each a mapping of member names."""

    objects: dict[str, dict[str, FieldDef]] = field(default_factory=dict)
    interfaces: dict[str, dict[str, FieldDef]] = field(default_factory=dict)
    inputs: dict[str, dict[str, ArgDef]] = field(default_factory=dict)
    enums: dict[str, dict[str, str]] = field(default_factory=dict)
    scalars: list[str] = field(default_factory=list)


def derive(source: str) -> Api:
    """Read the API out of the SDK's generated source."""
    api = Api()
    classes = [node for node in ast.parse(source).body if isinstance(node, ast.ClassDef)]
    bases = {node.name: [ast.unparse(base) for base in node.bases] for node in classes}
    api.scalars = sorted(n for n, b in bases.items() if b == ["Scalar"] and not n.endswith("ID"))
    objects = {n for n, b in bases.items() if b in (["Type"], ["Root"]) and not n.startswith("_")}
    reader = _Reader(api.scalars, objects | set(INTERFACES), bases)
    for node in classes:
        match bases[node.name]:
            case ["Enum"]:
                api.enums[node.name] = _enum_members(node)
            case ["Input"]:
                api.inputs[node.name] = reader.input_fields(node)
            case ["Type"] if node.name.startswith("_"):
                name = node.name.removeprefix("_").removesuffix("Client")
                api.interfaces[name] = reader.fields(node, name)
            case ["Type"] | ["Root"]:
                api.objects[node.name] = reader.fields(node, node.name)
    api.objects["Query"].pop("id", None)
    return api


def _enum_members(node: ast.ClassDef) -> dict[str, str]:
    """Member names with their values; aliases (DOCKER for DockerMediaTypes) included."""
    return {
        statement.targets[0].id: ast.literal_eval(statement.value)
        for statement in node.body
        if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name)
    }


class _Reader:
    """Turns Python annotations into GraphQL types."""

    def __init__(self, scalars: Iterable[str], objects: set[str], bases: dict[str, list[str]]) -> None:
        self._scalars = set(scalars)
        self._objects = objects
        self._bases = bases

    def fields(self, node: ast.ClassDef, owner: str) -> dict[str, FieldDef]:
        found: dict[str, FieldDef] = {}
        for method in node.body:
            if not isinstance(method, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            selected = _selected_field(method)
            if selected is None:
                continue
            name, is_sync = selected
            returns = "ID!" if is_sync or name == "id" else self.gql_type(method.returns, owner, output=True)
            found[name] = FieldDef(returns, self._args(method, owner))
        return found

    def input_fields(self, node: ast.ClassDef) -> dict[str, ArgDef]:
        return {
            statement.target.id: ArgDef(self.gql_type(statement.annotation, node.name, output=False))
            for statement in node.body
            if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name)
        }

    def _args(self, method: ast.FunctionDef | ast.AsyncFunctionDef, owner: str) -> dict[str, ArgDef]:
        annotations = {a.arg: a.annotation for a in (*method.args.args, *method.args.kwonlyargs)}
        found: dict[str, ArgDef] = {}
        for call in ast.walk(method):
            if not (isinstance(call, ast.Call) and ast.unparse(call.func) == "Arg"):
                continue
            name = ast.literal_eval(call.args[0])
            value = next(n.id for n in ast.walk(call.args[1]) if isinstance(n, ast.Name))
            type_ = self.gql_type(annotations[value], owner, output=False)
            has_default = len(call.args) > 2  # noqa: PLR2004 - Arg(name, value, default)
            found[name] = ArgDef(type_.removesuffix("!"), _default(call.args[2])) if has_default else ArgDef(type_)
        return found

    def gql_type(self, annotation: ast.expr | None, owner: str, *, output: bool) -> str:
        """Return the type in GraphQL's notation; objects are passed as ids."""
        match annotation:
            case ast.Constant(value=str(text)):
                return self.gql_type(ast.parse(text, mode="eval").body, owner, output=output)
            case ast.BinOp(left=left):  # T | None
                return self.gql_type(left, owner, output=output).removesuffix("!")
            case ast.Subscript(slice=item):  # list[T]
                return f"[{self.gql_type(item, owner, output=output)}]!"
            case ast.Name(id=name):
                return self._named(owner if name == "Self" else name, output=output)
        raise ValueError(f"the SDK's bindings changed form: {ast.dump(annotation) if annotation else owner}")

    def _named(self, name: str, *, output: bool) -> str:
        if name == "Void":
            return "Void"
        if name in SCALARS:
            return f"{SCALARS[name]}!"
        if name in self._scalars or self._bases.get(name) in (["Enum"], ["Input"]):
            return f"{name}!"
        if name in self._objects and output:
            return f"{name}!"
        return "ID!"


def _selected_field(method: ast.FunctionDef | ast.AsyncFunctionDef) -> tuple[str, bool] | None:
    """Return the GraphQL field that a method asks for, and whether it answers an id (`sync`, `start`, …)."""
    for call in ast.walk(method):
        if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute)):
            continue
        if call.func.attr == "_select":
            return ast.literal_eval(call.args[0]), False
        if call.func.attr == "execute_sync":
            return ast.literal_eval(call.args[1]), True
    return None


def _default(node: ast.expr) -> Any:  # noqa: ANN401 - any JSON value
    """Return a default; enum members by their name."""
    return node.attr if isinstance(node, ast.Attribute) else ast.literal_eval(node)


def generated_source() -> Path:
    """Return the SDK's generated bindings."""
    spec = find_spec("dagger")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError("dagger-io is not installed; try: uv sync")
    return Path(next(iter(spec.submodule_search_locations))) / "client" / "gen.py"


def version_name() -> str:
    """Return what changes when the schema may: the versions of the SDK and of the engine."""
    stat = generated_source().stat()
    return f"{version('dagger-io')}-{__version__}-{stat.st_size:x}-{stat.st_mtime_ns:x}"


def load(cache: Path) -> Api:
    """Return the API, from the cache folder where it is there already."""
    path = cache / f"{version_name()}.json"
    if path.exists():
        return from_json(path.read_text("utf-8"))
    api = derive(generated_source().read_text("utf-8"))
    write_atomically(path, to_json(api).encode())
    return api


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file so that nobody ever reads half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as temporary:
        temporary.write(data)
    Path(temporary.name).replace(path)


def to_json(api: Api) -> str:
    """Write the description; `from_json` reads it."""
    return json.dumps(asdict(api), separators=(",", ":"), sort_keys=True)


def from_json(text: str) -> Api:
    """Read what `to_json` wrote."""
    raw = json.loads(text)

    def args(members: dict[str, Any]) -> dict[str, ArgDef]:
        return {n: ArgDef(**a) for n, a in members.items()}

    def fields(types: dict[str, Any]) -> dict[str, dict[str, FieldDef]]:
        return {
            t: {n: FieldDef(f["type"], args(f["args"])) for n, f in members.items()} for t, members in types.items()
        }

    return Api(
        objects=fields(raw["objects"]),
        interfaces=fields(raw["interfaces"]),
        inputs={n: args(m) for n, m in raw["inputs"].items()},
        enums=raw["enums"],
        scalars=raw["scalars"],
    )


def build(api: Api, resolve: GraphQLFieldResolver, type_of: GraphQLTypeResolver) -> GraphQLSchema:
    """Return the executable schema: every field answered by `resolve`, every interface decided by `type_of`."""
    from drydock.gql import SchemaBuilder  # noqa: PLC0415 - graphql-core is slow to import, and needed late

    return SchemaBuilder(api, resolve, type_of).schema()
