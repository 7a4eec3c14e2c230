"""Which engine runs the module: the one place where that is decided."""

import dataclasses
import os
import platform
import shutil
import subprocess
from collections.abc import Mapping, Sequence

from launch import environment
from launch.environment import say

VARIABLE = "SLIPWAY_ENGINE"
RUNNER_HOST = "_EXPERIMENTAL_DAGGER_RUNNER_HOST"
# How long a Dagger CLI may take to reach its engine, in seconds; the first time it may have to pull it.
REACH_SECONDS = 120
# What the Dagger CLI can start its engine with.
RUNTIMES = ("docker", "podman", "nerdctl", "finch", "container")
# Command to Debian package: what drydock/ calls.
EMBEDDED_PACKAGES = {
    "git": "git",
    "ip": "iproute2",
    "mmdebstrap": "mmdebstrap",
    "skopeo": "skopeo",
    "slirp4netns": "slirp4netns",
    "unshare": "util-linux",
}
# The functions that a shipment has: with one of them on the command line, the terminal's table is not asked for.
SHIPMENT_FUNCTIONS = {
    "document", "evidence", "id", "markdown", "passed", "reference", "report", "summary", "sync", "table",
}  # fmt: skip


class EngineError(Exception):
    """No engine can be had; the message says what to do."""


@dataclasses.dataclass(frozen=True)
class Engine:
    """An engine, and why it was chosen.

    Args:
        name: `dagger` or `embedded`.
        cli: path of the Dagger CLI, for `dagger`.
        variables: what the CLI needs in its environment.
    """

    name: str
    why: str
    cli: str = ""
    variables: Mapping[str, str] = dataclasses.field(default_factory=dict)


def choose(variables: Mapping[str, str]) -> Engine:
    """Choose the engine: as asked for, else a Dagger Engine that answers, else the embedded one.

    Args:
        variables: the environment; SLIPWAY_ENGINE is `dagger`, `embedded`, or an engine's address such as
            tcp://host:port, unix:///path or docker-container://name.

    Raises:
        EngineError: if the asked one cannot be had, or none can.
    """
    wanted = variables.get(VARIABLE, "")
    if wanted == "embedded":
        _check_embedded()
        return Engine("embedded", f"{VARIABLE}=embedded")
    if wanted and wanted != "dagger" and "://" not in wanted:
        raise EngineError(
            f"{VARIABLE}={wanted!r} is unknown\n  try: dagger, embedded, or an address such as tcp://host:port"
        )

    extra = {RUNNER_HOST: wanted} if "://" in wanted else {}
    cli = shutil.which("dagger") or _provisioned(variables)
    trouble = _unreachable(cli, dict(variables) | extra)
    if not trouble:
        return Engine("dagger", "a Dagger Engine answers", str(cli), extra)
    if wanted:
        raise EngineError(f"{VARIABLE}={wanted}: {trouble}\n  try: dagger core version")
    _check_embedded()
    return Engine("embedded", trouble)


def announce(engine: Engine) -> None:
    """Say in one line what runs, where it is not what a reader of the documentation expects."""
    if engine.name == "embedded":
        say(f"using the embedded engine: {engine.why}")


def can_embed() -> bool:
    """Whether the embedded engine can run here: Linux, root, Debian's package tool."""
    return platform.system() == "Linux" and os.geteuid() == 0 and shutil.which("apt-get") is not None


def why_not(name: str, variables: Mapping[str, str]) -> str:
    """Return why an engine (`dagger` or `embedded`) cannot be had, or nothing."""
    if name == "embedded":
        return "" if can_embed() else "the embedded engine needs root on Debian or Ubuntu"
    return _unreachable(shutil.which("dagger"), variables)


def with_summary(arguments: Sequence[str]) -> list[str]:
    """Return the arguments of `ship`, ending in a function that prints: the summary, unless another is named."""
    if any(argument in SHIPMENT_FUNCTIONS or argument in {"--help", "-h"} for argument in arguments):
        return list(arguments)
    return [*arguments, "summary"]


def _provisioned(variables: Mapping[str, str]) -> str | None:
    """Return the pinned Dagger CLI, fetched by the SDK, where a container runtime could run its engine."""
    runtime = next((name for name in RUNTIMES if _answers([name, "info"])), None)
    if not runtime and RUNNER_HOST not in variables:
        return None
    say("fetching the Dagger CLI (once)")
    fetch = "from pipeline.core.sdk import download_cli; print(download_cli())"
    python = environment.make("embedded")
    done = subprocess.run([python, "-c", fetch], check=False, capture_output=True, text=True, cwd=environment.ROOT)
    if done.returncode != 0:
        say(f"it cannot be fetched: {(done.stderr.strip().splitlines() or ['no reason given'])[-1]}")
        return None
    return done.stdout.strip()


def _answers(command: list[str]) -> bool:
    """Whether a command is there and succeeds."""
    try:
        return subprocess.run(command, check=False, capture_output=True, timeout=10).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def _unreachable(cli: str | None, variables: Mapping[str, str]) -> str:
    """Return why no Dagger Engine can be had, or nothing."""
    if not cli:
        return "there is no dagger on PATH"
    try:
        done = subprocess.run(
            [cli, "core", "version"], check=False, capture_output=True, text=True, env=variables, timeout=REACH_SECONDS
        )
    except subprocess.TimeoutExpired:
        return f"the Dagger Engine did not answer within {REACH_SECONDS} s"
    if done.returncode == 0:
        return ""
    last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
    return f"dagger reaches no engine ({last.strip()})"


def _check_embedded() -> None:
    if not can_embed():
        raise EngineError(
            "there is no engine: the embedded one needs root on Debian or Ubuntu\n"
            "  try: install Docker and the Dagger CLI (docs.dagger.io/install), or run this as root on Debian"
        )
