"""What the command line knows of a module: types, arguments, functions."""

from __future__ import annotations

import dataclasses
import enum
import re
import types
import typing
from collections.abc import Callable, Sequence
from typing import Any

from dagger.client import gen
from dagger.client.base import Input, Scalar
from dagger.client.base import Type as CoreObject


class Kind(enum.Enum):
    """How a value of a type is written and shown."""

    STRING = "string"
    INTEGER = "int"
    FLOAT = "float"
    BOOLEAN = "bool"
    VOID = "void"
    ENUM = "enum"
    OBJECT = "object of the module"
    CORE = "object of Dagger's API"
    INPUT = "input object of Dagger's API"
    LIST = "list"
    OTHER = "other"


_BUILTINS = {str: Kind.STRING, int: Kind.INTEGER, float: Kind.FLOAT, bool: Kind.BOOLEAN, type(None): Kind.VOID}


@dataclasses.dataclass(frozen=True)
class Type:
    """A type as the command line sees it."""

    kind: Kind
    cls: Any = None
    element: Type | None = None
    nullable: bool = False

    @property
    def label(self) -> str:
        """The name in the help; empty for switches."""
        match self.kind:
            case Kind.BOOLEAN | Kind.VOID:
                return ""
            case Kind.ENUM:
                return ",".join(str(member.name) for member in self.cls)
            case Kind.LIST if self.element:
                inner = self.element.label or "bool"
                return f"{inner}s" if self.element.kind in _BUILTINS.values() else f"[]{inner}"
            case Kind.OBJECT | Kind.CORE | Kind.INPUT | Kind.OTHER:
                return str(getattr(self.cls, "__name__", self.cls))
            case _:
                return str(self.kind.value)


def type_of(annotation: Any) -> Type:  # noqa: ANN401 - annotations are of any kind
    """Return the type that a resolved annotation stands for."""
    if isinstance(annotation, dataclasses.InitVar):
        return type_of(annotation.type)
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return type_of(inner[0])
    if origin in {typing.Union, types.UnionType}:
        rest = [arg for arg in inner if arg is not type(None)]
        known = type_of(rest[0]) if len(rest) == 1 else Type(Kind.OTHER, annotation)
        return dataclasses.replace(known, nullable=len(rest) < len(inner))
    if origin in {list, tuple, Sequence}:
        return Type(Kind.LIST, element=type_of(inner[0]))
    if annotation is None:
        return Type(Kind.VOID)
    return _type_of_class(annotation)


def _type_of_class(cls: Any) -> Type:  # noqa: ANN401
    if not isinstance(cls, type):
        return Type(Kind.OTHER, cls)
    if cls.__module__ == gen.__name__:
        # The SDK's run-time type checker leaves stand-ins for classes that are defined further down.
        cls = getattr(gen, cls.__name__)
    if kind := _BUILTINS.get(cls):
        return Type(kind, cls)
    if hasattr(cls, "__dagger_object_type__"):
        return Type(Kind.OBJECT, cls)
    for base, kind in ((enum.Enum, Kind.ENUM), (Scalar, Kind.STRING), (CoreObject, Kind.CORE), (Input, Kind.INPUT)):
        if issubclass(cls, base):
            return Type(kind, cls)
    return Type(Kind.OTHER, cls)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Argument:
    """An argument of a function."""

    key: str
    """Its name in Python."""
    flag: str
    """Its name on the command line, without the dashes."""
    type: Type
    doc: str = ""
    required: bool = True
    default: Any = None
    """What the help shows as default, where there is something to show."""
    default_path: str = ""
    default_address: str = ""
    ignore: tuple[str, ...] = ()
    none_if_omitted: bool = False
    """Whether the function has to be passed None where the argument was left out."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Function:
    """A function of an object; a constructor's name is empty."""

    name: str
    """Its name on the command line."""
    doc: str
    arguments: tuple[Argument, ...]
    returns: Type
    apply: Callable[[Any, dict[str, Any]], Any]
    """Calls it on an object with keyword arguments by `Argument.key`; may return a coroutine."""
    is_check: bool = False

    @property
    def summary(self) -> str:
        """The first line of its documentation."""
        return self.doc.partition("\n")[0] or "-"


def cli_name(name: str) -> str:
    """Return a name in the command line's spelling: words in lower case, joined by dashes."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "-", name)
    return words.replace("_", "-").lower()
