"""What a person is shown when something fails."""

from __future__ import annotations

import shlex

import dagger

LAST_LINES = 20


def describe(error: BaseException) -> str:
    """Return the message of an error; of a command that failed also its last lines."""
    if isinstance(error, BaseExceptionGroup):
        return "\n".join(dict.fromkeys(describe(inner) for inner in error.exceptions))
    if isinstance(error, dagger.ExecError):
        return _describe_command(error)
    return str(error) or type(error).__name__


def exit_code(error: BaseException) -> int:
    """Return the exit code for an error: a failed command's own, else 1."""
    if isinstance(error, BaseExceptionGroup):
        return exit_code(error.exceptions[0])
    return error.exit_code or 1 if isinstance(error, dagger.ExecError) else 1


def _describe_command(error: dagger.ExecError) -> str:
    lines = [f"command failed with exit code {error.exit_code}: {shlex.join(error.command)}"]
    for name, text in (("stdout", error.stdout), ("stderr", error.stderr)):
        if text.strip():
            lines += [f"{name}:", *(f"  {line}" for line in text.rstrip().splitlines()[-LAST_LINES:])]
    return "\n".join(lines)
