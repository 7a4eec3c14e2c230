"""The ignore file: findings that were looked at, with a reason and a date to look again.

The form is Trivy's own `.trivyignore.yaml`; Slipway makes `statement` (the reason) and `expired_at` (the date)
mandatory, and an expired entry an error:

    vulnerabilities:
      - id: CVE-2026-12345
        statement: the vulnerable function is never called
        expired_at: 2026-12-31

Licenses that may pass stand there too, under `licenses`: see licenses.py.
"""

import dataclasses
import datetime
from typing import Any

from pipeline.core.errors import InvalidInputError
from pipeline.source.delivery import IGNORE_FILE

SOON = datetime.timedelta(days=14)
LICENSES = "licenses"
SECTIONS = ("vulnerabilities", "misconfigurations", "secrets", LICENSES)
FORM = "each entry needs `id`, `statement` (why) and `expired_at` (YYYY-MM-DD, when to look again)"


@dataclasses.dataclass(frozen=True, slots=True)
class Ignore:
    """One finding that may pass, until a day."""

    id: str
    statement: str
    expires: datetime.date
    section: str = "vulnerabilities"


def parse(text: str, today: datetime.date) -> list[Ignore]:
    """Read an ignore file.

    Raises:
        InvalidInputError: if it has another form, or an entry has no reason, no date or a date before `today`.
    """
    import yaml  # noqa: PLC0415 - few runs have an ignore file

    try:
        document = yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        raise InvalidInputError(f"{IGNORE_FILE} is not YAML: {' '.join(str(error).split())}", hint=FORM) from error
    if not isinstance(document, dict) or not set(document) <= set(SECTIONS):
        raise InvalidInputError(f"{IGNORE_FILE} holds more than the lists {', '.join(SECTIONS)}", hint=FORM)
    return [_entry(entry, section, today) for section in SECTIONS for entry in _entries(document, section)]


def _entries(document: dict[str, Any], section: str) -> list[Any]:
    entries = document.get(section) or []
    if not isinstance(entries, list):
        raise InvalidInputError(f"{IGNORE_FILE}: {section} is not a list", hint=FORM)
    return entries


def _entry(entry: object, section: str, today: datetime.date) -> Ignore:
    if not isinstance(entry, dict) or not entry.get("id"):
        raise InvalidInputError(f"{IGNORE_FILE}: an entry has no id: {entry!r}", hint=FORM)
    name = str(entry["id"])
    statement = str(entry.get("statement") or "").strip()
    if not statement:
        raise InvalidInputError(f"{IGNORE_FILE}: the ignore of {name} has no reason", hint=FORM)
    expires = entry.get("expired_at")
    if isinstance(expires, datetime.datetime):
        expires = expires.date()
    if not isinstance(expires, datetime.date):
        raise InvalidInputError(f"{IGNORE_FILE}: the ignore of {name} has no date of form YYYY-MM-DD", hint=FORM)
    if expires < today:
        raise InvalidInputError(
            f"{IGNORE_FILE}: the ignore of {name} expired on {expires}",
            hint="look at the finding again: upgrade, or renew the date with a reason that still holds",
        )
    return Ignore(name, statement, expires, section)


def expiring(ignores: list[Ignore], today: datetime.date) -> list[str]:
    """Return a warning for every ignore that expires within two weeks."""
    return [
        f"the ignore of {ignore.id} expires on {ignore.expires}: look at it before it closes the gate"
        for ignore in ignores
        if ignore.expires - today <= SOON
    ]


def unused(ignores: list[Ignore], matched: set[str]) -> list[str]:
    """Return a warning for every ignore that matched no finding."""
    return [f"the ignore of {ignore.id} matches nothing: remove it" for ignore in ignores if ignore.id not in matched]
