import re
import stat
import subprocess
from pathlib import Path

import pytest

from launch import __main__ as launch
from launch import engine, environment


def fake_dagger(folder: Path, *, exit_code: int, words: str = "") -> str:
    """Put a `dagger` on a PATH that answers as told."""
    script = folder / "dagger"
    script.write_text(f"#!/bin/sh\necho '{words}' >&2\nexit {exit_code}\n")
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    return f"{folder}:/usr/bin:/bin"


@pytest.fixture
def nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine with no Dagger and no container runtime, on which the embedded engine can run."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(engine, "can_embed", lambda: True)
    return tmp_path


def test_a_dagger_engine_that_answers_is_chosen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("PATH", fake_dagger(tmp_path, exit_code=0))
    assert engine.choose({}).name == "dagger"


@pytest.mark.usefixtures("nothing")
def test_without_one_the_embedded_engine_is_chosen_and_says_why():
    chosen = engine.choose({})
    assert chosen.name == "embedded"
    assert "no dagger on PATH" in chosen.why


def test_a_dagger_that_reaches_no_engine_is_not_chosen_and_its_words_are_shown(
    nothing: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("PATH", fake_dagger(nothing, exit_code=1, words="connection refused"))
    chosen = engine.choose({})
    assert chosen.name == "embedded"
    assert "connection refused" in chosen.why


@pytest.mark.usefixtures("nothing")
def test_an_engine_asked_for_and_not_there_is_an_error_not_another_engine():
    with pytest.raises(engine.EngineError, match="no dagger on PATH"):
        engine.choose({engine.VARIABLE: "dagger"})


def test_an_address_is_passed_on_to_the_cli(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("PATH", fake_dagger(tmp_path, exit_code=0))
    chosen = engine.choose({engine.VARIABLE: "tcp://engine:1234"})
    assert chosen.variables == {engine.RUNNER_HOST: "tcp://engine:1234"}


def test_the_embedded_engine_can_be_asked_for_where_dagger_is_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("PATH", fake_dagger(tmp_path, exit_code=0))
    monkeypatch.setattr(engine, "can_embed", lambda: True)
    assert engine.choose({engine.VARIABLE: "embedded"}).name == "embedded"


@pytest.mark.usefixtures("nothing")
def test_where_neither_can_run_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(engine, "can_embed", lambda: False)
    with pytest.raises(engine.EngineError, match="install Docker and the Dagger CLI"):
        engine.choose({})


@pytest.mark.parametrize(
    ("arguments", "ends"),
    [
        ([], ["summary"]),
        (["--registry", "ghcr.io/org/app"], ["summary"]),
        (["report", "export", "--path", "x"], []),
        (["summary"], []),
        (["--help"], []),
    ],
)
def test_the_table_is_asked_for_unless_something_else_is(arguments: list[str], ends: list[str]):
    assert engine.with_summary(arguments) == [*arguments, *ends]


def test_missing_packages_are_named_where_they_cannot_be_installed(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(environment.SetupError, match="no-such-package"):
        environment.require_debian({"no-such-command": "no-such-package"})


def test_nothing_is_installed_where_nothing_is_missing():
    environment.require_debian({"sh": "dash"})


def test_what_reads_the_lock_file_is_itself_locked():
    uv = environment.locked("uv", environment.LOCK.read_text())
    first, *hashes = uv.splitlines()
    assert re.fullmatch(r"uv==[0-9.]+ \\", first)
    assert len(hashes) > 1
    assert all(re.fullmatch(r"    --hash=sha256:[0-9a-f]{64}(?: \\)?", line) for line in hashes)


def fake_apt(folder: Path, *, busy: int) -> Path:
    """Put an `apt-get` on a PATH that finds another at work so many times; return what it was called with."""
    calls = folder / "calls"
    script = folder / "apt-get"
    script.write_text(
        f"""#!/bin/sh
echo "$1" >> {calls}
test "$(wc -l < {calls})" -gt {busy} || {{
    echo 'E: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 7 (apt-get)'
    exit 100
}} >&2
"""
    )
    script.chmod(0o755)
    return calls


@pytest.fixture
def root(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine on which packages can be installed; there a second of sleep is a minute."""
    clock = [0.0]
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(environment.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(environment.time, "sleep", lambda seconds: clock.append(clock.pop() + 60 * seconds))
    return tmp_path


def test_another_apt_at_work_is_waited_for(root: Path, capsys: pytest.CaptureFixture[str]):
    calls = fake_apt(root, busy=3)
    environment.require_debian({"no-such-command": "no-such-package"})
    assert calls.read_text().split() == ["install"] * 4
    assert capsys.readouterr().err.count("waiting for another apt") == 1


def test_another_apt_that_never_ends_is_waited_for_no_longer_than_said(root: Path):
    fake_apt(root, busy=10**9)
    with pytest.raises(environment.SetupError, match="held by process 7"):
        environment.require_debian({"no-such-command": "no-such-package"})


@pytest.mark.parametrize(("codes", "expected"), [((0, 0), 0), ((1, 0), 1), ((0, 5), 5), ((-9, 0), -9), ((0, -9), -9)])
def test_a_suite_that_fails_or_is_killed_fails_the_test_command(
    monkeypatch: pytest.MonkeyPatch, codes: tuple[int, int], expected: int
):
    left = list(codes)

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(command, left.pop(0) if "pytest" in command else 0)

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(environment, "make", lambda _: Path("python"))
    monkeypatch.setattr(engine, "can_embed", lambda: False)
    assert launch.test([]) == expected
    assert left == []
