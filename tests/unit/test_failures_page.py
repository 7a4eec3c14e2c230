"""docs/failures.md: each error code has its section there, and the messages that it quotes are those of the code."""

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.core import errors
from pipeline.core.errors import SlipwayError

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "failures.md"
GAP = "…"


def codes() -> dict[str, str]:
    """Return the code of each error, by the name of its class."""
    classes = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, SlipwayError)]
    return {error.__name__: error.code for error in classes if error is not SlipwayError}


def sections(page: str) -> dict[str, list[str]]:
    """Return the messages that a page quotes, by the code of their section."""
    parts = re.split(r"^## `([a-z-]+)`$", page, flags=re.MULTILINE)
    quoted = [re.findall(r"^\| (`.+?`) \|", text, re.MULTILINE) for text in parts[2::2]]
    cells = [[message for cell in section for message in re.split(r"(?<=`), (?=`)", cell)] for section in quoted]
    return {
        code: [cell.strip("`").strip() for cell in section] for code, section in zip(parts[1::2], cells, strict=True)
    }


def template(node: ast.expr) -> str:
    """Return a string's text, with a gap for each value in it; empty for anything else."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=parts):
            return "".join(template(part) or GAP for part in parts)
    return ""


@functools.cache
def trees() -> list[ast.Module]:
    return [ast.parse(file.read_text()) for file in sorted((ROOT / "pipeline").rglob("*.py"))]


def templates() -> Iterator[tuple[str, str]]:
    """Yield every text of the code, with the error's name where it is an error's problem."""
    for tree in trees():
        for node in ast.walk(tree):
            match node:
                case ast.Call(func=ast.Name(id=name), args=[problem, *_]) if name in codes():
                    yield template(problem), name
                case ast.Constant() | ast.JoinedStr():
                    yield template(node), ""
    for file in sorted((ROOT / "pipeline").rglob("*.mjs")):
        yield file.read_text(), ""


def pattern_of(message: str) -> re.Pattern[str]:
    """Return what finds a quoted message: its parts in their order, with anything in the gaps."""
    return re.compile(".*".join(re.escape(part.strip()) for part in message.split(GAP) if part.strip()), re.DOTALL)


def unknown_messages(page: str, known: list[tuple[str, str]]) -> list[str]:
    """Return the quoted messages that the code does not have, or has under another code.

    Args:
        page: text of the page.
        known: texts of the code, each with the name of its error or an empty string.
    """
    found = []
    for code, messages in sections(page).items():
        for message in messages:
            pattern = pattern_of(message)
            raised = {codes()[name] for text, name in known if name and pattern.search(text)}
            if not any(pattern.search(text) for text, _ in known):
                found.append(f"{code}: `{message}` is nowhere in the code")
            elif raised and code not in raised:
                found.append(f"{code}: `{message}` has the code {', '.join(sorted(raised))}")
    return found


def test_each_code_has_its_section_and_each_section_its_code():
    assert sorted(sections(PAGE.read_text())) == sorted(codes().values())


def test_no_two_errors_share_a_code():
    assert len(set(codes().values())) == len(codes())


def test_all_errors_are_in_one_file():
    known = {*codes(), "SlipwayError"}
    defined = [node for tree in trees() for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    derived = {node.name for node in defined if known & {base.id for base in node.bases if isinstance(base, ast.Name)}}
    assert derived == set(codes())


def test_the_page_quotes_the_messages_of_the_code():
    found = unknown_messages(PAGE.read_text(), list(templates()))
    assert not found, "\n".join(found)


def test_the_page_on_rollback_quotes_the_messages_of_the_code():
    quoted = re.findall(r"^\| `(.+?)` \|", (ROOT / "docs" / "rollback.md").read_text(), re.MULTILINE)
    assert len(quoted) >= 3
    # The code puts the last part of a message behind a colon of its own.
    texts = "\n".join(text for text, _ in templates())
    assert [message for message in quoted for part in message.split(": ") if not pattern_of(part).search(texts)] == []


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("| `no such message anywhere` | why | do |", "is nowhere in the code"),
        ("| `the source has no …`, `no such message` | why | do |", "is nowhere in the code"),
        ("| `publish: … was refused` | why | do |", "has the code registry-failed"),
    ],
)
def test_a_message_that_the_code_does_not_have_is_found(row: str, problem: str):
    known = [("the source has no …", "InvalidInputError"), ("publish: … was refused", "RegistryError")]
    [found] = unknown_messages(f"## `invalid-input`\n\n| you see | why | do |\n|---|---|---|\n{row}\n", known)
    assert problem in found


def test_a_message_that_the_code_has_is_none():
    page = "## `invalid-input`\n\n| you see | why | do |\n|---|---|---|\n| `the source has no …` | why | do |\n"
    assert unknown_messages(page, [("the source has no …", "InvalidInputError"), ("the source", "")]) == []
