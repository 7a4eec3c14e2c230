"""Choose the engine that runs the module."""

import dataclasses
import os
import platform
import shutil
import subprocess
from collections.abc import Mapping

from launch import environment
from launch.environment import log

VARIABLE = "SLIPWAY_ENGINE"
RUNNER_HOST = "_EXPERIMENTAL_DAGGER_RUNNER_HOST"
# How long a Dagger CLI may take to reach its engine, in seconds: the first time it pulls the engine's image.
REACH_SECONDS = 120
# The container runtimes with which the Dagger CLI can start its engine.
RUNTIMES = ("docker", "podman", "nerdctl", "finch", "container")
# The commands that drydock/ calls, and the Debian package of each.
EMBEDDED_PACKAGES = {
    "git": "git",
    "ip": "iproute2",
    "mmdebstrap": "mmdebstrap",
    "skopeo": "skopeo",
    "slirp4netns": "slirp4netns",
    "unshare": "util-linux",
}


class EngineError(Exception):
    """No engine is available; the message names what to install or set."""


@dataclasses.dataclass(frozen=True)
class Engine:
    """An engine, and the reason for choosing it.

    Args:
        name: `dagger` or `embedded`.
        why: the reason, in one line.
        cli: path of the Dagger CLI, for `dagger`.
        variables: additional environment variables of the CLI.
    """

    name: str
    why: str
    cli: str = ""
    variables: Mapping[str, str] = dataclasses.field(default_factory=dict)


def choose(variables: Mapping[str, str]) -> Engine:
    """Return the requested engine, else a Dagger Engine that answers, else the embedded engine.

    Args:
        variables: the environment; SLIPWAY_ENGINE is `dagger`, `embedded`, or an engine's address such as
            tcp://host:port, unix:///path or docker-container://name.

    Raises:
        EngineError: if the requested engine, or any engine, is not available.
    """
    requested = variables.get(VARIABLE, "")
    if requested == "embedded":
        _check_embedded()
        return Engine("embedded", f"{VARIABLE}=embedded")
    if requested and requested != "dagger" and "://" not in requested:
        raise EngineError(
            f"{VARIABLE}={requested!r} is unknown\n  try: dagger, embedded, or an address such as tcp://host:port"
        )

    extra = {RUNNER_HOST: requested} if "://" in requested else {}
    cli = shutil.which("dagger") or _provisioned(variables)
    reason = _why_unreachable(cli, dict(variables) | extra)
    if not reason:
        return Engine("dagger", "a Dagger Engine answers", str(cli), extra)
    if requested:
        raise EngineError(f"{VARIABLE}={requested}: {reason}\n  try: dagger core version")
    _check_embedded()
    return Engine("embedded", reason)


def announce(engine: Engine) -> None:
    """Log that the embedded engine is used, and why: a reader of the documentation expects the Dagger Engine."""
    if engine.name == "embedded":
        log(f"using the embedded engine: {engine.why}")


def can_embed() -> bool:
    """Return whether the embedded engine can run here: as root on Linux, with Debian's package tool."""
    return platform.system() == "Linux" and os.geteuid() == 0 and shutil.which("apt-get") is not None


def why_not(name: str, variables: Mapping[str, str]) -> str:
    """Return why an engine (`dagger` or `embedded`) is not available, or an empty string."""
    if name == "embedded":
        return "" if can_embed() else "the embedded engine needs root on Debian or Ubuntu"
    return _why_unreachable(shutil.which("dagger"), variables)


def _provisioned(variables: Mapping[str, str]) -> str | None:
    """Return the path of the pinned Dagger CLI, which the SDK downloads, if a container runtime can run its engine."""
    runtime = next((name for name in RUNTIMES if _answers([name, "info"])), None)
    if not runtime and RUNNER_HOST not in variables:
        return None
    log("downloading the Dagger CLI (once)")
    download = "from pipeline.core.sdk import download_cli; print(download_cli())"
    python = environment.make("embedded")
    done = subprocess.run([python, "-c", download], check=False, capture_output=True, text=True, cwd=environment.ROOT)
    if done.returncode != 0:
        log(f"the Dagger CLI cannot be downloaded: {(done.stderr.strip().splitlines() or ['no reason given'])[-1]}")
        return None
    return done.stdout.strip()


def _answers(command: list[str]) -> bool:
    """Return whether a command exists and succeeds within ten seconds."""
    try:
        return subprocess.run(command, check=False, capture_output=True, timeout=10).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def _why_unreachable(cli: str | None, variables: Mapping[str, str]) -> str:
    """Return why no Dagger Engine can be reached, or an empty string."""
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
