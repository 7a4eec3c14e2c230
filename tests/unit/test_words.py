"""The vocabulary of the code and of its documentation: the field's own, one for each concept."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# In docstrings, comments, strings and documentation.
PHRASES = (
    "told", "taken up", "brought back", "words", "somebody else", "whose", "stands", "made good", "all the same",
    "is no more", "licence", "licences", "signed-by", "signed_by", "with-trust", "with_trust",
)  # fmt: skip
# As names of classes, functions, parameters, variables and constants.
NAMES = {
    "Place", "Subject", "Ledger", "Logbook", "Proof", "Trust", "Verified", "Candidate", "Cleared", "Toolchain",
    "BEGUN", "PROVEN", "RESTORED", "UNRESTORED",
    "taken_up", "foresee", "troubled", "remembered", "hopeless", "until_done", "told_by", "last_words", "made_by",
    "signed_by", "issuer", "licences", "workshop", "say", "together",
    "told", "words", "taken", "made", "found", "wanted", "given",
}  # fmt: skip
PHRASE = re.compile(rf"(?<![\w-])({'|'.join(map(re.escape, PHRASES))})(?![\w-])", re.IGNORECASE)
# The engine and its tests follow when the engine is recut.
ENGINE_TESTS = ("tests/unit/drydock", "tests/unit/call", "tests/unit/bases", "tests/contract/engine")
CODE = ("pipeline", "launch", "examples", "bench")
PAGES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", "docs", ".github")


def texts(source: str) -> Iterator[tuple[int, str]]:
    """Yield the strings (docstrings, parts of f-strings) and comments of Python code, with their lines."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


def names(source: str) -> Iterator[tuple[int, str]]:
    """Yield the names that Python code gives to things, with their lines."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.ClassDef(name=name) | ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield node.lineno, name
            case ast.Name(id=name, ctx=ast.Store()) | ast.arg(arg=name) | ast.Attribute(attr=name, ctx=ast.Store()):
                yield node.lineno, name
            case ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)) | ast.ExceptHandler(name=str(name)):
                yield node.lineno, name


def unwanted_phrases(text: str) -> list[str]:
    """Return the phrases in a text that are not used."""
    return [match[0] for match in PHRASE.finditer(" ".join(text.split()))]


def unwanted_in_code(source: str) -> list[str]:
    """Return the phrases and names in Python code that are not used, each with its line."""
    found = [(line, repr(phrase)) for line, text in texts(source) for phrase in unwanted_phrases(text)]
    found += [(line, name) for line, name in names(source) if name in NAMES]
    return [f"{line}: {what}" for line, what in sorted(found)]


def unwanted_in_test_names(source: str) -> list[str]:
    """Return the names of tests that hold a phrase that is not used."""
    functions = [
        node.name for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    return [name for name in functions if name.startswith("test_") and unwanted_phrases(name.replace("_", " "))]


def files(ending: str, *folders: str) -> list[Path]:
    """Return the project's files with an ending, in some folders or files."""
    paths = [ROOT / folder for folder in folders]
    return sorted(file for path in paths for file in ([path] if path.is_file() else path.rglob(f"*{ending}")))


@pytest.mark.parametrize("folder", CODE)
def test_code_uses_the_vocabulary_of_the_field(folder: str):
    found = [
        f"{file.relative_to(ROOT)}:{line}"
        for file in files(".py", folder)
        for line in unwanted_in_code(file.read_text())
    ]
    for file in files(".mjs", folder):
        lines = enumerate(file.read_text().splitlines(), 1)
        found += [
            f"{file.relative_to(ROOT)}:{number}: {phrase!r}"
            for number, line in lines
            for phrase in unwanted_phrases(line)
        ]
    assert not found, "\n".join(found)


def test_documentation_uses_the_vocabulary_of_the_field():
    found = [
        f"{page.relative_to(ROOT)}:{number}: {phrase!r}"
        for page in [*files(".md", *PAGES), *files(".yml", ".github")]
        for number, line in enumerate(page.read_text().splitlines(), 1)
        for phrase in unwanted_phrases(line)
    ]
    assert not found, "\n".join(found)


def test_a_tests_name_uses_the_vocabulary_of_the_field():
    found = [
        f"{file.relative_to(ROOT)}: {name}"
        for file in files(".py", "tests")
        if not str(file.relative_to(ROOT)).startswith(ENGINE_TESTS)
        for name in unwanted_in_test_names(file.read_text())
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ('"""What a run told."""', ["1: 'told'"]),
        ("x = 1  # it is made\n#   good, all the same", ["2: 'all the same'"]),
        ('raise ValueError(f"{1} was brought\\nback")', ["1: 'brought back'"]),
        ("def f(told: int) -> None: ...", ["1: told"]),
        ("class Proof: ...", ["1: Proof"]),
        ("self.taken = 1", ["1: taken"]),
        ("for found in ():\n    pass", ["1: found"]),
        ("with open('x') as words:\n    pass", ["1: words"]),
        ("password = 'passwords, the nutshell, upstands'", []),
        ("given(st.text())", []),
    ],
)
def test_a_word_that_is_not_used_is_found(source: str, found: list[str]):
    assert unwanted_in_code(source) == found


def test_a_test_with_such_a_word_in_its_name_is_found():
    source = "def test_a_failure_is_told(): ...\nasync def test_whose_key_it_is(): ...\ndef test_a_toldo(): ..."
    assert unwanted_in_test_names(source) == ["test_a_failure_is_told", "test_whose_key_it_is"]
