"""`python3 -m launch ship [arguments]` and `python3 -m launch test [--all | pytest arguments]`."""

import os
import sys

from launch import engine, environment, suite
from launch.arguments import ship_command


def ship(arguments: list[str]) -> int:
    """Run the module's `ship` on the chosen engine; return its exit code."""
    chosen = engine.choose(os.environ)
    engine.announce(chosen)
    command = ["call", *ship_command(arguments)]
    if chosen.name == "dagger":
        os.execvpe(chosen.cli, [chosen.cli, *command], os.environ | chosen.variables)
    python = environment.make("embedded")
    environment.require_debian(engine.EMBEDDED_PACKAGES)
    os.execv(python, [str(python), "-m", "drydock", *command])
    return 1  # not reached: exec replaces this process


def main() -> int:
    """Run the command named by the first argument."""
    try:
        command, *arguments = sys.argv[1:]
        return {"ship": ship, "test": suite.run}[command](arguments)
    except (environment.SetupError, engine.EngineError) as error:
        print(f"{sys.argv[1]}: {error}", file=sys.stderr)  # noqa: T201
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
