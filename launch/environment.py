"""The project's own Python environment, `.venv`, and the Debian packages of the embedded engine."""

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
# Reads the lock file for pip, which does the installing: so pip's own settings (mirror, proxy, CA) hold.
UV = "uv>=0.9,<1"


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
    wanted = hashlib.sha256((ROOT / "uv.lock").read_bytes() + (ROOT / "pyproject.toml").read_bytes()).hexdigest()
    with _locked(ROOT / ".venv.lock"):
        if python.exists() and stamp.exists() and stamp.read_text() == wanted:
            return python
        say(f"installing Python packages into {VENV.name} (once)")
        if not python.exists():
            require_debian({"ensurepip": "python3-venv"}, present=_importable)
            _run([sys.executable, "-m", "venv", "--clear", str(VENV)])
        _run([str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", UV])
        requirements = VENV / "requirements.txt"
        export = ["export", "--frozen", "--quiet", "--no-emit-project", "--group", group, "--output-file"]
        _run([str(VENV / "bin" / "uv"), *export, str(requirements)])
        install = [
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--require-hashes",
            "--requirement",
        ]
        _run([str(python), *install, str(requirements)])
        stamp.write_text(wanted)
    return python


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
    quiet = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    try:
        _run(command, quiet)
    except SetupError:
        # A fresh machine has no package lists yet, or old ones.
        _run(["apt-get", "update"], quiet)
        _run(command, quiet)


def say(message: str) -> None:
    """Tell the person at the terminal what takes time."""
    print(f"slipway: {message}", file=sys.stderr, flush=True)  # noqa: T201


def _importable(module: str) -> bool:
    return subprocess.run([sys.executable, "-c", f"import {module}"], check=False, capture_output=True).returncode == 0


def _on_path(command: str) -> bool:
    return shutil.which(command, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin") is not None


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
