"""`python3 -m bench [embedded|dagger]`: run the comparisons and print them as a table.

Figures are ratios of medians of runs that take turns, so that a machine that is busy or slow is so for both sides.
"""

import argparse
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from launch import environment

ROOT = Path(__file__).resolve().parent.parent
ROW = re.compile(r"^  (\w+) +[✔✘!·] [\w ]+? +([0-9.]+)(?: |$)", re.MULTILINE)
# What plain.sh calls.
PLAIN_TOOLS = ("node", "npm", "initdb", "postgres", "pg_isready", "buildah", "docker-registry", "curl", "bc")


class Project:
    """A clone to measure in, so that commits of the measurement stay out of the project."""

    def __init__(self, folder: Path, engine: str) -> None:
        self.folder = folder / "slipway"
        self.engine = engine
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(self.folder)], check=True)
        (self.folder / ".venv").symlink_to(ROOT / ".venv")

    def ship(self) -> str:
        """Ship once; return the summary."""
        done = subprocess.run(
            ["./ship"], cwd=self.folder, capture_output=True, text=True, env=self.variables, check=False
        )
        if done.returncode:
            sys.exit(f"bench: ./ship failed\n{done.stdout}{done.stderr}")
        return done.stdout

    def list_functions(self) -> None:
        """Connect to the engine and list the module's functions: what every call pays first."""
        listing = (
            ["dagger", "functions"]
            if self.engine == "dagger"
            else [str(ROOT / ".venv/bin/python"), "-m", "drydock", "call", "--help"]
        )
        subprocess.run(listing, cwd=self.folder, env=self.variables, capture_output=True, check=True)

    def change_a_line(self) -> None:
        """Change one line of the service, and commit."""
        source = self.folder / "app" / "src" / "operations.ts"
        with source.open("a") as file:
            file.write(f"// {time.time_ns()}\n")
        identity = ["-c", "user.name=Bench", "-c", "user.email=bench@example.com"]
        subprocess.run(["git", *identity, "commit", "--quiet", "--all", "-m", "one line"], cwd=self.folder, check=True)

    @property
    def variables(self) -> dict[str, str]:
        """The environment, with the engine named."""
        return os.environ | {"SLIPWAY_ENGINE": self.engine}


def seconds(work: Callable[[], object]) -> float:
    """Return how long something takes."""
    began = time.monotonic()
    work()
    return time.monotonic() - began


def by_stage(summary: str) -> dict[str, float]:
    """Read the seconds of each stage from a summary."""
    return {name: float(took) for name, took in ROW.findall(summary)}


def compare(name: str, ours: list[float], theirs: list[float], against: str) -> str:
    """Return a row: the ratio of medians, and what it is made of."""
    mine, other = statistics.median(ours), statistics.median(theirs)
    return f"| {name} | {against} | {mine / other:.2f} | {mine:.1f} s / {other:.1f} s | {len(ours)} |"


def plain(project: Project, base: Path, folder: Path) -> None:
    """Do the same steps without Slipway."""
    subprocess.run([ROOT / "bench" / "plain.sh", project.folder / "app", base, folder], check=True)


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python3 -m bench", description=__doc__)
    parser.add_argument("engine", nargs="?", default="embedded", choices=["embedded", "dagger"])
    parser.add_argument("--runs", type=int, default=3, help="runs of each side (3)")
    parser.add_argument(
        "--base", type=Path, help="archive (OCI) of the Node image for plain.sh; without it, it is left out"
    )
    arguments = parser.parse_args()
    environment.make("embedded")
    rows = []
    with tempfile.TemporaryDirectory(prefix="slipway-bench-") as temporary:
        Path(temporary).chmod(0o755)  # plain.sh runs PostgreSQL as another user
        project = Project(Path(temporary), arguments.engine)
        project.ship()  # what is made once is not what is compared

        unchanged, listed = [], []
        for _ in range(arguments.runs):
            listed.append(seconds(project.list_functions))
            unchanged.append(seconds(project.ship))
        rows.append(compare("ship, nothing changed", unchanged, listed, "connect and list functions"))
        stages = {"nothing changed": by_stage(project.ship())}

        missing = [tool for tool in PLAIN_TOOLS if not shutil.which(tool)]
        changed, by_hand = [], []
        for _ in range(arguments.runs):
            project.change_a_line()
            began = time.monotonic()
            stages["one line changed"] = by_stage(project.ship())
            changed.append(time.monotonic() - began)
            if arguments.base and not missing:
                by_hand.append(seconds(lambda: plain(project, arguments.base, Path(temporary) / "plain")))
        if by_hand:
            rows.append(compare("ship, one line changed", changed, by_hand, "the same steps as a shell script"))
        else:
            reason = f"missing: {', '.join(missing)}" if missing else "no --base"
            rows.append(f"| ship, one line changed | not compared: {reason} | | {statistics.median(changed):.1f} s | |")

    print(f"| {arguments.engine} engine | ÷ | ratio | medians | runs |\n|---|---|---:|---|---:|")  # noqa: T201
    print("\n".join(rows))  # noqa: T201
    names = list(stages["nothing changed"])
    print(f"\n| seconds of one run | {' | '.join(names)} |\n|---|{'---:|' * len(names)}")  # noqa: T201
    for title, times in stages.items():
        print(f"| {title} | {' | '.join(f'{times[name]:.1f}' for name in names)} |")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
