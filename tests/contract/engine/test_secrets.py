"""Secrets reach commands, and nothing else."""

import contextlib
import stat
import subprocess
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import dagger
import pytest

from drydock.store import cache_folder

# Not a literal: the cache folder may hold a copy of this file.
PLAIN = uuid.uuid4().hex


async def test_a_secret_variable_reaches_the_command_and_no_output(dag: dagger.Client, debian: dagger.Container):
    secret = dag.set_secret("token", PLAIN)
    ran = debian.with_secret_variable("TOKEN", secret).with_exec(["sh", "-c", "echo $TOKEN; printf %s $TOKEN | wc -c"])
    assert await ran.stdout() == f"***\n{len(PLAIN)}\n"
    assert await ran.env_variable("TOKEN") is None


async def test_a_mounted_secret_has_its_owner_and_mode_and_leaves_no_file(dag: dagger.Client, debian: dagger.Container):
    secret = dag.set_secret("token", PLAIN)
    ctr = debian.with_mounted_secret("/run/token", secret, owner="1000:1000", mode=0o440)
    ran = ctr.with_exec(["sh", "-c", "stat -c '%a %u:%g' /run/token; wc -c < /run/token"])
    assert await ran.stdout() == f"440 1000:1000\n{len(PLAIN)}\n"
    assert not await ran.rootfs().exists("run/token")


async def test_a_failing_command_tells_no_secret(dag: dagger.Client, debian: dagger.Container):
    secret = dag.set_secret("token", PLAIN)
    ctr = debian.with_secret_variable("TOKEN", secret)
    with pytest.raises(dagger.ExecError) as caught:
        await ctr.with_exec(["sh", "-c", "echo $TOKEN; echo $TOKEN >&2; exit 1"]).sync()
    assert PLAIN not in f"{caught.value} {caught.value.stdout} {caught.value.stderr}"
    assert caught.value.stdout == "***"


async def test_a_short_secret_is_hidden_in_the_output_of_the_command_that_has_it(
    dag: dagger.Client, debian: dagger.Container
):
    ctr = debian.with_secret_variable("PIN", dag.set_secret("pin", "7"))
    assert await ctr.with_exec(["sh", "-c", "echo PIN is $PIN"]).stdout() == "PIN is ***\n"


async def test_a_secret_is_read_from_environment_file_and_command(
    dag: dagger.Client, tmp_path: Path, debian: dagger.Container
):
    (tmp_path / "secret").write_text("from-a-file")
    for uri, length in ((f"file://{tmp_path}/secret", 11), ("cmd://printf from-a-command", 14)):
        ctr = debian.with_secret_variable("S", dag.secret(uri))
        assert await ctr.with_exec(["sh", "-c", "printf %s $S | wc -c"]).stdout() == f"{length}\n"


async def test_a_command_is_not_run_again_for_the_same_secret(dag: dagger.Client, debian: dagger.Container, fresh: str):
    command = ["cat", "/proc/sys/kernel/random/uuid"]

    async def run(plaintext: str) -> str:
        secret = dag.set_secret("token", plaintext)
        return await debian.with_secret_variable("TOKEN", secret).with_exec(command).stdout()

    assert await run(fresh) == await run(fresh)


@pytest.mark.drydock
def test_no_secret_is_in_the_cache_folder_or_in_the_log(run_script: Callable[..., subprocess.CompletedProcess[str]]):
    lines = f"""
secret = dag.set_secret("name", "{PLAIN}")
debian = dag.container().from_("debian:trixie-slim")
ctr = debian.with_secret_variable("A", secret).with_mounted_secret("/s", secret)
await ctr.with_exec(["sh", "-c", "echo $A; cat /s; cat /s >&2"]).sync()
print(await ctr.with_exec(["sh", "-c", "cat /s /nosuch"], expect=dagger.ReturnType.ANY).combined_output())
"""
    cache = cache_folder()
    since = time.time() - 1
    done = run_script(lines, cache, DRYDOCK_VERBOSE="1")
    assert done.returncode == 0, done.stderr
    assert "***" in done.stdout
    assert PLAIN not in done.stdout + done.stderr
    written = files_changed_since(cache, since)
    assert written
    assert [path for path, content in written.items() if PLAIN.encode() in content] == []


def files_changed_since(folder: Path, since: float) -> dict[Path, bytes]:
    """Return the files that were written, by the clock of their inodes, which nothing sets back."""
    changed = {}
    for path in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):  # another session removes what is its own
            status = path.lstat()
            if stat.S_ISREG(status.st_mode) and status.st_ctime >= since:
                changed[path] = path.read_bytes()
    return changed
