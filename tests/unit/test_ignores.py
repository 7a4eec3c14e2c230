import datetime

import pytest

from pipeline.core.errors import InvalidInputError
from pipeline.scan import ignores

TODAY = datetime.date(2026, 11, 23)


def entry(**changes: object) -> str:
    fields: dict[str, object] = {"id": "CVE-2026-1", "statement": "never called", "expired_at": "2026-12-31"} | changes
    lines = [f"{key}: {value}" for key, value in fields.items() if value is not None]
    return "vulnerabilities:\n  - " + "\n    ".join(lines) + "\n"


def test_an_ignore_with_reason_and_date_is_accepted():
    [ignore] = ignores.parse(entry(), TODAY)
    assert ignore == ignores.Ignore("CVE-2026-1", "never called", datetime.date(2026, 12, 31))


def test_an_ignore_holds_through_its_last_day():
    assert ignores.parse(entry(expired_at="2026-11-23"), TODAY)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (entry(expired_at="2026-11-22"), "expired on 2026-11-22"),
        (entry(statement=None), "has no reason"),
        (entry(statement="'  '"), "has no reason"),
        (entry(expired_at=None), "has no date"),
        (entry(expired_at="soon"), "has no date"),
        (entry(id=None), "no id"),
        ("vulnerabilities: CVE-2026-1", "not a list"),
        ("vulnerabilities: [CVE-2026-1]", "no id"),
        ("ignore: []", "has other keys than"),
        ("- CVE-2026-1", "has other keys than"),
        ("a: [", "not YAML"),
        ("vulnerabilities: 2026-02-30", "not YAML"),
        (entry() + "---\n" + entry(), "more than one YAML document"),
    ],
)
def test_an_incomplete_ignore_is_an_error_that_names_it(text: str, problem: str):
    with pytest.raises(InvalidInputError) as caught:
        ignores.parse(text, TODAY)
    assert problem in caught.value.problem
    assert "\n" not in caught.value.problem


def test_an_empty_file_ignores_nothing():
    assert ignores.parse("", TODAY) == []


def test_yaml_cannot_create_objects():
    with pytest.raises(InvalidInputError):
        ignores.parse("vulnerabilities: !!python/object/apply:os.getcwd []", TODAY)


def test_an_ignore_that_matches_nothing_is_a_warning():
    accepted = ignores.parse(entry(), TODAY)
    assert ignores.unused(accepted, {"CVE-2026-1"}) == []
    assert ignores.unused(accepted, {"CVE-2026-2"}) == ["the ignore of CVE-2026-1 matches no finding: remove it"]
