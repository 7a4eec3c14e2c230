"""Registries, by way of skopeo: pull, push, credentials, plain http on loopback, and its own words when it fails."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import re
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from drydock.errors import HostToolError, InvalidArgumentError, RegistryError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

SECONDS = 600
LOOPBACK = {"localhost", "127.0.0.1", "[::1]"}
_REFERENCE = re.compile(
    r"(?P<name>(?:[a-zA-Z0-9.\-]+(?::\d+)?/|\[[0-9a-fA-F:]+\](?::\d+)?/)?[a-z0-9]+(?:[._\-/]+[a-z0-9]+)*)"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9._\-]{0,127}))?"
    r"(?:@(?P<digest>sha256:[0-9a-f]{64}))?"
)
_UNREACHABLE = re.compile(
    r"pinging container registry .*(?:dial tcp|no such host|timeout|deadline exceeded|network is unreachable)",
    re.DOTALL,
)


@dataclass(frozen=True)
class Reference:
    """An image reference as written: `[host[:port]/]path[:tag][@sha256:…]`."""

    name: str
    tag: str
    digest: str

    @classmethod
    def parse(cls, text: str) -> Reference:
        """Read a reference.

        Raises
        ------
        InvalidArgumentError
            It has another form.
        """
        match = _REFERENCE.fullmatch(text)
        if not match:
            raise InvalidArgumentError(
                f"image reference {text!r} is malformed; write [host[:port]/]path[:tag][@sha256:…], path in lower case"
            )
        return cls(match["name"], match["tag"] or "", match["digest"] or "")

    @property
    def host(self) -> str:
        """The registry, with its port; docker.io where none is named."""
        first, slash, _ = self.name.partition("/")
        return first if slash and ("." in first or ":" in first or first == "localhost") else "docker.io"

    @property
    def plain_http(self) -> bool:
        """The registry is spoken to without TLS: on this machine, or beside it in a service's network."""
        return self.host.rpartition(":")[0] in LOOPBACK or self.host in LOOPBACK

    @property
    def pinned(self) -> str:
        """What skopeo takes: it knows no tag beside a digest."""
        if self.digest:
            return f"{self.name}@{self.digest}"
        return f"{self.name}:{self.tag or 'latest'}"


def skopeo_argv(command: Sequence[str], netns: str = "") -> list[str]:
    """Return the command line of skopeo, in a network namespace if one is named; it dies with the engine."""
    inside = ["nsenter", f"--net={netns}"] if netns else []
    policy = ["skopeo", "--insecure-policy", f"--command-timeout={SECONDS}s"]
    return ["setpriv", "--pdeathsig", "KILL", *inside, *policy, *command]


def inspect_argv(reference: Reference, authfile: str) -> list[str]:
    """Return skopeo's arguments that read a manifest as it is."""
    tls = ["--tls-verify=false"] if reference.plain_http else []
    return ["inspect", "--raw", f"--authfile={authfile}", *tls, f"docker://{reference.pinned}"]


def pull_argv(reference: Reference, folder: str, authfile: str) -> list[str]:
    """Return skopeo's arguments that fetch the image for this platform, bytes unchanged."""
    tls = ["--src-tls-verify=false"] if reference.plain_http else []
    options = [f"--src-authfile={authfile}", "--preserve-digests", *tls]
    return ["copy", *options, f"docker://{reference.pinned}", f"dir:{folder}"]


def push_argv(folder: str, reference: Reference, authfile: str) -> list[str]:
    """Return skopeo's arguments that push an image, bytes unchanged."""
    tls = ["--dest-tls-verify=false"] if reference.plain_http else []
    options = [f"--dest-authfile={authfile}", "--preserve-digests", *tls]
    return ["copy", *options, f"dir:{folder}", f"docker://{reference.pinned}"]


def load_argv(transport: str, archive: str, folder: str) -> list[str]:
    """Return skopeo's arguments that read an archive (`oci-archive`, `docker-archive`)."""
    return ["copy", f"{transport}:{archive}", f"dir:{folder}"]


def auth_json(credentials: Iterable[tuple[str, str, str]]) -> str:
    """Return the auth file for (registry address, user, password)."""
    auths = {
        _auth_host(address): {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}
        for address, user, password in credentials
    }
    return json.dumps({"auths": auths})


def _auth_host(address: str) -> str:
    """Return the registry of an address; Docker's own goes by two names."""
    host = address.removeprefix("https://").removeprefix("http://").partition("/")[0]
    return "docker.io" if host in ("index.docker.io", "registry-1.docker.io") else host


def words(stderr: str) -> str:
    """Return what skopeo means to say, out of its log line."""
    found = re.findall(r'level=fatal msg="((?:[^"\\]|\\.)*)"', stderr)
    text = found[-1] if found else stderr.strip()
    return text.replace('\\"', '"').replace("\\n", "\n")


def unreachable(error: RegistryError) -> bool:
    """Say whether no registry answered at all, rather than one that refused."""
    return _UNREACHABLE.search(str(error)) is not None


class Skopeo:
    """Runs skopeo with the credentials of one operation, from one place in the network."""

    def __init__(self, credentials: Iterable[tuple[str, str, str]] = (), netns: str = "") -> None:
        self._auth = auth_json(credentials)
        self._netns = netns

    async def inspect(self, reference: Reference) -> bytes:
        """Return a manifest's bytes."""
        return await self._run(f"cannot pull {reference.pinned}", lambda auth: inspect_argv(reference, auth))

    async def pull(self, reference: Reference, folder: str) -> None:
        """Fetch an image into a `dir:` folder."""
        await self._run(f"cannot pull {reference.pinned}", lambda auth: pull_argv(reference, folder, auth))

    async def push(self, folder: str, reference: Reference) -> None:
        """Push a `dir:` folder."""
        await self._run(f"cannot push to {reference.pinned}", lambda auth: push_argv(folder, reference, auth))

    async def load(self, transport: str, archive: str, folder: str) -> None:
        """Read an archive into a `dir:` folder."""
        await self._run("cannot read the image archive", lambda _: load_argv(transport, archive, folder))

    async def _run(self, doing: str, arguments: object) -> bytes:
        if not shutil.which("skopeo"):
            raise HostToolError("skopeo", "skopeo")
        auth = os.memfd_create("auth")  # in memory only, and gone with the last descriptor
        try:
            os.write(auth, self._auth.encode())
            argv = skopeo_argv(arguments(f"/proc/self/fd/{auth}"), self._netns)  # type: ignore[operator]
            pipe = asyncio.subprocess.PIPE
            process = await asyncio.create_subprocess_exec(
                *argv, stdin=asyncio.subprocess.DEVNULL, stdout=pipe, stderr=pipe, pass_fds=(auth,)
            )
            try:
                stdout, stderr = await process.communicate()
            except BaseException:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
                raise
        finally:
            os.close(auth)
        if process.returncode:
            raise RegistryError(f"{doing}: {words(stderr.decode('utf-8', 'replace'))}")
        return stdout
