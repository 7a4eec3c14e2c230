"""`python3 -m launch ship [arguments]` and `python3 -m launch test [pytest arguments]`."""

import os
import subprocess
import sys

from launch import engine, environment

WAITING = "tests/cluster"
PROCESSES = 3


def ship(arguments: list[str]) -> int:
    """Run the module's `ship` on the engine that is there; return its exit code."""
    chosen = engine.choose(os.environ)
    engine.announce(chosen)
    command = ["call", "ship", *engine.with_summary(arguments)]
    if chosen.name == "dagger":
        os.execvpe(chosen.cli, [chosen.cli, *command], os.environ | chosen.variables)
    python = environment.make("embedded")
    environment.require_debian(engine.EMBEDDED_PACKAGES)
    os.execv(python, [str(python), "-m", "drydock", *command])
    return 1  # not reached: exec replaces this process


def test(arguments: list[str]) -> int:
    """Run lint, types and tests; return the first failing exit code."""
    python = environment.make("dev")
    if engine.can_embed():
        environment.require_debian(engine.EMBEDDED_PACKAGES)
    checks = (
        ["ruff", "check", "--quiet"],
        ["ruff", "format", "--check", "--quiet"],
        ["mypy"],
    )
    if arguments:
        return subprocess.run([python, "-m", "pytest", *arguments], check=False).returncode
    for check in checks:
        print(f"test: {' '.join(check)}", flush=True)  # noqa: T201
        if code := subprocess.run([python, "-m", *check], check=False).returncode:
            return code
    # What waits for a cluster most of its time is run at the same time; what uses the machine is not.
    suites = (["tests", "--ignore", WAITING], [WAITING, "--numprocesses", str(PROCESSES)])
    codes = [subprocess.run([python, "-m", "pytest", *suite], check=False).returncode for suite in suites]
    return next((code for code in codes if code), 0)


def main() -> int:
    """Run the command named by the first argument."""
    try:
        command, *arguments = sys.argv[1:]
        return {"ship": ship, "test": test}[command](arguments)
    except (environment.SetupError, engine.EngineError) as error:
        print(f"{sys.argv[1]}: {error}", file=sys.stderr)  # noqa: T201
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
