"""The commands that README and docs show: each exists with its options, and a test runs it, or it needs an account."""

import functools
import re
import shlex

import pytest

from drydock.call import flags, module
from drydock.call.errors import UsageError
from drydock.call.model import Function, Kind
from drydock.cli import MODULE_COMMANDS
from drydock.cli import parser as drydock_parser
from launch.arguments import ship_command
from tests.documentation import ROOT, Script, every_script, runnable, scripts_in

# Commands that are not the module's, by their first words: the test that runs them, and what it holds.
RUN_BY = {
    ("./ship",): ("tests/e2e/test_ship.py", '["./ship"'),
    ("./test",): ("tests/unit/test_suite.py", "suite.run([])"),
    ("./test", "--all"): ("tests/unit/test_suite.py", 'suite.run(["--all"])'),
    ("python", "-m", "drydock", "cache"): ("tests/contract/engine/test_sessions.py", '"drydock", "cache", "prune"'),
    ("python", "-m", "drydock", "call"): ("tests/e2e/test_documented_commands.py", "-m drydock"),
    ("python", "-m", "drydock", "run"): ("tests/contract/engine/test_sessions.py", '"drydock", "run"'),
    ("python", "-m", "drydock", "session"): ("tests/conftest.py", '"drydock", "session"'),
}
# Tools that only commands with an account call.
TOOLS = {"cosign", "jq", "kubectl"}
# Options in sentences that are not Slipway's.
FOREIGN_OPTIONS = {"omit"}


@functools.cache
def constructor(folder: str) -> Function:
    return module.load(ROOT / folder).constructor


def called(words: tuple[str, ...]) -> tuple[str, list[str]] | None:
    """Return a module's folder, and the words of a call of its functions; None for any other command."""
    match words:
        case ("./ship", *arguments):
            return ".", ship_command(arguments)
        case ("python", "-m", "drydock", "call", *arguments):
            return ".", list(arguments)
        case ("dagger", *arguments) if "call" in arguments:
            rest = [word for word in arguments if word != "call"]
            folder = "."
            for option in {"-m", "--mod"} & {*rest}:
                folder = rest[rest.index(option) + 1]
                del rest[rest.index(option) : rest.index(option) + 2]
            return folder, rest
    return None


def problem_of(words: tuple[str, ...]) -> str:
    """Return why a command cannot be what it says, or an empty string."""
    if call := called(words):
        folder, arguments = call
        if "://" in folder or folder.startswith("github.com/"):
            folder = "."
        try:
            flags.read_chain(arguments, constructor(folder))
        except UsageError as error:
            return str(error)
        return ""
    if words[:3] == ("python", "-m", "drydock") and words[3] not in MODULE_COMMANDS:
        try:
            drydock_parser().parse_args(words[3:])
        except SystemExit:
            return "the engine's command line does not read it"
    return "" if words[:2] != ("dagger", "call") else "it calls nothing"


def test_every_call_that_is_shown_exists_with_its_options():
    found = [
        f"{script.page}: `{shlex.join(words)}`: {problem}"
        for script in every_script()
        for words in script.commands
        if (problem := problem_of(words))
    ]
    assert not found, "\n".join(found)


def unexplained(script: Script) -> list[str]:
    """Return the commands of a script that no test runs, and that do not say which account they need."""
    if script.account or script in runnable():
        return []
    found = []
    for words in script.commands:
        known = any(words[: len(prefix)] == prefix for prefix in RUN_BY)
        # A sentence may quote a call that a block of another page shows, or help.
        quoted = script.quoted and words[0] in {"dagger", "kubectl", "git"}
        if not known and not quoted:
            found.append(f"{script.page}: `{shlex.join(words)}`")
    return found


def test_every_command_that_is_shown_is_run_by_a_test_or_needs_an_account():
    found = [line for script in every_script() for line in unexplained(script)]
    assert not found, "add `# needs an account: …`, or the test that runs it:\n" + "\n".join(found)


@pytest.mark.parametrize(("prefix", "test"), RUN_BY.items(), ids=[" ".join(prefix) for prefix in RUN_BY])
def test_the_test_that_runs_a_command_calls_it(prefix: tuple[str, ...], test: tuple[str, str]):
    file, evidence = test
    assert evidence in (ROOT / file).read_text(), prefix


def test_something_is_run_and_something_needs_an_account():
    assert len(runnable()) >= 5
    assert "runnable()" in (ROOT / "tests/e2e/test_documented_commands.py").read_text()
    assert [script for script in every_script() if script.account]
    assert {words[0] for script in every_script() if script.account for words in script.commands} <= {"dagger", *TOOLS}


def options_of(constructed: Function) -> set[str]:
    """Return the options of all functions that can be reached from a module's constructor."""
    options = {argument.flag for argument in constructed.arguments}
    seen, left = set(), [constructed.returns]
    while left:
        returned = left.pop()
        if returned.label in seen or returned.kind is not Kind.OBJECT:
            continue
        seen.add(returned.label)
        for function in flags.functions_of(returned).values():
            options |= {argument.flag for argument in function.arguments}
            left.append(function.returns)
    return options


def unknown_options(page: str, known: set[str]) -> list[str]:
    """Return the options that sentences of a page name, and that nothing has."""
    prose = re.sub(r"^ *```.*?^ *```$", "", page, flags=re.MULTILINE | re.DOTALL)
    named = {
        option for code in re.findall(r"`([^`]+)`", prose) for option in re.findall(r"(?<!\S)--([a-z][\w-]*)", code)
    }
    return sorted(named - known)


def test_every_option_that_a_sentence_names_exists():
    cache = {"all", "keep-days", "verbose", "help"}
    known = options_of(constructor(".")) | cache | {"path", "mod", "dry-run"} | FOREIGN_OPTIONS
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    found = [f"{page.name}: --{option}" for page in pages for option in unknown_options(page.read_text(), known)]
    assert not found, "\n".join(found)


# The rules can fail


@pytest.mark.parametrize(
    ("shown", "problem"),
    [
        ("dagger call shipp", "unknown function"),
        ("dagger call ship --registri x", "unknown flag: --registri"),
        ("dagger call release rescan", 'required flag(s) "ref" not set'),
        ("dagger call --mod examples/notifier notify --event failed", "required flag(s)"),
        ("./ship --frozzen", "unknown flag: --frozzen"),
        ("python -m drydock cache purge", "does not read it"),
    ],
)
def test_a_command_that_does_not_exist_is_found(shown: str, problem: str):
    [script] = scripts_in("README.md", f"```sh\n{shown}\n```\n")
    assert problem in problem_of(script.commands[0])


@pytest.mark.parametrize(
    "shown", ["dagger call ship", "./ship --frozen", "python -m drydock cache prune --keep-days 3"]
)
def test_a_command_that_exists_is_none(shown: str):
    [script] = scripts_in("README.md", f"```sh\n{shown}\n```\n")
    assert problem_of(script.commands[0]) == ""


@pytest.mark.parametrize("shown", ["make release", "kubectl get pods", "git push", "./shipp"])
def test_a_command_that_nothing_runs_is_found(shown: str):
    [plain] = scripts_in("README.md", f"```sh\n{shown}\n```\n")
    [marked] = scripts_in("README.md", f"```sh\n# needs an account: a cluster\n{shown}\n```\n")
    assert [line.partition(": ")[2] for line in unexplained(plain)] == [f"`{shown}`"]
    assert unexplained(marked) == []


def test_a_script_is_read_as_a_shell_reads_it():
    block = "```sh\n  token=$(kubectl create token x)   # a comment\n  a 'b  c' | \\\n    d > file && e\n  ```\n"
    [script] = scripts_in("README.md", f"- a list\n  {block}")
    assert script.commands == [("kubectl", "create", "token", "x"), ("a", "b  c"), ("d",), ("e",)]


def test_an_option_that_does_not_exist_is_found():
    assert unknown_options("Give `ship --frozen`, or `--frozzen`.\n```sh\nx --not-prose\n```\n", {"frozen"}) == [
        "frozzen"
    ]
