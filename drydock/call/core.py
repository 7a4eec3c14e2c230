"""The functions of Dagger's own objects (Container, Directory, …), read off the SDK's classes."""

from __future__ import annotations

import inspect
import re
import typing
from typing import TYPE_CHECKING, Any

from drydock.call.model import Argument, Function, Kind, cli_name, type_of

if TYPE_CHECKING:
    from collections.abc import Callable

# `with_` takes a Python function, and ids mean nothing at a terminal.
_NOT_CALLABLE = {"with_", "id"}
_PARAMETER = re.compile(r"^(\w+):\n((?:[ ]{4}.*\n|\n)+)", re.MULTILINE)


def functions_of(cls: type) -> list[Function]:
    """Return the functions of one of the SDK's classes."""
    methods = inspect.getmembers(cls, inspect.isfunction)
    return [
        _function(cls, name, method)
        for name, method in methods
        if not name.startswith("_") and name not in _NOT_CALLABLE
    ]


def _function(cls: type, name: str, method: Callable[..., Any]) -> Function:
    hints = typing.get_type_hints(method)
    doc, parameter_docs = split_doc(inspect.getdoc(method) or "")
    returned = hints.get("return")
    parameters = list(inspect.signature(method).parameters.values())[1:]
    return Function(
        name=cli_name(name.removesuffix("_")),
        doc=doc,
        arguments=tuple(_argument(parameter, hints[parameter.name], parameter_docs) for parameter in parameters),
        returns=type_of(cls if returned is typing.Self else returned),
        apply=lambda parent, kwargs: getattr(parent, name)(**kwargs),
    )


def _argument(parameter: inspect.Parameter, annotation: Any, docs: dict[str, str]) -> Argument:  # noqa: ANN401
    known = type_of(annotation)
    required = parameter.default is inspect.Parameter.empty
    shown = None if required or known.kind in {Kind.CORE, Kind.OBJECT} else parameter.default
    return Argument(
        key=parameter.name,
        flag=cli_name(parameter.name.removesuffix("_")),
        type=known,
        doc=docs.get(parameter.name, ""),
        required=required,
        default=shown,
    )


def split_doc(doc: str) -> tuple[str, dict[str, str]]:
    """Split a docstring of the SDK into its description and the descriptions of its parameters."""
    description, _, sections = doc.partition("\nParameters\n----------\n")
    description = re.split(r"\n(?:Returns|Raises|Note)\n-+\n", "\n" + description)[0].strip()
    body = re.split(r"\n(?:Returns|Raises|Note)\n-+\n", sections)[0]
    return description, {name: inspect.cleandoc(text) for name, text in _PARAMETER.findall(body + "\n")}
