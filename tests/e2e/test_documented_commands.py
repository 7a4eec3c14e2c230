"""The commands of README and docs that need no account, as they are shown: in a clone, on each engine."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.documentation import ROOT, Script, runnable

pytestmark = pytest.mark.e2e

SECONDS = 1200
EMBEDDED = f"""#!/bin/sh
exec {sys.executable} -m drydock "$@"
"""


def identity(script: Script) -> str:
    return f"{script.page}: {script.text.splitlines()[0]}"


@pytest.fixture(scope="module")
def shell(engine_name: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A clone of the project, and the variables of a shell in it, in which `dagger` is there."""
    folder = tmp_path_factory.mktemp("documented")
    clone, home, tools = folder / "slipway", folder / "home", folder / "bin"
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).is_file():
            (clone / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, clone / name)
    home.mkdir()
    (home / ".npmrc").write_text("fund=false\n")
    tools.mkdir()
    if engine_name == "embedded":
        (tools / "dagger").write_text(EMBEDDED)
        (tools / "dagger").chmod(0o755)
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("DAGGER_", "SLIPWAY_", "GIT_"))}
    variables = kept | {
        "PATH": f"{tools}:{os.environ['PATH']}",
        "HOME": str(home),
        "XDG_CACHE_HOME": os.environ.get("XDG_CACHE_HOME", str(Path.home() / ".cache")),
        "COSIGN_PASSWORD": "made up for this test",
        "PWD": str(clone),
    }
    for who in ("AUTHOR", "COMMITTER"):
        variables |= {f"GIT_{who}_NAME": "Test", f"GIT_{who}_EMAIL": "test@example.com"}
    for argv in (["init", "-q", "-b", "main"], ["add", "-A"], ["commit", "-q", "-m", "a clone"]):
        subprocess.run(["git", *argv], cwd=clone, check=True, env=variables)
    yield variables
    shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.parametrize("script", runnable(), ids=identity)
def test_a_documented_command_succeeds_as_it_is_shown(shell: dict[str, str], script: Script):
    done = subprocess.run(
        ["sh", "-e", "-c", script.text],
        cwd=shell["PWD"],
        env=shell,
        check=False,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=SECONDS,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip(), done.stderr
