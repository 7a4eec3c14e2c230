"""The project's own Python environment, `.venv`, and the Debian packages of the embedded engine."""

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
LOCK = ROOT / "uv.lock"
# How long another apt may be at work, in seconds: on a fresh machine it updates itself first.
APT_SECONDS = 600
APT_BUSY = ("Could not get lock", "Unable to lock")


class SetupError(Exception):
    """Something that the project needs cannot be installed; the message says what to do."""


def make(group: str) -> Path:
    """Make `.venv` hold what uv.lock says for a dependency group; return its Python.

    Nothing is done where it does already. Two at once wait for one another; a killed one is done again.

    Raises:
        SetupError: if a tool fails, with its last lines.
    """
    python = VENV / "bin" / "python"
    stamp = VENV / f".slipway-{group}"
    wanted = hashlib.sha256(LOCK.read_bytes() + (ROOT / "pyproject.toml").read_bytes()).hexdigest()
    with _locked(ROOT / ".venv.lock"):
        if python.exists() and stamp.exists() and stamp.read_text() == wanted:
            return python
        say(f"installing Python packages into {VENV.name} (once)")
        if not python.exists():
            require_debian({"ensurepip": "python3-venv"}, present=_importable)
            _run([sys.executable, "-m", "venv", "--clear", str(VENV)])
        # uv reads the lock file for pip, which does the installing: so pip's own settings (mirror, proxy, CA) hold.
        requirements = VENV / "requirements.txt"
        requirements.write_text(locked("uv", LOCK.read_text()))
        _install(python, requirements)
        export = ["export", "--frozen", "--quiet", "--no-emit-project", "--group", group, "--output-file"]
        _run([str(VENV / "bin" / "uv"), *export, str(requirements)])
        _install(python, requirements)
        stamp.write_text(wanted)
    return python


def locked(name: str, lock: str) -> str:
    """Return the requirement, as pip reads it, of a package in a uv.lock: its version, and a hash of each file.

    Args:
        name: of the package.
        lock: text of the uv.lock.
    """
    package = next(package for package in tomllib.loads(lock)["package"] if package["name"] == name)
    hashes = [file["hash"] for file in [*package["wheels"], package["sdist"]]]
    return " \\\n".join([f"{name}=={package['version']}", *(f"    --hash={value}" for value in hashes)]) + "\n"


def require_debian(packages: Mapping[str, str], *, present: Callable[[str], bool] | None = None) -> None:
    """Install the Debian packages whose commands are missing.

    Args:
        packages: command (or module) to package.
        present: tells whether one is there; default: on PATH.

    Raises:
        SetupError: if some are missing and cannot be installed from here.
    """
    found = present or _on_path
    missing = sorted({package for command, package in packages.items() if not found(command)})
    if not missing:
        return
    command = ["apt-get", "install", "--yes", "--no-install-recommends", *missing]
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise SetupError(f"these Debian packages are missing: {' '.join(missing)}\n  try: sudo {' '.join(command)}")
    say(f"installing Debian packages: {' '.join(missing)} (once)")
    try:
        _apt(command)
    except SetupError:
        # A fresh machine has no package lists yet, or old ones.
        _apt(["apt-get", "update"])
        _apt(command)


def say(message: str) -> None:
    """Tell the person at the terminal what takes time."""
    print(f"slipway: {message}", file=sys.stderr, flush=True)  # noqa: T201


def _importable(module: str) -> bool:
    return subprocess.run([sys.executable, "-c", f"import {module}"], check=False, capture_output=True).returncode == 0


def _on_path(command: str) -> bool:
    return shutil.which(command, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin") is not None


def _install(python: Path, requirements: Path) -> None:
    """Install what a file names, and nothing whose hash is not in it."""
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    _run([*pip, "--require-hashes", "--requirement", str(requirements)])


def _apt(argv: list[str], seconds: float = APT_SECONDS) -> None:
    """Run apt, after any other that is at work."""
    deadline = time.monotonic() + seconds
    waiting = False
    while True:
        try:
            return _run(argv, os.environ | {"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"})
        except SetupError as error:
            if time.monotonic() > deadline or not any(words in str(error) for words in APT_BUSY):
                raise
        if not waiting:
            say(f"waiting for another apt (at most {seconds:g} s)")
            waiting = True
        time.sleep(1)


def _run(argv: list[str], variables: Mapping[str, str] | None = None) -> None:
    done = subprocess.run(argv, check=False, capture_output=True, text=True, env=variables, cwd=ROOT)
    if done.returncode != 0:
        lines = f"{done.stdout}\n{done.stderr}".strip().splitlines()[-10:]
        raise SetupError(
            f"`{' '.join(argv)}` exited with {done.returncode}\n" + "\n".join(f"    {line}" for line in lines)
        )


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
