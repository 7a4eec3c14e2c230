"""The structure of the code: which way imports point, where the SDK is reached, how large things may be.

Each rule is a function from sources to violations. One test applies it to the project, others show that it can fail.
"""

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# From left to right: a layer may import itself and what follows it. build, publish and deploy never import one another.
LAYERS = (
    ("slipway",),
    ("ship",),
    ("api",),
    ("settings",),
    ("check",),
    ("build", "publish", "deploy"),
    ("signing",),
    ("scan",),
    ("source",),
    ("report",),
    ("observe",),
    ("kubernetes",),
    ("oci",),
    ("images",),
    ("core",),
)
RANKS = {layer: rank for rank, layers in enumerate(LAYERS) for layer in layers}
# The engine, the launcher and the tests know the module; the module knows none of them.
OUTSIDE = ("bench", "drydock", "examples", "launch", "tests")
DECORATORS = {"check", "function", "uncached"}
API = ("pipeline/slipway.py", "pipeline/api/", "pipeline/core/interfaces.py")
ALIASES = "pipeline/api/arguments.py"
MAX_FILE_LINES = 300
MAX_FUNCTION_LINES = 50
MAX_PARAMETERS = 8
PRIVATE = re.compile(r"\bdagger(?:\.\w+)*\._(?!_)\w+")

Sources = dict[str, ast.Module]
FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef


@functools.cache
def sources(*folders: str) -> Sources:
    """Return the syntax trees of the project's files below some folders, by path."""
    files = sorted(file for folder in folders for file in (ROOT / folder).rglob("*.py"))
    assert files
    return {str(file.relative_to(ROOT)): ast.parse(file.read_text()) for file in files}


def check(violations: list[str]) -> None:
    """Fail with all violations, which pytest would abbreviate."""
    assert not violations, "\n".join(violations)


def dotted(node: ast.expr) -> str:
    """Return the name that an expression such as `a.b(…)` begins with."""
    match node:
        case ast.Name(id=name):
            return name
        case ast.Attribute(value=value, attr=attribute):
            return f"{dotted(value)}.{attribute}"
        case ast.Call(func=called):
            return dotted(called)
        case ast.Subscript(value=value):
            return dotted(value)
    return ""


def imported(path: str, tree: ast.Module) -> Iterator[str]:
    """Yield what a file imports anywhere, also in a function or for type checking only, as dotted names."""
    package = Path(path).parent.parts
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield from (f"{module}.{alias.name}" for alias in node.names)


def layer_of(module: str) -> str:
    """Return the layer of a dotted name or path in `pipeline`; empty for the package itself and for anything else."""
    parts = module.removesuffix(".py").replace("/", ".").split(".")
    return parts[1] if parts[0] == "pipeline" and len(parts) > 1 and parts[1] != "__init__" else ""


def may_import(importer: str, other: str) -> bool:
    """Whether one layer may import another."""
    if importer == "images":
        return other == "core"
    return importer == other or RANKS[importer] < RANKS[other]


# Imports


def wrong_imports(files: Sources) -> list[str]:
    """Return the imports that point back, or out of the module."""
    found = []
    for path, tree in files.items():
        importer = layer_of(path)
        for name in imported(path, tree):
            package, other = name.partition(".")[0], layer_of(name)
            if package in OUTSIDE:
                found.append(f"{path} imports {name}, which is outside of the module")
            elif package != "pipeline" or not importer:
                continue
            elif other not in RANKS or importer not in RANKS:
                found.append(f"{path} imports {name}: {other if importer in RANKS else importer} is no layer")
            elif not may_import(importer, other):
                found.append(f"{path} imports {name}: {importer} must not import {other}")
    return found


def test_imports_point_one_way():
    check(wrong_imports(sources("pipeline")))


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("pipeline/core/retry.py", "from pipeline.oci.registry import Registry"),
        ("pipeline/core/retry.py", "import pipeline.slipway"),
        ("pipeline/core/retry.py", "from pipeline import images"),
        ("pipeline/oci/registry.py", "from ..kubernetes import kubectl"),
        ("pipeline/images.py", "from pipeline.oci.references import DigestReference"),
        ("pipeline/build/node.py", "from pipeline.deploy import jobs"),
        ("pipeline/publish/push.py", "from pipeline.build.node import PORT"),
        ("pipeline/deploy/jobs.py", "from pipeline.publish import push"),
        ("pipeline/scan/scan.py", "def late():\n    from pipeline.api.arguments import Severity"),
        ("pipeline/scan/scan.py", "if TYPE_CHECKING:\n    from pipeline.signing.policy import Signer"),
        ("pipeline/scan/scan.py", "from pipeline import Slipway"),
        ("pipeline/scan/scan.py", "from pipeline.helpers import anything"),
        ("pipeline/helpers.py", "from pipeline.core.log import log"),
        ("pipeline/scan/scan.py", "from drydock.session import Session"),
    ],
)
def test_an_import_that_points_back_is_found(path: str, code: str):
    assert len(wrong_imports({path: ast.parse(code)})) == 1


def test_an_import_that_points_on_is_none():
    code = "from pipeline import images\nfrom pipeline.core.log import log\nfrom .policy import Signer\nimport anyio"
    assert wrong_imports({"pipeline/signing/sign.py": ast.parse(code)}) == []


def cycles(files: Sources) -> list[str]:
    """Return the files that reach themselves by imports, however those are written."""
    modules = {path.removesuffix(".py").removesuffix("/__init__").replace("/", "."): path for path in files}
    graph = {
        module: {name if name in modules else name.rpartition(".")[0] for name in imported(path, files[path])}
        & {*modules}
        for module, path in modules.items()
    }

    def reached(start: str) -> set[str]:
        seen: set[str] = set()
        left = [*graph[start]]
        while left:
            module = left.pop()
            if module not in seen:
                seen.add(module)
                left += graph[module]
        return seen

    return [modules[module] for module in graph if module in reached(module)]


def test_no_file_imports_itself_in_a_circle():
    check(cycles(sources("pipeline")))


def test_a_circle_of_imports_is_found():
    files = {
        "pipeline/api/a.py": ast.parse("from pipeline.api.b import B"),
        "pipeline/api/b.py": ast.parse("def late():\n    from pipeline.api import a"),
        "pipeline/api/c.py": ast.parse("from pipeline.api import a"),
    }
    assert cycles(files) == ["pipeline/api/a.py", "pipeline/api/b.py"]


# The SDK


def private_uses(files: Sources) -> list[str]:
    """Return where a private part of dagger-io is named: in an import, an expression or a string."""
    found = []
    for path, tree in files.items():
        names = [*imported(path, tree)]
        names += [dotted(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
        texts = [
            node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)
        ]
        named = {match[0] for text in [*names, *texts] for match in PRIVATE.finditer(text)}
        # `from dagger import mod` and then `mod._exceptions`
        modules = {name.rpartition(".")[2] for name in names if re.fullmatch(r"dagger(\.[a-z]\w*)+", name)}
        named |= {name for name in names if re.match(rf"(?:{'|'.join(modules) or '!'})\._(?!_)", name)}
        found += [f"{path} names {name}" for name in sorted(named)]
    return found


def test_only_core_reaches_private_parts_of_the_sdk():
    # drydock/ and its tests read private metadata of the SDK until the engine is recut.
    exempt = (
        "pipeline/core/",
        "drydock/",
        "tests/unit/drydock/",
        "tests/unit/call/",
        "tests/unit/test_architecture.py",
    )
    files = sources("pipeline", "launch", "examples", "bench", "tests")
    check(private_uses({path: tree for path, tree in files.items() if not path.startswith(exempt)}))


@pytest.mark.parametrize(
    "code",
    [
        "from dagger._exceptions import QueryErrorValue",
        "from dagger.mod._exceptions import FunctionError",
        "from dagger import _managers",
        "import dagger.mod._resolver",
        "import dagger\ndagger.provisioning._download.Downloader()",
        "from dagger import mod\nmod._exceptions.FunctionError",
        "FETCH = 'from dagger.provisioning._download import Downloader'",
        "f'import dagger._engine; {1}'",
    ],
)
def test_a_private_part_of_the_sdk_is_found(code: str):
    assert private_uses({"pipeline/oci/registry.py": ast.parse(code)}) != []


@pytest.mark.parametrize("code", ["from dagger import Doc, dag", "import dagger\ndagger.Container.__name__"])
def test_a_public_part_of_the_sdk_is_none(code: str):
    assert private_uses({"pipeline/oci/registry.py": ast.parse(code)}) == []


def api_functions(tree: ast.Module) -> Iterator[tuple[str, FunctionNode]]:
    """Yield the functions of the API, with the name of their class."""
    for node in ast.walk(tree):
        for member in getattr(node, "body", []) if isinstance(node, ast.ClassDef | ast.Module) else []:
            if isinstance(member, FunctionNode):
                decorators = {dotted(decorator).rpartition(".")[2] for decorator in member.decorator_list}
                if decorators & DECORATORS:
                    yield getattr(node, "name", ""), member


def stray_functions(files: Sources) -> list[str]:
    """Return the functions of the API that are declared where no object of the API lies."""
    return [
        f"{path}: {function.name}"
        for path, tree in files.items()
        if not path.startswith(API)
        for _, function in api_functions(tree)
    ]


def test_functions_of_the_api_are_declared_in_api_objects_and_interfaces_only():
    check(stray_functions(sources("pipeline")))


@pytest.mark.parametrize("decorator", ["function", "uncached", "check", "dagger.function", "function(name='x')"])
def test_a_function_of_the_api_elsewhere_is_found(decorator: str):
    code = f"class Engine:\n    @{decorator}\n    async def start(self) -> str: ..."
    assert stray_functions({"pipeline/deploy/jobs.py": ast.parse(code)}) == ["pipeline/deploy/jobs.py: start"]
    assert stray_functions({"pipeline/api/release.py": ast.parse(code)}) == []


# Sizes


def long_files(files: dict[str, str]) -> list[str]:
    """Return the files that are not read in one sitting."""
    lengths = {path: len(text.splitlines()) for path, text in files.items()}
    return [f"{path}: {length} lines" for path, length in lengths.items() if length > MAX_FILE_LINES]


def long_functions(files: Sources) -> list[str]:
    """Return the functions that do not fit on one screen."""
    return [
        f"{path}: {node.name}: {length} lines"
        for path, tree in files.items()
        for node in ast.walk(tree)
        if isinstance(node, FunctionNode)
        and (length := (node.end_lineno or node.lineno) - node.lineno + 1) > MAX_FUNCTION_LINES
    ]


def many_parameters(files: Sources) -> list[str]:
    """Return the functions of the API with more parameters than a person can keep in mind.

    The constructor of Slipway, the only one that the API has, is exempt: most of its parameters are images, which a
    `.env` file sets, and Dagger reads that file for a constructor only.
    """
    return [
        f"{path}: {name}.{function.name}: {count} parameters"
        for path, tree in files.items()
        for name, function in api_functions(tree)
        if (count := len(parameters(function))) > MAX_PARAMETERS
    ]


def parameters(function: FunctionNode) -> list[ast.arg]:
    """Return a function's parameters without `self`."""
    arguments = function.args
    return [arg for arg in [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs] if arg.arg != "self"]


CODE = ("pipeline", "launch", "examples", "bench")


def test_a_file_is_read_in_one_sitting():
    check(long_files({path: (ROOT / path).read_text() for path in sources(*CODE)}))


def test_a_function_fits_on_one_screen():
    check(long_functions(sources(*CODE)))


def test_a_function_of_the_api_has_few_parameters():
    check(many_parameters(sources(*CODE)))


def test_what_is_too_large_is_found():
    assert long_files({"a.py": "\n" * 301, "b.py": "\n" * 300}) == ["a.py: 301 lines"]
    function = "async def deploy() -> None:\n" + "    pass\n" * 50
    assert long_functions({"a.py": ast.parse(function)}) == ["a.py: deploy: 51 lines"]
    assert long_functions({"a.py": ast.parse(function.rpartition("    ")[0])}) == []
    method = "class Slipway:\n    @function\n    def ship(self, {}, *, z: int) -> str: ..."
    nine, eight = (method.format(", ".join(f"a{number}: str" for number in range(count))) for count in (8, 7))
    assert many_parameters({"a.py": ast.parse(nine)}) == ["a.py: Slipway.ship: 9 parameters"]
    assert many_parameters({"a.py": ast.parse(eight)}) == []


# Documentation of arguments


def is_documented(annotation: ast.expr | None, aliases: set[str]) -> bool:
    """Whether an annotation is `Annotated[…, Doc(…)]`, or an alias of one."""
    match annotation:
        case ast.Name(id=name) | ast.Attribute(value=ast.Name(id="arguments"), attr=name):
            return name in aliases
        case ast.Subscript(slice=ast.Tuple(elts=[_, *extras])) if dotted(annotation) in {
            "Annotated",
            "typing.Annotated",
        }:
            return any(
                isinstance(extra, ast.Call) and dotted(extra).rpartition(".")[2] == "Doc" and bool(extra.args)
                for extra in extras
            )
    return False


def aliases_in(tree: ast.Module) -> set[str]:
    """Return the names of documented types that a file defines."""
    assigned = [node for node in tree.body if isinstance(node, ast.Assign) and is_documented(node.value, set())]
    return {target.id for node in assigned for target in node.targets if isinstance(target, ast.Name)}


def undocumented(files: Sources, aliases: set[str]) -> list[str]:
    """Return the arguments and fields of the API about which `--help` would say nothing."""
    found = []
    for path, tree in files.items():
        known = aliases | aliases_in(tree)
        for name, function in api_functions(tree):
            bare = [arg.arg for arg in parameters(function) if not is_documented(arg.annotation, known)]
            found += [f"{path}: {name}.{function.name}: {arg}" for arg in bare]
        for node in (node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)):
            for member in node.body:
                match member:
                    case ast.AnnAssign(target=ast.Name(id=field), annotation=annotation, value=ast.Call() as value):
                        if dotted(value) in {"field", "dagger.field"} and not is_documented(annotation, known):
                            found.append(f"{path}: {node.name}: {field}")
    return found


def test_every_argument_and_field_of_the_api_is_documented():
    aliases = aliases_in(ast.parse((ROOT / ALIASES).read_text()))
    assert aliases
    check(undocumented(sources("pipeline", "examples"), aliases))


def test_an_argument_or_field_without_documentation_is_found():
    code = """
class Release:
    name: str = field()
    digest: Annotated[str, Doc("Of the image.")] = field()
    tag: Annotated[str, "no Doc"] = field()

    @function
    async def deploy(
        self, to: str, url: Annotated[str, Doc("Where.")], wait: Wait, link: Link, by: Annotated[str, Doc()] = "",
        age: arguments.Wait = 1, sort: other.Wait = 1, order: arguments.Link = ""
    ) -> str: ...
"""
    found = undocumented({"pipeline/api/release.py": ast.parse(code)}, {"Wait"})
    assert [line.rpartition(" ")[2] for line in found] == ["to", "link", "by", "sort", "order", "name", "tag"]


def test_an_alias_counts_only_with_documentation():
    code = 'Wait = Annotated[int, Doc("In seconds.")]\nLink = str\nTag = Annotated[str, "no Doc"]'
    assert aliases_in(ast.parse(code)) == {"Wait"}
