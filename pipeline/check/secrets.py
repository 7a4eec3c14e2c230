"""The search for secrets in the source, with gitleaks.

The repository's `.gitleaks.toml`, `.gitleaksignore` and `gitleaks:allow` apply.
Source: github.com/gitleaks/gitleaks, `detect`, 8.30.
"""

import json
import secrets
import string

import dagger
from dagger import dag

from pipeline.core.documents import as_list
from pipeline.core.errors import GateClosedError, StageFailedError

SOURCE = "/source"
REPORT = "/report.json"
CONFIG = ".gitleaks.toml"
SAMPLE = "slipway/sample.txt"


def search_argv() -> list[str]:
    """Search the files of the working directory, not the history; write the report, and print no secret."""
    argv = ["gitleaks", "detect", "--no-git", "--source", ".", "--redact", "--no-banner", "--exit-code", "0"]
    return [*argv, "--report-format", "json", "--report-path", REPORT]


def parse_report(text: str) -> list[str]:
    """Return the fingerprints of the findings, as .gitleaksignore has them: FILE:RULE:LINE, never the secret.

    Raises:
        StageFailedError: if the report has another form: an unreadable report is not an empty one. The message does
            not quote the report, which may contain secrets.
    """
    try:
        findings = json.loads(text)
        # gitleaks may write `null` for an empty list.
        findings = [] if findings is None else as_list(findings)
        return sorted({f"{finding['File']}:{finding['RuleID']}:{finding['StartLine']}" for finding in findings})
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise StageFailedError(f"secrets: cannot parse gitleaks' report: {type(error).__name__}") from error


def sample_secrets() -> str:
    """Return random secrets of several kinds, with which a configuration is checked to find any."""
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
    """Search a source for secrets; return a one-line summary.

    Args:
        source: the files to search.
        image: the image with gitleaks.

    Raises:
        GateClosedError: with the fingerprints of the findings.
        StageFailedError: if gitleaks could not run, or the repository's configuration finds no secret at all.
    """
    scanner = dag.container().from_(image).with_user("0")
    has_config = await source.exists(CONFIG)
    if has_config:
        # A path that no allowlist of a real repository names.
        sample = dag.directory().with_file(CONFIG, source.file(CONFIG)).with_new_file(SAMPLE, sample_secrets())
        if not await _findings(scanner, sample, image):
            raise StageFailedError(
                f"secrets: {CONFIG} of the source finds none of Slipway's sample secrets",
                hint="add `[extend]` with `useDefault = true` to it, or run with --skip secrets",
            )
    if findings := await _findings(scanner, source, image):
        raise GateClosedError(
            f"secrets: {len(findings)} in the source",
            output="\n".join(findings),
            hint="remove them and revoke them; add the line of a false positive to .gitleaksignore",
        )
    return f"no secrets found{f', by the rules of {CONFIG}' if has_config else ''}"


async def _findings(scanner: dagger.Container, source: dagger.Directory, image: str) -> list[str]:
    """Return the fingerprints of the secrets in a folder."""
    scan = scanner.with_mounted_directory(SOURCE, source).with_workdir(SOURCE).with_exec(search_argv())
    try:
        return parse_report(await scan.file(REPORT).contents())
    except dagger.ExecError as error:
        raise StageFailedError(
            "secrets: gitleaks could not run",
            output=f"{error.stdout}\n{error.stderr}",
            hint=f"this is an error of gitleaks, not a finding; check {CONFIG}",
        ) from error
    except dagger.QueryError as error:
        raise StageFailedError(
            f"secrets: cannot pull {image.partition('@')[0]}",
            output=str(error),
            hint="give --gitleaks-image of a reachable registry, or run with --skip secrets",
        ) from error


def _random(letters: str, length: int) -> str:
    return "".join(secrets.choice(letters) for _ in range(length))
