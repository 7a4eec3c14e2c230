"""The commands of the README, as a newcomer types them: in a fresh clone, with an empty HOME."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
DIGEST = re.compile(r"localhost:5000/harbour@sha256:[0-9a-f]{64}")
PASSWORD = uuid.uuid4().hex

pytestmark = pytest.mark.e2e


class Clone:
    """A clone of the project as it is, and what a newcomer's shell has."""

    def __init__(self, folder: Path, engine: str) -> None:
        self.engine = engine
        self.folder = folder / "slipway"
        self.cache = folder / "cache"
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for name in filter(None, listed.split("\0")):
            if (ROOT / name).is_file():
                (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, self.folder / name, follow_symlinks=False)
        self.git("init", "-q", "-b", "main")
        self.commit("as it is")

    def git(self, *argv: str) -> None:
        identity = ["-c", "user.name=Test", "-c", "user.email=test@example.com"]
        subprocess.run(["git", *identity, *argv], cwd=self.folder, check=True)

    def commit(self, message: str) -> None:
        self.git("add", "-A")
        self.git("commit", "-q", "-m", message)

    def variables(self, **extra: str) -> dict[str, str]:
        kept = {
            key: value for key, value in os.environ.items() if not key.startswith(("DAGGER_", "SLIPWAY_", "VIRTUAL"))
        }
        return kept | {"SLIPWAY_ENGINE": self.engine, "SLIPWAY_CACHE": str(self.cache)} | extra

    def ship(self, *argv: str, **extra: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["./ship", *argv],
            cwd=self.folder,
            check=False,
            capture_output=True,
            text=True,
            env=self.variables(**extra),
            stdin=subprocess.DEVNULL,
            timeout=1200,
        )


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory, engine_name: str) -> Iterator[Clone]:
    """A fresh clone with an empty cache; the first test that ships fills it."""
    folder = tmp_path_factory.mktemp("clone")
    yield Clone(folder, engine_name)
    shutil.rmtree(folder, ignore_errors=True)


def test_a_newcomer_ships(clone: Clone, tmp_path: Path):
    done = clone.ship(HOME=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert DIGEST.search(done.stdout.splitlines()[-1]), done.stdout
    if clone.engine == "embedded":
        assert "using the embedded engine" in done.stderr
    for stage in ("check", "build", "publish", "deploy", "smoke"):
        assert re.search(rf"{stage} +✔ passed", done.stdout), done.stdout


# A Dagger Engine writes its own clock into an image's config; a contract compares its layers instead.
@pytest.mark.drydock
def test_one_commit_has_one_digest_also_from_another_cache(clone: Clone):
    first = clone.ship()
    second = clone.ship(SLIPWAY_CACHE=os.environ.get("SLIPWAY_CACHE", ""))
    assert first.returncode == second.returncode == 0, first.stderr + second.stderr
    assert first.stdout.splitlines()[-1] == second.stdout.splitlines()[-1]


# The embedded engine runs this module alone, and none that depends on it.
@pytest.mark.dagger
def test_another_module_puts_stages_of_its_own_between(clone: Clone):
    def deliver() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["dagger", "--progress=plain", "call", "--mod", "examples/consumer", "deliver", "--source", "."],
            cwd=clone.folder,
            check=False,
            capture_output=True,
            text=True,
            env=clone.variables(),
            stdin=subprocess.DEVNULL,
            timeout=1200,
        )

    done = deliver()
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(rf"harbour is {DIGEST.pattern}", done.stdout.strip())
    open_end = clone.folder / "app" / "src" / "open.ts"
    open_end.write_text("// FIXME\n")
    clone.commit("leave something open")
    try:
        done = deliver()
        assert done.returncode != 0
        assert "open.ts" in done.stderr
        assert "harbour is" not in done.stdout
    finally:
        open_end.unlink()
        clone.commit("close it")


def test_a_report_can_be_had_of_a_run_that_failed(clone: Clone, tmp_path: Path):
    route = clone.folder / "app" / "src" / "app.ts"
    before = route.read_text()
    route.write_text(before + "\nconst unused: number = 'text';\n")
    clone.commit("break it")
    try:
        done = clone.ship()
        assert done.returncode != 0
        assert "check: " in done.stderr
        assert "app.ts" in done.stderr
        assert "try:" in done.stderr
        reported = clone.ship("report", "--output", str(tmp_path / "report"))
        assert reported.returncode == 0, reported.stderr
        document = json.loads((tmp_path / "report" / "report.json").read_text())
        assert document["result"] == "failed"
        assert "app.ts" in (tmp_path / "report" / "report.md").read_text()
    finally:
        route.write_text(before)
        clone.commit("mend it")


@pytest.mark.parametrize(
    ("argv", "names"),
    [
        (["with-registry", "--address", "ghcr.io/org/app:1"], "'ghcr.io/org/app:1' is not a repository address"),
        (["--registri", "ghcr.io/org/app"], "registri"),
        (["--platforms", "windows/amd64"], "windows/amd64"),
        (["with-scanner", "--severity", "AWFUL"], "AWFUL"),
        (["with-registry", "--address", "ghcr.io/a", "--password", "env:NO_SUCH_VARIABLE"], "NO_SUCH_VARIABLE"),
    ],
)
def test_bad_input_is_named_and_nothing_is_published(clone: Clone, argv: list[str], names: str):
    done = clone.ship(*argv)
    assert done.returncode != 0
    assert names in done.stderr
    assert "Traceback" not in done.stderr
    assert not DIGEST.search(done.stdout)


def test_an_unknown_engine_is_named(clone: Clone):
    done = clone.ship(SLIPWAY_ENGINE="docker-swarm")
    assert done.returncode == 1
    assert "SLIPWAY_ENGINE='docker-swarm' is unknown" in done.stderr


def test_help_reads_like_documentation(clone: Clone):
    done = clone.ship("--help")
    assert done.returncode == 0
    for expected in ("Run the whole chain", "`with-registry`", "Where to deploy", "--platforms"):
        assert expected in done.stdout


def test_a_password_appears_nowhere(clone: Clone, tmp_path: Path):
    credentials = ["--username", "captain", "--password", "env:SECRET_TOKEN"]
    argv = ["with-registry", "--address", "127.0.0.1:9/app", *credentials]
    done = clone.ship(*argv, "report", "--output", str(tmp_path / "report"), SECRET_TOKEN=PASSWORD)
    output = done.stdout + done.stderr
    assert (tmp_path / "report" / "report.md").exists(), output
    assert PASSWORD not in output
    grep = subprocess.run(
        ["grep", "-rlaF", PASSWORD, str(tmp_path), str(clone.cache)], check=False, capture_output=True, text=True
    )
    assert grep.stdout == ""


def test_a_run_killed_halfway_is_repaired_by_the_next(clone: Clone):
    (clone.folder / "app" / "src" / "killed.ts").write_text("export const killed = true;\n")
    clone.commit("a change, so that there is work to kill")
    process = subprocess.Popen(
        ["./ship"],
        cwd=clone.folder,
        env=clone.variables(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert process.stdout
    for line in process.stdout:
        if "passed" in line:
            break
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not mounted(clone.cache)
    done = clone.ship()
    assert done.returncode == 0, done.stderr
    assert DIGEST.search(done.stdout)


@pytest.mark.parametrize("lines", [1, 2, 4])
def test_ctrl_c_ends_the_run_at_once_and_leaves_nothing_behind(clone: Clone, lines: int):
    (clone.folder / "app" / "src" / "interrupted.ts").write_text(f"export const interrupted = {lines};\n")
    process = subprocess.Popen(
        ["./ship"],
        cwd=clone.folder,
        env=clone.variables(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stderr
    for line in process.stderr:
        lines -= line.startswith("check ")
        if not lines:
            break
    os.killpg(process.pid, signal.SIGINT)
    _, output = process.communicate(timeout=60)
    assert process.returncode != 0
    assert "bug" not in output
    if clone.engine == "embedded":
        assert process.returncode == 130
        assert not running(clone.cache)
    (clone.folder / "app" / "src" / "interrupted.ts").unlink()


def test_two_runs_at_once_do_not_harm_each_other(clone: Clone):
    runs = [
        subprocess.Popen(
            ["./ship"],
            cwd=clone.folder,
            env=clone.variables(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    ends = [run.communicate(timeout=1200) for run in runs]
    assert [run.returncode for run in runs] == [0, 0], ends
    assert ends[0][0].splitlines()[-1] == ends[1][0].splitlines()[-1]


def running(folder: Path) -> list[str]:
    """Return the processes with a folder in their environment."""
    commands = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if str(folder).encode() in (process / "environ").read_bytes():
                commands.append((process / "cmdline").read_text())
    return commands


def mounted(folder: Path) -> list[str]:
    """Return what is mounted below a folder."""
    return [line for line in Path("/proc/mounts").read_text().splitlines() if str(folder) in line]
