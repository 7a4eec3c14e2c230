"""The suites of `./test`: lint, types and tests, each announced with the time it usually takes.

./test         the fast suite: lint, types, unit, workflow and contract tests
./test --all   everything: also the end-to-end tests and those on a Kubernetes control plane
./test ARGS    pytest with ARGS, such as -k registry tests/unit
"""

import contextlib
import dataclasses
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from launch import engine, environment

ALL = "--all"
# Suites use the processors; tests on the control plane mostly wait for it.
PROCESSES = 2
CLUSTER_PROCESSES = 3
LOG_LINES = 20
BUILD = "from tests.cluster import control_plane; control_plane.missing() or control_plane.build()"


@dataclasses.dataclass(frozen=True)
class Phase:
    """A command that is run, by the environment's Python.

    Args:
        name: as announced.
        estimate: how long it takes on two cores, from empty caches and later.
        module: as in `python -m`, with its arguments.
    """

    name: str
    estimate: str
    module: Sequence[str]


def pytest(select: str, processes: int) -> list[str]:
    """Return pytest's command line for the tests of a marker expression; tests/conftest.py distributes them."""
    return ["pytest", "-m", select, "--numprocesses", str(processes), "--durations", "10", "--durations-min", "5"]


CHECKS = (
    Phase("ruff check", "1 s", ["ruff", "check", "--quiet"]),
    Phase("ruff format", "1 s", ["ruff", "format", "--check", "--quiet"]),
    Phase("mypy", "10 s at first, then 1 s", ["mypy"]),
)
FAST = Phase(
    "unit, workflow and contract tests",
    "6 min at first, then 3 min",
    pytest("not e2e and not kubernetes", PROCESSES),
)
COMPLETE = Phase(
    "unit, workflow, contract and end-to-end tests",
    "11 min at first, then 7 min",
    pytest("not kubernetes", PROCESSES),
)
CLUSTER = Phase(
    "tests on a Kubernetes control plane",
    "6 min, once it is built",
    pytest("kubernetes", CLUSTER_PROCESSES),
)


def run(arguments: Sequence[str]) -> int:
    """Run the suites that the arguments name; return the first failing exit code.

    A failing check stops the run at once; after a failing suite the next one still runs.
    """
    if list(arguments) in (["--help"], ["-h"]):
        print(__doc__.partition("\n\n")[2].strip())  # noqa: T201
        return 0
    complete = list(arguments) == [ALL]
    python = environment.make("dev")
    if engine.can_embed():
        environment.require_debian(engine.EMBEDDED_PACKAGES)
    if arguments and not complete:
        return _run(python, ["pytest", *arguments])
    suites = (COMPLETE, CLUSTER) if complete else (FAST,)
    began = time.monotonic()
    with _control_plane(python) if complete else contextlib.nullcontext():
        codes = list(_codes(python, suites))
    code = next((code for code in codes if code), 0)
    _announce(f"{'failed' if code else 'passed'} in {_readable(time.monotonic() - began)}")
    return code


def _codes(python: Path, suites: Sequence[Phase]) -> Iterator[int]:
    """Run the checks, until one fails, and the suites; yield their exit codes."""
    phases = [*CHECKS, *suites]
    for number, phase in enumerate(phases, 1):
        _announce(f"{number}/{len(phases)} {phase.name} (about {phase.estimate})")
        began = time.monotonic()
        code = _run(python, phase.module)
        if code or phase not in CHECKS:
            _announce(f"{phase.name}: {'failed' if code else 'passed'} in {_readable(time.monotonic() - began)}")
        yield code
        if code and phase in CHECKS:
            return


@contextlib.contextmanager
def _control_plane(python: Path) -> Iterator[None]:
    """Build the tests' control plane, where it is missing, behind what runs meanwhile; its tests wait for it."""
    _announce("a Kubernetes control plane is built in the background, where there is none (about 10 min, once)")
    with tempfile.TemporaryFile("w+") as output:
        builder = subprocess.Popen(
            ["nice", str(python), "-c", BUILD],
            cwd=environment.ROOT,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            yield
        finally:
            if builder.poll() is None:
                os.killpg(builder.pid, signal.SIGTERM)
            if builder.wait() > 0:
                output.seek(0)
                lines = output.read().splitlines()[-LOG_LINES:]
                _announce("the control plane cannot be built\n" + "\n".join(f"    {line}" for line in lines))


def _run(python: Path, module: Sequence[str]) -> int:
    return subprocess.run([python, "-m", *module], check=False, cwd=environment.ROOT).returncode


def _announce(message: str) -> None:
    print(f"test: {message}", flush=True)  # noqa: T201


def _readable(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
