"""The ignore file: findings that do not close the gate, each with a reason and an expiry date.

The format is Trivy's own `.trivyignore.yaml`; in Slipway `statement` (the reason) and `expired_at` (the date) are
required, and an expired entry is an error:

    vulnerabilities:
      - id: CVE-2026-12345
        statement: the vulnerable function is never called
        expired_at: 2026-12-31

Its section `licenses` lists exceptions from the license policy: see licenses.py.
"""

import dataclasses
import datetime
from typing import Any

from pipeline.core.documents import load_yaml
from pipeline.core.errors import InvalidInputError
from pipeline.source.project import IGNORE_FILE

SOON = datetime.timedelta(days=14)
LICENSES = "licenses"
SECTIONS = ("vulnerabilities", "misconfigurations", "secrets", LICENSES)
FORMAT = "each entry needs `id`, `statement` (the reason) and `expired_at` (YYYY-MM-DD)"


@dataclasses.dataclass(frozen=True, slots=True)
class Ignore:
    """An accepted finding.

    Args:
        id: id of the finding, such as CVE-2026-12345; for licenses a package or an SPDX id.
        statement: the reason.
        expires: the last day on which it is accepted.
        section: the list of the file in which it is.
    """

    id: str
    statement: str
    expires: datetime.date
    section: str = "vulnerabilities"


def parse(text: str, today: datetime.date) -> list[Ignore]:
    """Parse an ignore file.

    Raises:
        InvalidInputError: if it has another form, or an entry has no reason, no date or a date before `today`.
    """
    try:
        documents = load_yaml(text)
    except ValueError as error:
        raise InvalidInputError(f"{IGNORE_FILE} is not YAML: {error}", hint=FORMAT) from error
    if len(documents) > 1:
        raise InvalidInputError(f"{IGNORE_FILE} has more than one YAML document", hint="remove the `---` between them")
    document = (documents[0] if documents else None) or {}
    if not isinstance(document, dict) or not set(document) <= set(SECTIONS):
        raise InvalidInputError(f"{IGNORE_FILE} has other keys than {', '.join(SECTIONS)}", hint=FORMAT)
    return [_entry(entry, section, today) for section in SECTIONS for entry in _entries(document, section)]


def _entries(document: dict[str, Any], section: str) -> list[Any]:
    entries = document.get(section) or []
    if not isinstance(entries, list):
        raise InvalidInputError(f"{IGNORE_FILE}: {section} is not a list", hint=FORMAT)
    return entries


def _entry(entry: object, section: str, today: datetime.date) -> Ignore:
    name = " ".join(str(entry.get("id") or "").split()) if isinstance(entry, dict) else ""
    if not isinstance(entry, dict) or not name:
        raise InvalidInputError(f"{IGNORE_FILE}: an entry of {section} has no id: {entry!r}", hint=FORMAT)
    statement = str(entry.get("statement") or "").strip()
    if not statement:
        raise InvalidInputError(f"{IGNORE_FILE}: the ignore of {name} has no reason", hint=FORMAT)
    expires = entry.get("expired_at")
    if isinstance(expires, datetime.datetime):
        expires = expires.date()
    if not isinstance(expires, datetime.date):
        raise InvalidInputError(f"{IGNORE_FILE}: the ignore of {name} has no date of form YYYY-MM-DD", hint=FORMAT)
    if expires < today:
        raise InvalidInputError(
            f"{IGNORE_FILE}: the ignore of {name} expired on {expires}",
            hint="upgrade the package, or review the finding and set a later date",
        )
    return Ignore(name, statement, expires, section)


def expiring(ignores: list[Ignore], today: datetime.date) -> list[str]:
    """Return a warning for every ignore that expires within two weeks."""
    return [
        f"the ignore of {ignore.id} expires on {ignore.expires}, and then closes the gate: review it"
        for ignore in ignores
        if ignore.expires - today <= SOON
    ]


def unused(ignores: list[Ignore], matched: set[str]) -> list[str]:
    """Return a warning for every ignore that matched no finding."""
    return [
        f"the ignore of {ignore.id} matches no finding: remove it" for ignore in ignores if ignore.id not in matched
    ]
