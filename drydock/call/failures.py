"""What a person is shown when something fails."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import dagger

if TYPE_CHECKING:
    from collections.abc import Iterator

LAST_LINES = 20


def describe(error: BaseException) -> str:
    """Return the message of an error; of a command that failed also its last lines."""
    if isinstance(error, BaseExceptionGroup):
        return "\n".join(dict.fromkeys(describe(leaf) for leaf in _leaves(error)))
    if isinstance(error, dagger.ExecError):
        return _describe_command(error)
    return str(error) or type(error).__name__


def exit_code(error: BaseException) -> int:
    """Return the exit code for an error: a failed command's own, else 1."""
    if isinstance(error, BaseExceptionGroup):
        return exit_code(next(_leaves(error)))
    return error.exit_code or 1 if isinstance(error, dagger.ExecError) else 1


def _leaves(error: BaseException) -> Iterator[BaseException]:
    """Yield the errors of a group and of the groups in it."""
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error


def _describe_command(error: dagger.ExecError) -> str:
    lines = [f"command failed with exit code {error.exit_code}: {shlex.join(error.command)}"]
    for name, text in (("stdout", error.stdout), ("stderr", error.stderr)):
        if text.strip():
            lines += [f"{name}:", *(f"  {line}" for line in text.rstrip().splitlines()[-LAST_LINES:])]
    return "\n".join(lines)
