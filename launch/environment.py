"""Install the project's Python environment, `.venv`, and the Debian packages of the embedded engine."""

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
# How long to wait for another apt, in seconds: a fresh machine updates itself first.
APT_SECONDS = 600
APT_BUSY = ("Could not get lock", "Unable to lock")


class SetupError(Exception):
    """A requirement cannot be installed; the message names the failing command or what to run."""


def make(group: str) -> Path:
    """Install a dependency group of uv.lock into `.venv`; return its Python.

    Does nothing if the group is installed already. Concurrent calls wait; an interrupted one is repeated.

    Raises:
        SetupError: if a tool fails, with its last lines.
    """
    python = VENV / "bin" / "python"
    stamp = VENV / f".slipway-{group}"
    expected = hashlib.sha256(LOCK.read_bytes() + (ROOT / "pyproject.toml").read_bytes()).hexdigest()
    with _locked(ROOT / ".venv.lock"):
        if python.exists() and stamp.exists() and stamp.read_text() == expected:
            return python
        log(f"installing Python packages into {VENV.name} (once)")
        if not python.exists():
            require_debian({"ensurepip": "python3-venv"}, present=_importable)
            _run([sys.executable, "-m", "venv", "--clear", str(VENV)])
        # uv exports the lock file, and pip installs, so that pip's settings (mirror, proxy, CA) apply.
        requirements = VENV / "requirements.txt"
        requirements.write_text(locked("uv", LOCK.read_text()))
        _install(python, requirements)
        export = ["export", "--frozen", "--quiet", "--no-emit-project", "--group", group, "--output-file"]
        _run([str(VENV / "bin" / "uv"), *export, str(requirements)])
        _install(python, requirements)
        stamp.write_text(expected)
    return python


def locked(name: str, lock: str) -> str:
    """Return a package of a uv.lock as a requirement of pip: its version, and the hash of each file.

    Args:
        name: name of the package.
        lock: text of the uv.lock.
    """
    package = next(package for package in tomllib.loads(lock)["package"] if package["name"] == name)
    hashes = [file["hash"] for file in [*package["wheels"], package["sdist"]]]
    return " \\\n".join([f"{name}=={package['version']}", *(f"    --hash={value}" for value in hashes)]) + "\n"


def require_debian(packages: Mapping[str, str], *, present: Callable[[str], bool] | None = None) -> None:
    """Install the Debian packages of commands that are missing.

    Args:
        packages: the Debian package of each command (or module).
        present: returns whether a command exists; by default, whether it is on PATH.

    Raises:
        SetupError: if packages are missing and this user or system cannot install them, or apt fails.
    """
    exists = present or _on_path
    missing = sorted({package for command, package in packages.items() if not exists(command)})
    if not missing:
        return
    command = ["apt-get", "install", "--yes", "--no-install-recommends", *missing]
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise SetupError(f"these Debian packages are missing: {' '.join(missing)}\n  try: sudo {' '.join(command)}")
    log(f"installing Debian packages: {' '.join(missing)} (once)")
    try:
        _apt(command)
    except SetupError:
        # A fresh machine has no package lists, or outdated ones.
        _apt(["apt-get", "update"])
        _apt(command)


def log(message: str) -> None:
    """Print a line of progress to standard error."""
    print(f"slipway: {message}", file=sys.stderr, flush=True)  # noqa: T201


def _importable(module: str) -> bool:
    return subprocess.run([sys.executable, "-c", f"import {module}"], check=False, capture_output=True).returncode == 0


def _on_path(command: str) -> bool:
    return shutil.which(command, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin") is not None


def _install(python: Path, requirements: Path) -> None:
    """Install the requirements of a file, each verified by its hash."""
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    _run([*pip, "--require-hashes", "--requirement", str(requirements)])


def _apt(argv: list[str], seconds: float = APT_SECONDS) -> None:
    """Run apt; wait while another apt holds the lock."""
    deadline = time.monotonic() + seconds
    waiting = False
    while True:
        try:
            return _run(argv, os.environ | {"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"})
        except SetupError as error:
            if time.monotonic() > deadline or not any(message in str(error) for message in APT_BUSY):
                raise
        if not waiting:
            log(f"waiting for another apt (at most {seconds:g} s)")
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
