"""The embedded engine as a process: its token, its end, its cache folder."""

import base64
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

pytestmark = pytest.mark.drydock

Start = Callable[..., AbstractContextManager[subprocess.Popen[str]]]
Run = Callable[..., subprocess.CompletedProcess[str]]

# Of this run alone: another one on the machine has processes of its own.
MARK = f"sleep 9{uuid.uuid4().int % 10**8:08}"


def ask(answer: dict[str, object], token: str, path: str = "/query") -> int:
    credentials = base64.b64encode(f"{token}:".encode()).decode()
    request = urllib.request.Request(
        f"http://127.0.0.1:{answer['port']}{path}",
        data=json.dumps({"query": "{version}"}).encode(),
        headers={"Authorization": f"Basic {credentials}"},
    )
    try:
        with urllib.request.urlopen(request) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        return error.code


def alive(text: str) -> list[str]:
    found = subprocess.run(["pgrep", "-f", "-x", text], capture_output=True, text=True, check=False)
    return found.stdout.split()


def until(condition: Callable[[], object], seconds: float = 15) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.05)
    return False


def test_who_does_not_have_the_token_is_turned_away(start_engine: Start):
    with start_engine() as engine:
        answer = engine.answer  # type: ignore[attr-defined]
        assert ask(answer, answer["session_token"]) == 200
        assert ask(answer, "guess") == 401
        assert ask(answer, answer["session_token"], "/other") == 404


def test_only_this_machine_can_connect(start_engine: Start):
    with start_engine() as engine:
        port = engine.answer["port"]  # type: ignore[attr-defined]
        listening = subprocess.run(["ss", "-Hltn", f"sport = :{port}"], capture_output=True, text=True, check=True)
        assert [line.split()[3] for line in listening.stdout.splitlines()] == [f"127.0.0.1:{port}"]


def test_a_session_ends_with_its_stdin_and_leaves_no_temporary_files(start_engine: Start, tmp_path: Path):
    with start_engine() as engine:
        engine.stdin.close()  # type: ignore[union-attr]
        assert engine.wait(10) == 0
    assert list((tmp_path / "cache/v1/tmp").iterdir()) == []


def test_sigterm_ends_a_session_in_order(start_engine: Start):
    with start_engine() as engine:
        engine.terminate()
        assert engine.wait(10) == 0


def test_a_killed_engine_leaves_no_process_no_mount_and_a_cache_that_works(run_script: Run, tmp_path: Path):
    cache = _ordinary()
    lines = f"""
base = dag.container().from_("python:3.13-slim")
service = base.with_exposed_port(8000).as_service(args=["sh", "-c", "{MARK} & exec python3 -m http.server 8000"])
await base.with_service_binding("s", service).with_env_variable("T", "{tmp_path}").with_exec("{MARK}".split()).sync()
"""
    script = "import anyio, dagger\nfrom dagger import dag\nasync def main():\n    async with dagger.connection():\n"
    script += "\n".join(f"        {line}" for line in lines.strip().splitlines()) + "\nanyio.run(main)\n"
    env = {k: v for k, v in os.environ.items() if not k.startswith("DAGGER_SESSION")} | {"SLIPWAY_CACHE": str(cache)}
    command = [sys.executable, "-m", "drydock", "run", "--", sys.executable, "-c", script]
    root = Path(__file__).resolve().parents[3]
    with subprocess.Popen(command, env=env, cwd=root, stderr=subprocess.DEVNULL) as engine:
        assert until(lambda: len(alive(MARK)) == 2, 60)
        engine.send_signal(signal.SIGKILL)
        engine.wait()
    assert until(lambda: not alive(MARK))
    assert str(cache) not in Path("/proc/self/mounts").read_text()
    done = run_script(
        'print(await dag.container().from_("python:3.13-slim").with_exec(["echo", "works"]).stdout())', cache
    )
    assert done.stdout == "works\n\n", done.stderr


def test_two_engines_share_a_cache_and_run_the_same_command_once(tmp_path: Path):
    cache = _ordinary()
    script = f"""
import anyio, dagger
from dagger import dag
async def main():
    async with dagger.connection():
        ctr = dag.container().from_("debian:trixie-slim").with_env_variable("T", "{tmp_path}")
        print(await ctr.with_exec(["sh", "-c", "sleep 1; cat /proc/sys/kernel/random/uuid"]).stdout())
anyio.run(main)
"""
    env = {k: v for k, v in os.environ.items() if not k.startswith("DAGGER_SESSION")} | {"SLIPWAY_CACHE": str(cache)}
    command = [sys.executable, "-m", "drydock", "run", "--", sys.executable, "-c", script]
    root = Path(__file__).resolve().parents[3]
    both = [subprocess.Popen(command, env=env, cwd=root, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate(timeout=60)[0] for process in both]
    assert said[0] == said[1]
    assert len(said[0].strip()) == 36


def test_a_cancelled_request_ends_its_command(run_script: Run):
    mark = f"{MARK}.5"
    lines = f"""
import subprocess
ctr = dag.container().from_("debian:trixie-slim")
runs = lambda: subprocess.run(["pgrep", "-f", "-x", "{mark}"], capture_output=True).returncode == 0
async with anyio.create_task_group() as tasks:
    tasks.start_soon(ctr.with_exec("{mark}".split()).sync)
    with anyio.fail_after(60):
        while not runs():
            await anyio.sleep(0.05)
    tasks.cancel_scope.cancel()
await ctr.with_exec(["true"]).sync()
with anyio.fail_after(10):
    while runs():
        await anyio.sleep(0.05)
print("gone")
"""
    done = run_script(lines, _ordinary())
    assert done.stdout == "gone\n", done.stderr


def test_pruning_refuses_while_a_session_runs_and_empties_the_folder_afterwards(start_engine: Start, tmp_path: Path):
    env = os.environ | {"SLIPWAY_CACHE": str(tmp_path / "cache")}
    prune = [sys.executable, "-m", "drydock", "cache", "prune", "--all"]
    root = Path(__file__).resolve().parents[3]
    with start_engine():
        refused = subprocess.run(prune, env=env, cwd=root, capture_output=True, text=True, check=False)
        assert refused.returncode == 1
        assert "in use" in refused.stderr
    done = subprocess.run(prune, env=env, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "cache/v1").exists()


@pytest.mark.parametrize("name", ["a,b", "a:b", "file"])
def test_a_cache_folder_that_cannot_be_used_is_told_in_one_line(tmp_path: Path, name: str):
    (tmp_path / "file").touch()
    env = os.environ | {"SLIPWAY_CACHE": str(tmp_path / name)}
    command = [sys.executable, "-m", "drydock", "run", "--", "true"]
    root = Path(__file__).resolve().parents[3]
    done = subprocess.run(command, env=env, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert line.startswith(f"cache folder {tmp_path / name}: ")
    assert "SLIPWAY_CACHE" in line


def test_pruning_by_age_keeps_what_was_used_lately(run_script: Run, tmp_path: Path):
    cache = tmp_path / "cache"
    write = 'print(await dag.directory().with_new_file("{0}", "{0}").file("{0}").contents())'
    for name in ("old", "new"):
        assert run_script(write.format(name), cache).stdout == f"{name}\n"
        if name == "old":
            for record in (cache / "v1/ops").glob("*/*.json"):
                os.utime(record, (0, 0))
    layers = len(list((cache / "v1/layers").iterdir()))
    root = Path(__file__).resolve().parents[3]
    env = os.environ | {"SLIPWAY_CACHE": str(cache)}
    subprocess.run([sys.executable, "-m", "drydock", "cache", "prune"], env=env, cwd=root, check=True)
    assert len(list((cache / "v1/layers").iterdir())) == layers - 1
    assert run_script(write.format("new"), cache).stdout == "new\n"
    assert run_script(write.format("old"), cache).stdout == "old\n"


def test_the_sdk_can_start_the_engine_as_its_cli(tmp_path: Path):
    wrapper = tmp_path / "dagger"
    root = Path(__file__).resolve().parents[3]
    wrapper.write_text(f'#!/bin/sh\ncd {root} && exec {sys.executable} -m drydock "$@"\n')
    wrapper.chmod(0o755)
    script = (
        "import anyio, dagger\n"
        "async def main():\n"
        "    async with dagger.connection():\n"
        "        print(await dagger.dag.directory().with_new_file('f', 'x').entries())\n"
        "anyio.run(main)\n"
    )
    env = {k: v for k, v in os.environ.items() if not k.startswith("DAGGER_SESSION")}
    env |= {"_EXPERIMENTAL_DAGGER_CLI_BIN": str(wrapper), "SLIPWAY_CACHE": str(tmp_path / "cache")}
    done = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True, check=False)
    assert done.stdout == "['f']\n", done.stderr


def test_a_service_that_never_opens_its_port_fails_when_its_time_is_up(run_script: Run):
    lines = """
debian = dag.container().from_("debian:trixie-slim")
service = debian.with_exposed_port(1).as_service(args=["sh", "-c", "echo slow; sleep 99"])
try:
    await service.start()
except dagger.QueryError as error:
    print(error)
"""
    done = run_script(lines, _ordinary(), DRYDOCK_SERVICE_SECONDS="1")
    assert "port 1 was not open after 1 s" in done.stdout
    assert "slow" in done.stdout


def _ordinary() -> Path:
    """The cache folder that has the base images already."""
    from drydock.store import cache_folder

    return cache_folder()
