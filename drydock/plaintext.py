"""Secrets: where their plaintext comes from, and how it is kept out of everything that is shown or kept."""

from __future__ import annotations

import asyncio
import os
import re
from pathlib import Path

from drydock.errors import InvalidArgumentError

HIDDEN = "***"
GUESSED = 4


class Scrubber:
    """Replaces the plaintext of secrets by `***`.

    Each secret is looked for as a whole, without the white space around it, and each of its lines by itself. Forms
    shorter than `shortest` characters are let through: in words of our own, every "a" would go with a secret "a".
    """

    def __init__(self, shortest: int = GUESSED) -> None:
        self._shortest = shortest
        self._known: set[str] = set()
        self._pattern: re.Pattern[str] | None = None

    def add(self, plaintext: str) -> None:
        """Keep a plaintext out of sight from now on."""
        forms = {plaintext, plaintext.strip(), *(line.strip() for line in plaintext.splitlines())}
        forms = {form for form in forms if len(form) >= self._shortest}
        if forms <= self._known:
            return
        self._known |= forms
        longest_first = sorted(self._known, key=lambda form: (-len(form), form))
        self._pattern = re.compile("|".join(map(re.escape, longest_first)))

    def __call__(self, text: str) -> str:
        """Return the text without secrets."""
        return self._pattern.sub(HIDDEN, text) if self._pattern else text


async def read_uri(uri: str, workdir: Path) -> str:
    """Return the plaintext that a URI leads to: env://NAME, file://PATH or cmd://COMMAND LINE."""
    scheme, separator, rest = uri.partition("://")
    if not separator:
        scheme, rest = "env", uri
    match scheme:
        case "env":
            if rest not in os.environ:
                raise InvalidArgumentError(f"secret env var not found: {rest!r}")
            return os.environ[rest]
        case "file":
            return await asyncio.to_thread(_contents_of, workdir, rest)
        case "cmd":
            return await _output_of(rest, workdir)
    raise InvalidArgumentError(f"secret {uri!r}: {scheme!r} is not among env://, file:// and cmd://")


def _contents_of(workdir: Path, name: str) -> str:
    path = workdir / Path(name).expanduser()
    try:
        return path.read_text("utf-8", "surrogateescape")
    except OSError as error:
        raise InvalidArgumentError(f"secret file {path}: {error.strerror}") from error


async def _output_of(command: str, workdir: Path) -> str:
    """Run what the person wrote, in their own shell syntax: a cmd:// secret is a shell command by definition."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_shell(command, stdout=pipe, stderr=pipe, cwd=workdir)
    stdout, stderr = await process.communicate()
    if process.returncode:
        reason = stderr.decode("utf-8", "replace").strip()
        raise InvalidArgumentError(f"secret command {command!r} ended with {process.returncode}: {reason}")
    return stdout.decode("utf-8", "surrogateescape").removesuffix("\n")
