"""Secrets are kept out of text."""

from pathlib import Path

import pytest

from drydock.errors import InvalidArgumentError
from drydock.plaintext import Scrubber, read_uri


def scrubbed(text: str, *secrets: str, shortest: int = 1) -> str:
    scrub = Scrubber(shortest)
    for secret in secrets:
        scrub.add(secret)
    return scrub(text)


def test_a_secret_is_replaced_wherever_it_stands():
    assert scrubbed("a=hunter2; b=hunter2", "hunter2") == "a=***; b=***"


def test_each_line_of_a_secret_is_replaced_by_itself():
    assert scrubbed("first\nother\nsecond", "first\nsecond\n") == "***\nother\n***"


def test_a_longer_secret_wins_over_one_that_it_contains():
    assert scrubbed("pass password", "pass", "password") == "*** ***"


def test_an_empty_secret_replaces_nothing():
    assert scrubbed("text", "", "\n") == "text"


def test_a_secret_that_looks_like_a_pattern_is_taken_as_it_is():
    assert scrubbed("a.c abc", "a.c") == "*** abc"


def test_what_is_too_short_to_be_told_from_words_is_let_through_in_our_own():
    assert scrubbed("exit 3", "x", shortest=4) == "exit 3"


async def test_a_uri_leads_to_environment_file_or_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("A_SECRET", "from-env")
    (tmp_path / "file").write_text("from-file\n")
    assert await read_uri("env://A_SECRET", tmp_path) == "from-env"
    assert await read_uri("file://file", tmp_path) == "from-file\n"
    assert await read_uri("cmd://printf x", tmp_path) == "x"


@pytest.mark.parametrize("uri", ["env://NOT_SET_ANYWHERE", "file://nowhere", "cmd://exit 3", "vault://x"])
async def test_a_uri_that_leads_nowhere_is_named(tmp_path: Path, uri: str):
    with pytest.raises(InvalidArgumentError, match=uri.partition("://")[2].replace("exit 3", "exit 3")):
        await read_uri(uri, tmp_path)
