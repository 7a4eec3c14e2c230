import re
import stat
from pathlib import Path

import pytest

from launch import engine, environment
from launch.arguments import ship_command


def fake_dagger(folder: Path, *, exit_code: int, stderr: str = "") -> str:
    """Put a `dagger` with this exit code and error output on a PATH."""
    script = folder / "dagger"
    script.write_text(f"#!/bin/sh\necho '{stderr}' >&2\nexit {exit_code}\n")
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


def test_a_dagger_that_reaches_no_engine_is_not_chosen_and_its_error_is_shown(
    nothing: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("PATH", fake_dagger(nothing, exit_code=1, stderr="connection refused"))
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
    ("arguments", "command"),
    [
        ("", "ship summary"),
        ("--help", "ship --help"),
        ("report export --path x", "ship report export --path x"),
        ("--frozen summary", "ship --frozen summary"),
        ("--tag release --path services/api", "--path services/api ship --tag release summary"),
        (
            "with-registry --address ghcr.io/org/app with-environment --name staging --frozen",
            "with-registry --address ghcr.io/org/app with-environment --name staging ship --frozen summary",
        ),
        (
            "with-scanner --severity=CRITICAL ship --platforms linux/amd64 --skip secrets",
            "--skip secrets with-scanner --severity=CRITICAL ship --platforms linux/amd64 summary",
        ),
    ],
)
def test_options_of_the_module_and_of_ship_are_put_where_dagger_reads_them(arguments: str, command: str):
    assert ship_command(arguments.split()) == command.split()


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
    """Put an `apt-get` on a PATH that is locked out a number of times; return the file with its calls."""
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
    """A machine on which packages can be installed, and where a second of sleep is a minute."""
    clock = [0.0]
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr("launch.environment.time.monotonic", lambda: clock[0])
    monkeypatch.setattr("launch.environment.time.sleep", lambda seconds: clock.append(clock.pop() + 60 * seconds))
    return tmp_path


def test_another_apt_at_work_is_waited_for(root: Path, capsys: pytest.CaptureFixture[str]):
    calls = fake_apt(root, busy=3)
    environment.require_debian({"no-such-command": "no-such-package"})
    assert calls.read_text().split() == ["install"] * 4
    assert capsys.readouterr().err.count("waiting for another apt") == 1


def test_another_apt_that_never_ends_is_waited_for_until_the_deadline(root: Path):
    fake_apt(root, busy=10**9)
    with pytest.raises(environment.SetupError, match="held by process 7"):
        environment.require_debian({"no-such-command": "no-such-package"})
