"""Which tests `./test` and `./test --all` run, that none is left out, and that a failure is never lost."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from launch import engine, environment, suite
from tests.conftest import process_group

ROOT = Path(__file__).resolve().parents[2]


class Machine:
    """Runs no command: keeps what was to be run, and answers with exit codes by the tool's name."""

    def __init__(self) -> None:
        self.commands: list[list[str]] = []
        self.codes: dict[str, list[int]] = {}

    def run(self, argv: Sequence[object], **_: object) -> subprocess.CompletedProcess[str]:
        _python, _m, *module = (str(word) for word in argv)
        self.commands.append(module)
        codes = self.codes.get(module[0], [])
        return subprocess.CompletedProcess(module, codes.pop(0) if codes else 0)

    @property
    def suites(self) -> list[str]:
        """The marker expressions that pytest was run with."""
        return [command[command.index("-m") + 1] for command in self.commands if command[0] == "pytest"]


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    machine = Machine()
    monkeypatch.setattr(subprocess, "run", machine.run)
    monkeypatch.setattr(environment, "make", lambda _: Path("python"))
    monkeypatch.setattr(engine, "can_embed", lambda: False)
    monkeypatch.setattr(suite, "BUILD", "")
    return machine


def test_by_itself_it_runs_the_checks_and_the_fast_suite_and_never_the_control_plane(machine: Machine):
    assert suite.run([]) == 0
    assert [command[0] for command in machine.commands] == ["ruff", "ruff", "mypy", "pytest"]
    assert machine.suites == ["not e2e and not kubernetes"]


def test_with_all_it_runs_the_rest_as_well(machine: Machine):
    assert suite.run(["--all"]) == 0
    assert [command[0] for command in machine.commands] == ["ruff", "ruff", "mypy", "pytest", "pytest"]
    assert machine.suites == ["not kubernetes", "kubernetes"]


def test_other_arguments_are_those_of_pytest(machine: Machine):
    machine.codes = {"pytest": [2]}
    assert suite.run(["-k", "registry", "tests/unit"]) == 2
    assert machine.commands == [["pytest", "-k", "registry", "tests/unit"]]


def test_help_names_the_three_ways(machine: Machine, capsys: pytest.CaptureFixture[str]):
    assert suite.run(["--help"]) == 0
    assert machine.commands == []
    assert [line.split("  ")[0] for line in capsys.readouterr().out.splitlines()] == [
        "./test",
        "./test --all",
        "./test ARGS",
    ]


@pytest.mark.parametrize(("codes", "expected"), [((0, 0), 0), ((1, 0), 1), ((0, 5), 5), ((-9, 0), -9), ((0, -9), -9)])
def test_a_suite_that_fails_or_is_killed_fails_the_command_and_the_next_one_still_runs(
    machine: Machine, codes: tuple[int, int], expected: int
):
    machine.codes = {"pytest": list(codes)}
    assert suite.run(["--all"]) == expected
    assert len(machine.suites) == 2


@pytest.mark.parametrize("tool", ["ruff", "mypy"])
def test_a_check_that_fails_ends_the_run_at_once(machine: Machine, tool: str, capsys: pytest.CaptureFixture[str]):
    machine.codes = {tool: [3]}
    assert suite.run([]) == 3
    assert machine.suites == []
    assert capsys.readouterr().out.splitlines()[-1].startswith("test: failed in ")


def test_each_phase_is_announced_with_its_number_and_its_time(machine: Machine, capsys: pytest.CaptureFixture[str]):
    suite.run([])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines if "(about" in line] == ["1/4", "2/4", "3/4", "4/4"]
    assert "test: unit, workflow and contract tests: passed in 0 s" in lines
    assert lines[-1] == "test: passed in 0 s"
    assert machine.suites


@pytest.fixture
def builders(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> list[subprocess.Popen[str]]:
    """The processes that build a control plane; its tests start once they have ended."""
    started: list[subprocess.Popen[str]] = []
    popen = subprocess.Popen

    def start(*argv: Any, **options: Any) -> subprocess.Popen[str]:
        started.append(popen(*argv, **options))
        return started[-1]

    def run(argv: Sequence[object], **options: object) -> subprocess.CompletedProcess[str]:
        if "kubernetes" in argv:
            started[0].wait()
        return machine.run(argv, **options)

    monkeypatch.setattr(subprocess, "Popen", start)
    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(environment, "make", lambda _: Path(sys.executable))
    return started


@pytest.mark.usefixtures("builders")
def test_a_control_plane_that_cannot_be_built_is_reported_with_the_builders_output(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(suite, "BUILD", "raise SystemExit('no module of that name')")
    suite.run(["--all"])
    assert "the control plane cannot be built\n    no module of that name" in capsys.readouterr().out


def test_a_build_that_is_not_needed_any_more_is_ended(
    machine: Machine, builders: list[subprocess.Popen[str]], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(suite, "BUILD", "import time; time.sleep(600)")
    machine.codes = {"ruff": [1]}
    assert suite.run(["--all"]) == 1
    assert [builder.returncode for builder in builders] == [-signal.SIGTERM]


@pytest.mark.parametrize(
    ("select", "folders"),
    [
        (suite.FAST.module[2], ["tests/cluster", "tests/e2e"]),
        (f"not ({suite.FAST.module[2]})", ["tests/contract", "tests/unit", "tests/workflows"]),
    ],
)
def test_the_fast_suite_leaves_out_fresh_clones_and_the_control_plane_and_nothing_else(select: str, folders: list[str]):
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-m", select, *folders]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == pytest.ExitCode.NO_TESTS_COLLECTED, done.stdout
    [left_out] = re.findall(r"no tests collected \((\d+) deselected\)", done.stdout)
    assert int(left_out) > 20


@pytest.mark.parametrize(("code", "engines"), [(0, {"embedded", "dagger"}), (1, {"embedded"})])
def test_tests_are_run_on_the_engines_that_answer(tmp_path: Path, code: int, engines: set[str]):
    dagger = tmp_path / "dagger"
    dagger.write_text(f"#!/bin/sh\necho no engine >&2\nexit {code}\n")
    dagger.chmod(0o755)
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "tests/contract/engine/test_exec.py"]
    env = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=True)
    if not engine.can_embed():
        engines = engines - {"embedded"}
    assert {name for name in ("embedded", "dagger") if f"[{name}]" in done.stdout} == engines


def test_the_tests_that_share_a_clone_run_in_one_process_and_others_anywhere():
    ships = [f"tests/e2e/test_ship.py::test_{name}[embedded]" for name in ("one", "two")]
    assert len({process_group(test) for test in ships}) == 1
    assert process_group("tests/e2e/test_notifier.py::test_one") not in {process_group(test) for test in ships}
    assert len({process_group(test.replace("e2e", "contract")) for test in ships}) == 2


def test_ci_runs_everything():
    assert (ROOT / ".ci" / "run").read_text().splitlines()[-1] == "exec ./test --all"


def test_the_readme_names_both_suites():
    [block] = re.findall(r"## Try it\n\n```sh\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    commands = [line.split("#")[0].strip() for line in block.splitlines()]
    assert commands == ["./ship", "./test", "./test --all"]
