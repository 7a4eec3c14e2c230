"""Secrets in the source, looked for with gitleaks.

Its `.gitleaks.toml`, `.gitleaksignore` and `gitleaks:allow` are honoured.
Source: github.com/gitleaks/gitleaks, `detect`, 8.30.
"""

import json

import dagger
from dagger import dag

from pipeline.errors import GateClosedError, StageFailedError

SOURCE = "/source"
REPORT = "/report.json"


def search_argv() -> list[str]:
    """Look through files, not history; findings are read from the report, and never shown."""
    argv = ["gitleaks", "detect", "--no-git", "--source", SOURCE, "--redact", "--no-banner", "--exit-code", "0"]
    return [*argv, "--report-format", "json", "--report-path", REPORT]


def parse_report(text: str) -> list[str]:
    """Return what was found, as FILE:LINE RULE, never the secret.

    Raises:
        StageFailedError: if the report has another form. One that cannot be read is not an empty one.
    """
    try:
        found = json.loads(text) or []
        return sorted({f"{_name(leak['File'])}:{leak['StartLine']} {leak['RuleID']}" for leak in found})
    except (ValueError, KeyError, TypeError) as error:
        raise StageFailedError(f"secrets: gitleaks' report cannot be read: {error!r}") from error


async def search(source: dagger.Directory, image: str) -> str:
    """Look for secrets in a source; return how it went.

    Args:
        source: what to look through.
        image: the image with gitleaks.

    Raises:
        GateClosedError: with where they are.
        StageFailedError: if gitleaks could not run.
    """
    searcher = dag.container().from_(image).with_user("0").with_mounted_directory(SOURCE, source)
    searched = searcher.with_exec(search_argv())
    try:
        report = await searched.file(REPORT).contents()
    except dagger.ExecError as error:
        raise StageFailedError(
            "secrets: gitleaks could not run",
            output=f"{error.stdout}\n{error.stderr}",
            hint="these are its own words, not a finding; is .gitleaks.toml right?",
        ) from error
    except dagger.QueryError as error:
        raise StageFailedError(
            f"secrets: {image.partition('@')[0]} cannot be had",
            output=str(error),
            hint="give --gitleaks-image of a registry that is reachable; --skip secrets goes on without, and says so",
        ) from error
    if found := parse_report(report):
        raise GateClosedError(
            f"secrets: {len(found)} in the source",
            output="\n".join(found),
            hint="take it out and revoke it: the history has it. A false alarm gets `gitleaks:allow` on its line",
        )
    return "no secrets found"


def _name(path: str) -> str:
    return path.removeprefix(f"{SOURCE}/")
