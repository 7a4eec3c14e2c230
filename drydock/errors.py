"""Every error of the embedded engine: what happened, on what, and what to try."""

from __future__ import annotations

from typing import Any


class DrydockError(Exception):
    """The base of all errors that a client may see.

    The message is shown as it stands, so it names the thing at fault; it never holds a secret, because the session
    scrubs what it sends.
    """

    def extensions(self) -> dict[str, Any]:
        """What GraphQL carries beside the message."""
        return {}


class NotSupportedError(DrydockError):
    """The API has this, and the embedded engine does not."""

    def __init__(self, what: str) -> None:
        super().__init__(f"not supported by the embedded engine: {what}")


class InvalidArgumentError(DrydockError):
    """An argument that no engine would take."""


class PathNotFoundError(DrydockError):
    """A path that is not there, or is of another kind than asked for."""

    def __init__(self, path: str, what: str = "no such file or directory") -> None:
        super().__init__(f"{path}: {what}")


class ExecError(DrydockError):
    """A command that ended otherwise than `expect` allows; becomes `dagger.ExecError` in the SDK."""

    def __init__(self, cmd: list[str], exit_code: int, stdout: str, stderr: str) -> None:
        super().__init__(f'process "{" ".join(cmd)}" did not complete successfully: exit code: {exit_code}')
        self.cmd = cmd
        self.exit_code = exit_code
        self.stdout = stdout
        self.stderr = stderr

    def extensions(self) -> dict[str, Any]:
        """The members the SDK reads."""
        return {
            "_type": "EXEC_ERROR",
            "cmd": self.cmd,
            "exitCode": self.exit_code,
            "stdout": self.stdout.strip(),
            "stderr": self.stderr.strip(),
        }


class SandboxError(DrydockError):
    """The process could not even be started: a mount, a user or the command is missing."""


class ServiceError(DrydockError):
    """A service that ended early, or did not open its ports in time."""


class RegistryError(DrydockError):
    """A pull or a push that failed; carries the tool's own words."""


class ImageError(DrydockError):
    """An image reference or image that cannot be used."""


class GitError(DrydockError):
    """A git command that failed; carries git's own words."""


class HostToolError(DrydockError):
    """A program that the engine needs is not installed."""

    def __init__(self, tool: str, package: str) -> None:
        super().__init__(f"{tool} is not installed; try: apt-get install {package}")


class CacheFolderError(DrydockError):
    """The cache folder cannot be used."""

    def __init__(self, problem: str) -> None:
        super().__init__(f"cache folder {problem}; try: another one, as SLIPWAY_CACHE=/var/cache/slipway")


class CacheInUseError(DrydockError):
    """The cache folder cannot be pruned while a session uses it."""
