"""Errors of the command line."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

from drydock.errors import DrydockError

if TYPE_CHECKING:
    from collections.abc import Iterable


class UsageError(DrydockError):
    """The command line cannot be understood; nothing was run. Names the input and what is accepted."""


class ModuleLoadError(DrydockError):
    """The module cannot be imported, or there is none."""


class EngineStartError(DrydockError):
    """The embedded engine's session did not start."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return the end of an error message that suggests what was meant, or nothing."""
    close = get_close_matches(word, list(known), n=1)
    return f'; did you mean "{close[0]}"?' if close else ""
