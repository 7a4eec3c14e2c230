"""Secrets in the source, looked for with gitleaks.

Its `.gitleaks.toml`, `.gitleaksignore` and `gitleaks:allow` are honoured.
Source: github.com/gitleaks/gitleaks, `detect`, 8.30.
"""

import json
import secrets
import string

import dagger
from dagger import dag

from pipeline.core.errors import GateClosedError, StageFailedError

SOURCE = "/source"
REPORT = "/report.json"
CONFIG = ".gitleaks.toml"


def search_argv() -> list[str]:
    """Look through the files of the working folder, not history; findings are read from the report, and never shown."""
    argv = ["gitleaks", "detect", "--no-git", "--source", ".", "--redact", "--no-banner", "--exit-code", "0"]
    return [*argv, "--report-format", "json", "--report-path", REPORT]


def parse_report(text: str) -> list[str]:
    """Return the fingerprints of what was found, as .gitleaksignore takes them: FILE:RULE:LINE, never the secret.

    Raises:
        StageFailedError: if the report has another form. One that cannot be read is not an empty one.
    """
    try:
        found = json.loads(text) or []
        return sorted({f"{leak['File']}:{leak['RuleID']}:{leak['StartLine']}" for leak in found})
    except (ValueError, KeyError, TypeError) as error:
        raise StageFailedError(f"secrets: gitleaks' report cannot be read: {error!r}") from error


def bait() -> str:
    """Return made-up secrets of several kinds, to see that a configuration looks for any."""
    letters = string.ascii_letters + string.digits
    lines = [
        f"token = 'ghp_{_random(letters, 36)}'",
        f"access_key = 'AKIA{_random('ABCDEFGHIJKLMNOPQRSTUVWXYZ234567', 16)}'",
        f"password = '{_random(letters, 40)}'",
        f"-----{'BEGIN'} RSA PRIVATE KEY-----",
        *(_random(letters, 64) for _ in range(12)),
        f"-----{'END'} RSA PRIVATE KEY-----",
    ]
    return "\n".join(lines) + "\n"


async def search(source: dagger.Directory, image: str) -> str:
    """Look for secrets in a source; return how it went.

    Args:
        source: what to look through.
        image: the image with gitleaks.

    Raises:
        GateClosedError: with where they are.
        StageFailedError: if gitleaks could not run.
    """
    searcher = dag.container().from_(image).with_user("0")
    own = await source.exists(CONFIG)
    if own:
        # In a folder of its own, where no path that is really ignored leads.
        baited = dag.directory().with_file(CONFIG, source.file(CONFIG)).with_new_file("slipway/bait.txt", bait())
        if not await _found(searcher, baited, image):
            raise StageFailedError(
                f"secrets: with {CONFIG} of the source nothing is found, not even what was put there to be",
                hint="it needs rules: `[extend]` with `useDefault = true`; --skip secrets goes on without, and says so",
            )
    if found := await _found(searcher, source, image):
        raise GateClosedError(
            f"secrets: {len(found)} in the source",
            output="\n".join(found),
            hint="take it out and revoke it: the history has it. The line of a false alarm goes into .gitleaksignore",
        )
    return f"no secrets found{f', by the rules of {CONFIG}' if own else ''}"


async def _found(searcher: dagger.Container, source: dagger.Directory, image: str) -> list[str]:
    """Return the fingerprints of what is in a folder."""
    searched = searcher.with_mounted_directory(SOURCE, source).with_workdir(SOURCE).with_exec(search_argv())
    try:
        return parse_report(await searched.file(REPORT).contents())
    except dagger.ExecError as error:
        raise StageFailedError(
            "secrets: gitleaks could not run",
            output=f"{error.stdout}\n{error.stderr}",
            hint=f"these are its own words, not a finding; is {CONFIG} right?",
        ) from error
    except dagger.QueryError as error:
        raise StageFailedError(
            f"secrets: {image.partition('@')[0]} cannot be had",
            output=str(error),
            hint="give --gitleaks-image of a registry that is reachable; --skip secrets goes on without, and says so",
        ) from error


def _random(letters: str, length: int) -> str:
    return "".join(secrets.choice(letters) for _ in range(length))
