"""The page on the engine tells the truth."""

import re
from pathlib import Path

from drydock.api import RESOLVERS

PAGE = Path(__file__).resolve().parents[3] / "docs" / "engine.md"


def test_the_page_lists_exactly_the_fields_that_are_supported():
    listed: set[str] = set()
    for row in re.findall(r"^\| `(\w+)` \| (.+) \|$", PAGE.read_text(), re.MULTILINE):
        listed |= {f"{row[0]}.{field}" for field in re.findall(r"`(\w+)`", row[1])}
    assert listed == set(RESOLVERS)
