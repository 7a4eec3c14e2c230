"""The module in the current folder: where it is, and its functions."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import json
import sys
import tomllib
import typing
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from drydock.call.errors import ModuleLoadError
from drydock.call.model import Argument, Function, Kind, Type, cli_name, type_of

if TYPE_CHECKING:
    from pathlib import Path

    from dagger.mod._arguments import Parameter
    from dagger.mod._resolver import Field, ObjectType
    from dagger.mod._resolver import Function as SdkFunction

ENTRY_POINTS = "dagger.mod"
MAIN_OBJECT = "main_object"


@dataclasses.dataclass(frozen=True)
class Module:
    """A loaded module."""

    name: str
    main: type
    home: Path
    """The folder of dagger.json: relative default paths start here."""
    context: Path
    """The root of the Git repository around it, if any: absolute default paths start here."""

    @property
    def doc(self) -> str:
        """The documentation of its package."""
        return inspect.getdoc(sys.modules[self.main.__module__.partition(".")[0]]) or ""

    @property
    def constructor(self) -> Function:
        """The function that makes the main object."""
        return constructor_of(self.main)

    def path(self, default_path: str) -> Path:
        """Return where a default path leads on this machine."""
        if default_path.startswith("/"):
            return (self.context / default_path.lstrip("/")).resolve()
        return (self.home / default_path).resolve()


def load(folder: Path) -> Module:
    """Import the module of `folder` or of the nearest folder above it that has a dagger.json."""
    home = next((at for at in (folder, *folder.parents) if (at / "dagger.json").is_file()), folder)
    settings = json.loads((home / "dagger.json").read_text()) if (home / "dagger.json").is_file() else {}
    source = (home / settings.get("source", ".")).resolve()
    project = _project(source)
    target = project.get("entry-points", {}).get(ENTRY_POINTS, {}).get(MAIN_OBJECT)
    if not isinstance(target, str) or ":" not in target:
        raise ModuleLoadError(
            f'{source}/pyproject.toml: no main object; add [project.entry-points."{ENTRY_POINTS}"] with '
            f'{MAIN_OBJECT} = "package:Class"'
        )
    sys.path[:0] = [str(at) for at in (source, source / "src") if at.is_dir()]
    package, _, name = target.partition(":")
    try:
        main = attrgetter(name)(importlib.import_module(package))
    except Exception as error:
        raise ModuleLoadError(f"{target}: cannot be imported: {type(error).__name__}: {error}") from error
    if not hasattr(main, "__dagger_object_type__"):
        raise ModuleLoadError(f"{target}: is no class with @dagger.object_type")
    context = next((at for at in (home, *home.parents) if (at / ".git").exists()), home)
    return Module(settings.get("name", package), main, home, context)


def _project(source: Path) -> dict[str, Any]:
    path = source / "pyproject.toml"
    try:
        project: dict[str, Any] = tomllib.loads(path.read_text()).get("project", {})
    except FileNotFoundError:
        raise ModuleLoadError(f"{path}: not found; run this in the folder of a Dagger module in Python") from None
    except tomllib.TOMLDecodeError as error:
        raise ModuleLoadError(f"{path}: {error}") from None
    return project


def constructor_of(cls: type) -> Function:
    """Return the constructor of an object type of the module."""
    found = _object_type(cls).get_constructor()
    return Function(
        name="",
        doc=inspect.cleandoc(cls.__doc__ or ""),
        arguments=tuple(_argument(key, parameter) for key, parameter in found.parameters.items()),
        returns=Type(Kind.OBJECT, cls),
        apply=lambda _, kwargs: found.wrapped(**kwargs),
    )


def functions_of(cls: type) -> list[Function]:
    """Return the functions and fields of an object type of the module."""
    described = _object_type(cls)
    hints = typing.get_type_hints(cls, include_extras=True) if described.fields else {}
    fields = [_field(field, hints[field.original_name]) for field in described.fields.values()]
    return [*fields, *(_function(found) for name, found in described.functions.items() if name)]


def _object_type(cls: type) -> ObjectType[Any]:
    described: ObjectType[Any] = vars(cls)["__dagger_object_type__"]
    return described


def _field(field: Field, annotation: Any) -> Function:  # noqa: ANN401 - annotations are of any kind
    from dagger.mod._utils import get_doc  # noqa: PLC0415 - the SDK's reading of Doc()

    return Function(
        name=cli_name(field.name),
        doc=get_doc(annotation) or "",
        arguments=(),
        returns=type_of(annotation),
        apply=lambda parent, _: getattr(parent, field.original_name),
    )


def _function(found: SdkFunction[Any, Any]) -> Function:
    return Function(
        name=cli_name(found.name),
        doc=found.doc or "",
        arguments=tuple(_argument(key, parameter) for key, parameter in found.parameters.items()),
        returns=type_of(found.return_type),
        apply=lambda parent, kwargs: getattr(parent, found.original_name)(**kwargs),
        is_check=found.check,
    )


def _argument(key: str, parameter: Parameter) -> Argument:
    default = parameter.default_value
    return Argument(
        key=key,
        flag=cli_name(parameter.name),
        type=type_of(parameter.resolved_type),
        doc=parameter.doc or "",
        required=not parameter.is_optional,
        default=None if default is None else json.loads(default),
        default_path=parameter.default_path or "",
        default_address=parameter.default_address or "",
        ignore=tuple(parameter.ignore or ()),
        none_if_omitted=parameter.is_nullable and not parameter.has_default,
    )
