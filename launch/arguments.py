"""The arguments of `./ship`, put in the order in which `dagger call` reads them. Standard library only.

The names are read from the module's source, so that there is no second list of them.
"""

import ast
import dataclasses
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

PIPELINE = Path(__file__).resolve().parent.parent / "pipeline"
SHIP = "ship"
HELP = {"--help", "-h"}


@dataclasses.dataclass(frozen=True)
class Interface:
    """An object of the module's API.

    Args:
        fields: names of the fields and constructor arguments, as on the command line.
        functions: the arguments of each function, as on the command line, and whether each is a flag without a value.
    """

    fields: Sequence[str]
    functions: dict[str, dict[str, bool]]


def read_interface(file: Path, name: str) -> Interface:
    """Read the fields and functions of a class."""
    tree = ast.parse(file.read_text())
    body = next(node.body for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name)
    fields = [node.target.id for node in body if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)]
    functions = {
        kebab(node.name): _arguments(node.args)
        for node in body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and _is_function(node)
    }
    return Interface([kebab(field) for field in fields], functions)


def ship_command(arguments: Sequence[str]) -> list[str]:
    """Return the arguments of `dagger call`: module options, `with-*` functions, `ship` with its options, and an end.

    Without a function after `ship`, the end is `summary`. Options of the module or of `ship` may come in any order.

    Args:
        arguments: as given to `./ship`.
    """
    module = read_interface(PIPELINE / "slipway.py", "Slipway")
    shipment = read_interface(PIPELINE / "api" / "shipment.py", "Shipment")
    ends = {*shipment.fields, *shipment.functions}
    options: list[str] = []
    chain: list[str] = []
    shipping: list[str] = []
    tail: list[str] = []
    own: Collection[str] = ()
    flags = {name for options in module.functions.values() for name, flag in options.items() if flag}
    for token, values in _groups(arguments, flags):
        name = token.removeprefix("--").partition("=")[0]
        if tail or (not token.startswith("-") and token in ends):
            tail += [token, *values]
        elif token in module.functions:
            own = () if token == SHIP else module.functions[token]
            chain += [] if token == SHIP else [token, *values]
        elif name in own:
            chain += [token, *values]
        elif token in HELP or name in module.functions[SHIP] or name not in module.fields:
            shipping += [token, *values]
        else:
            options += [token, *values]
    if not tail and not HELP & {*arguments}:
        tail = ["summary"]
    return [*options, *chain, SHIP, *shipping, *tail]


def kebab(name: str) -> str:
    """Return a Python name as the command line has it."""
    return name.strip("_").replace("_", "-")


def _groups(arguments: Sequence[str], flags: Collection[str]) -> Iterator[tuple[str, list[str]]]:
    """Yield each option with its value, and each other argument alone."""
    remaining = list(arguments)
    while remaining:
        token = remaining.pop(0)
        takes_value = token.startswith("--") and "=" not in token and token not in HELP
        takes_value = takes_value and token.removeprefix("--") not in flags
        yield token, [remaining.pop(0)] if takes_value and remaining else []


def _arguments(signature: ast.arguments) -> dict[str, bool]:
    """Return the arguments of a function but `self`, and whether each is a flag: its default is False."""
    names = [kebab(argument.arg) for argument in signature.args[1:]]
    defaults = [None] * (len(names) - len(signature.defaults)) + list(signature.defaults)
    return {
        name: isinstance(default, ast.Constant) and default.value is False
        for name, default in zip(names, defaults, strict=True)
    }


def _is_function(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    names = {decorator.id for decorator in node.decorator_list if isinstance(decorator, ast.Name)}
    return bool(names & {"function", "uncached"})
