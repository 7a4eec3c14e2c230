"""The final value: printed as `dagger call` does, or saved where `--output` says."""

from __future__ import annotations

import dataclasses
import enum
import inspect
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from dagger import Changeset
from dagger.client.base import Type as CoreObject

from drydock.call.errors import UsageError

if TYPE_CHECKING:
    from drydock.call.flags import Options


async def present(value: Any, options: Options, out: TextIO) -> None:  # noqa: ANN401 - whatever a function returned
    """Evaluate the final value and write it to `out`, or save it."""
    if _is_object(value):
        await _present_object(value, options, out)
    elif isinstance(value, list | tuple) and value and all(map(_is_object, value)):
        for item in value:
            await _evaluate(item)
            out.write(f"- {_name(item)}\n")
    elif value is not None or options.json:
        text = as_json(value) if options.json else as_text(value)
        if options.output:
            _save(Path(options.output), text)
        out.write(text)
        if out.isatty() and not text.endswith("\n"):
            out.write("\n")


def _absolute(path: str) -> str:
    return str(Path(path).absolute())


def _save(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    _tell(f'Saved output to "{path.absolute()}".')


async def _present_object(value: Any, options: Options, out: TextIO) -> None:  # noqa: ANN401
    if options.output:
        await _export(value, options.output)
    elif isinstance(value, Changeset):
        await _present_changeset(value, options, out)
    else:
        await _evaluate(value)
        out.write(f"{_name(value)}\n")


async def _export(value: Any, output: str) -> None:  # noqa: ANN401
    export = getattr(value, "export", None)
    parameters = inspect.signature(export).parameters if export else {}
    if export is None or "path" not in parameters:
        raise UsageError(f"--output: a {_name(value)} cannot be saved; call one of its functions")
    path = _absolute(output)
    if "allow_parent_dir_path" in parameters:
        saved = await export(path, allow_parent_dir_path=True)
    else:
        saved = await export(path)
    _tell(f'Saved to "{saved or path}".')


async def _present_changeset(changes: Changeset, options: Options, out: TextIO) -> None:
    """Apply the changes where that was asked for; otherwise say what they are."""
    if await changes.is_empty():
        _tell("No changes.")
    elif options.auto_apply:
        await changes.export(str(Path.cwd()))
        _tell("Changes applied.")
    else:
        marks = (("A", changes.added_paths), ("M", changes.modified_paths), ("D", changes.removed_paths))
        for mark, paths in marks:
            out.writelines(f"{mark} {path}\n" for path in await paths())
        _tell("Not applied; apply with --auto-apply, or save elsewhere with --output.")


async def _evaluate(value: Any) -> None:  # noqa: ANN401
    """Let the engine do the work that the value stands for, so that what is wrong with it shows."""
    sync = getattr(value, "sync", None)
    if sync is not None and not inspect.signature(sync).parameters:
        result = sync()
        if inspect.iscoroutine(result):
            await result
    elif isinstance(value, CoreObject):
        await value.id()  # type: ignore[attr-defined] # every object of the API has one
    elif dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            if isinstance(held := getattr(value, field.name), CoreObject):
                await held.id()  # type: ignore[attr-defined]


def as_text(value: Any) -> str:  # noqa: ANN401
    """Return a plain value as `dagger call` prints it: strings raw, lists a line each."""
    match value:
        case list() | tuple():
            return "".join(f"{as_text(item)}\n" for item in value)
        case bool():
            return str(value).lower()
        case enum.Enum():
            return value.name
        case float() if value.is_integer():
            return str(int(value))
        case _:
            return str(value)


def as_json(value: Any) -> str:  # noqa: ANN401
    """Return a plain value as JSON."""
    return json.dumps(value, indent=4, ensure_ascii=False, default=lambda member: member.name) + "\n"


def _is_object(value: Any) -> bool:  # noqa: ANN401
    return isinstance(value, CoreObject) or hasattr(type(value), "__dagger_object_type__")


def _name(value: Any) -> str:  # noqa: ANN401
    return type(value).__name__


def _tell(line: str) -> None:
    sys.stderr.write(line + "\n")
