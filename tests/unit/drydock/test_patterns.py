"""Include, exclude and .gitignore rules."""

import pytest

from drydock.patterns import Patterns, ignored, parse_gitignore


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        ("node_modules", "node_modules", True),
        ("node_modules", "node_modules/a/b.js", True),
        ("node_modules", "sub/node_modules", False),
        ("**/node_modules", "sub/node_modules/a", True),
        ("**/node_modules", "node_modules", True),
        ("*.md", "a.md", True),
        ("*.md", "sub/a.md", False),
        ("**/*.md", "sub/deep/a.md", True),
        ("src/**", "src/a/b", True),
        ("src/", "src/a", True),
        ("./src", "src", True),
        ("a?c", "abc", True),
        ("a?c", "a/c", False),
        ("[ab].txt", "b.txt", True),
        ("[!ab].txt", "b.txt", False),
        (r"\*", "x", False),
        ("a.c", "abc", False),
    ],
)
def test_a_pattern_means_what_docker_means(pattern: str, path: str, expected: bool):  # noqa: FBT001
    assert Patterns([pattern]).match(path) is expected


def test_an_exclamation_mark_takes_back():
    patterns = Patterns(["*.md", "!README.md"])
    assert patterns.match("NOTES.md")
    assert not patterns.match("README.md")


@pytest.mark.parametrize(
    ("line", "path", "is_dir", "expected"),
    [
        ("*.log", "deep/a.log", False, True),
        ("/build", "build", True, True),
        ("/build", "sub/build", True, False),
        ("build/", "build", False, False),
        ("build/", "sub/build", True, True),
        ("doc/*.txt", "doc/a.txt", False, True),
        ("doc/*.txt", "sub/doc/a.txt", False, False),
        ("# comment", "# comment", False, False),
        ("trailing   ", "trailing", False, True),
    ],
)
def test_a_line_of_gitignore_means_what_git_means(line: str, path: str, is_dir: bool, expected: bool):  # noqa: FBT001
    assert ignored(parse_gitignore(line), path, is_dir=is_dir) is expected


def test_the_last_line_that_speaks_of_a_path_decides():
    rules = parse_gitignore("*.log\n!keep.log\n")
    assert ignored(rules, "a.log", is_dir=False)
    assert not ignored(rules, "keep.log", is_dir=False)


def test_a_file_further_down_speaks_of_its_own_directory():
    rules = parse_gitignore("/x", base="sub")
    assert ignored(rules, "sub/x", is_dir=False)
    assert not ignored(rules, "x", is_dir=False)


def test_a_file_further_up_speaks_of_the_way_down():
    rules = parse_gitignore("/app/dist\n", above="app")
    assert ignored(rules, "dist", is_dir=True)
