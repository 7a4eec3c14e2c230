"""What a run fetches, and the digest, commit or lock file to which it is pinned. Pure functions."""

import dataclasses
import datetime
import json
import re
from collections.abc import Iterable, Sequence

from pipeline.core.errors import InvalidInputError
from pipeline.core.table import text_table

DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
SHOWN_DIGITS = 12

# How to refresh the pins of each kind.
IMAGE = "the digest that `docker buildx imagetools inspect NAME` shows, or Renovate"
ACTION = "the commit of a newer tag, or Dependabot, Renovate"
NPM = "`npm update`, or Dependabot, Renovate"
UV = "`uv lock --upgrade`, or Dependabot, Renovate"
BUILD = "`name==version` in pyproject.toml"
DAGGER = "`dagger update`"
CLI = "version and checksums, from the release's checksums.txt"
ENGINE = "`dagger develop` of a newer CLI"
NPM_LOCK = "`npm install` writes a newer lock file"
KUSTOMIZE = "the commit of a newer tag, as `?ref=`"


@dataclasses.dataclass(frozen=True, slots=True)
class Pin:
    """One thing that a run fetches.

    Args:
        kind: image, action, packages, module, cli or engine.
        name: the reference, without the digest or commit.
        pinned: digest, commit, checksum or kind of lock; empty where it is not pinned.
        file: the file with the reference, relative to the repository's root; empty for the images of the stages.
        refresh: how to replace the pin by a newer one.
        since: date on which the pin came into the repository; empty where it is unknown.
    """

    kind: str
    name: str
    pinned: str
    file: str
    refresh: str
    since: str = ""

    def age(self, today: datetime.date) -> int | None:
        """Return the number of days since it was pinned; None where that is unknown."""
        return (today - datetime.date.fromisoformat(self.since)).days if self.since else None


def image_pin(reference: str, file: str = "") -> Pin:
    """Return the pin of an image."""
    name, _, digest = reference.partition("@")
    return Pin("image", name, digest if DIGEST.fullmatch(digest) else "", file, IMAGE)


def check_frozen(pins: Iterable[Pin]) -> None:
    """Check that everything is pinned.

    Raises:
        InvalidInputError: with everything that is not, and its file.
    """
    loose = [f"{pin.kind} {pin.name}{f' in {pin.file}' if pin.file else ''}" for pin in pins if not pin.pinned]
    if loose:
        raise InvalidInputError(
            f"ship --frozen: not everything that a run fetches is pinned ({len(loose)})",
            output="\n".join(loose),
            hint="pin images by digest, actions and modules by commit, packages by a lock file: see `pins`",
        )


def table(pins: Sequence[Pin], today: datetime.date) -> str:
    """Return the pins as a table, file by file, and how to refresh each kind."""
    files = list(dict.fromkeys(pin.file for pin in pins))
    ordered = sorted(pins, key=lambda pin: files.index(pin.file))
    rows = [(f"  {pin.kind}", pin.name, _shown(pin), _days(pin, today)) for pin in ordered]
    head, *lines = text_table(("  kind", "name", "pinned", "days"), rows, right=[3]).splitlines()
    parts = [head]
    for position, (pin, line) in enumerate(zip(ordered, lines, strict=True)):
        if position == 0 or pin.file != ordered[position - 1].file:
            parts.append(pin.file or "images of the stages")
        parts.append(line)
    ways = dict.fromkeys(f"  {pin.kind}: {pin.refresh}" for pin in pins)
    return "\n".join([*parts, "", "to refresh", *ways])


def to_json(pins: Sequence[Pin], today: datetime.date) -> str:
    """Return the pins as JSON."""
    return json.dumps([dataclasses.asdict(pin) | {"days": pin.age(today)} for pin in pins], indent=2)


def _shown(pin: Pin) -> str:
    return pin.pinned.removeprefix("sha256:")[:SHOWN_DIGITS] or "NOT PINNED"


def _days(pin: Pin, today: datetime.date) -> str:
    age = pin.age(today)
    return "?" if age is None else str(age)
