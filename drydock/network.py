"""The session's network: a switch of its own, a namespace per command, and a way out through slirp4netns.

All of it lives in namespaces that nobody but the engine holds, by open file descriptors: the host's network is not
touched, and everything is gone with the process. Every namespace has an address on one bridge; slirp4netns, a user
space TCP/IP stack, is plugged into the same bridge as gateway and name server.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import os
import shutil
import socket
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from drydock import mounts
from drydock.errors import HostToolError, SandboxError

if TYPE_CHECKING:
    from collections.abc import Callable

    from drydock.store import Store

T = TypeVar("T")

SUBNET = ipaddress.ip_network("10.213.0.0/16")
BRIDGE = str(SUBNET[1])
GATEWAY = str(SUBNET[2])
NAME_SERVER = str(SUBNET[3])
FIRST = 16
MTU = 65520
SPARE = 2


@dataclass
class Namespace:
    """A network namespace with one address on the session's switch; `close` lets it go."""

    fd: int
    address: str = ""

    @property
    def path(self) -> str:
        """What setns and nsenter open."""
        return f"/proc/{os.getpid()}/fd/{self.fd}"

    def close(self) -> None:
        """Let go; the kernel removes the namespace when its last process ends."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def join_commands(switch: str, port: str, address: str) -> str:
    """Return the `ip -batch` script that connects a new namespace, in which it runs, to the switch."""
    return "\n".join(
        [
            "link set lo up",
            f"link add eth0 mtu {MTU} type veth peer name {port} mtu {MTU} netns {switch}",
            f"addr add {address}/{SUBNET.prefixlen} dev eth0",
            "link set eth0 up",
            f"route add default via {GATEWAY}",
        ]
    )


def switch_commands() -> str:
    """Return the `ip -batch` script that makes the switch."""
    return "\n".join(
        [
            "link set lo up",
            f"link add switch mtu {MTU} type bridge",
            f"addr add {BRIDGE}/{SUBNET.prefixlen} dev switch",
            "link set switch up",
        ]
    )


def slirp_argv(namespace: str, ready_fd: int) -> list[str]:
    """Return the command that plugs the way out into the switch's namespace; it dies with the engine."""
    return [
        *("setpriv", "--pdeathsig", "KILL", "slirp4netns"),
        *("--netns-type=path", "--disable-host-loopback", f"--cidr={SUBNET}", f"--mtu={MTU}"),
        *(f"--ready-fd={ready_fd}", namespace, "out"),
    ]


def hosts_file(names: dict[str, str]) -> str:
    """Return /etc/hosts with names and their addresses."""
    lines = ["127.0.0.1 localhost", "::1 localhost ip6-localhost ip6-loopback"]
    return "\n".join([*lines, *(f"{address} {name}" for name, address in names.items()), ""])


@dataclass
class Network:
    """The session's network; made when the first command needs it."""

    store: Store
    _switch: Namespace | None = None
    _slirp: asyncio.subprocess.Process | None = None
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    _numbers: set[int] = field(default_factory=set)
    _last: int = FIRST
    _spare: list[asyncio.Future[Namespace]] = field(default_factory=list)
    _closing: bool = False
    _inside: ThreadPoolExecutor | None = None

    async def has_way_out(self) -> bool:
        """Say whether commands in namespaces of their own reach the internet: slirp4netns is installed."""
        await self.switch()
        return self._slirp is not None

    async def switch(self) -> Namespace:
        """Return the namespace that holds the bridge; make it the first time."""
        async with self._lock:
            if self._switch is None:
                if not shutil.which("ip"):
                    raise HostToolError("ip", "iproute2")
                switch = Namespace(await asyncio.to_thread(_fresh_thread, _unshared, switch_commands()))
                self._inside = ThreadPoolExecutor(1, "switch", initializer=_enter, initargs=(switch.path,))
                self._switch = switch
                if shutil.which("slirp4netns"):
                    await self._plug_in(switch)
        return self._switch

    async def _plug_in(self, switch: Namespace) -> None:
        ready, ready_in = os.pipe()
        try:
            quiet = asyncio.subprocess.DEVNULL
            argv = slirp_argv(switch.path, ready_in)
            self._slirp = await asyncio.create_subprocess_exec(
                *argv, stdin=quiet, stdout=quiet, stderr=quiet, pass_fds=(ready_in,)
            )
        finally:
            os.close(ready_in)
        with os.fdopen(ready, "rb") as handle:
            if not await asyncio.to_thread(handle.read, 1):
                raise SandboxError("slirp4netns ended at once; is /dev/net/tun there?")
        await self._run_inside(_ip, f"link set out master switch\nlink set out mtu {MTU} up")

    async def within(self, namespace: Namespace, work: Callable[..., T], *args: object) -> T:
        """Run a function in a thread of its own, whose network is a namespace's."""

        def run() -> T:
            with ThreadPoolExecutor(1, initializer=_enter, initargs=(namespace.path,)) as pool:
                return pool.submit(work, *args).result()

        return await asyncio.to_thread(run)

    async def inside(self, work: Callable[..., T], *args: object) -> T:
        """Run a function in a thread whose network is the switch's."""
        await self.switch()
        return await self._run_inside(work, *args)

    async def _run_inside(self, work: Callable[..., T], *args: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._inside, work, *args)

    async def join(self) -> Namespace:
        """Return a new namespace on the switch, made ahead where possible. The caller closes it with `leave`."""
        ready = self._spare.pop(0) if self._spare else None
        while len(self._spare) < SPARE and not self._closing:
            self._spare.append(asyncio.ensure_future(self._new()))
        return await (ready or self._new())

    async def _new(self) -> Namespace:
        switch = await self.switch()
        number = self._free_number()
        address, port = str(SUBNET[number]), f"port{number}"
        fd = await asyncio.to_thread(_fresh_thread, _unshared, join_commands(switch.path, port, address))
        await self.inside(_ip, f"link set {port} master switch up")
        return Namespace(fd, address)

    def _free_number(self) -> int:
        """Return the number of an address, and take it; not one just given back, whose namespace may still be dying."""
        while self._last in self._numbers or not FIRST <= self._last < SUBNET.num_addresses - 1:
            self._last = self._last + 1 if FIRST <= self._last < SUBNET.num_addresses - 1 else FIRST
        number = self._last
        self._numbers.add(number)
        self._last += 1
        return number

    def leave(self, namespace: Namespace) -> None:
        """Close a namespace that `join` returned."""
        namespace.close()
        self._numbers.discard(int(ipaddress.ip_address(namespace.address)) - int(SUBNET[0]))

    async def opens(self, address: str, port: int) -> bool:
        """Say whether something listens at an address of the switch."""
        connection = await self.inside(socket.socket)
        connection.setblocking(False)  # noqa: FBT003 - the standard library's form
        with contextlib.closing(connection):
            try:
                await asyncio.wait_for(asyncio.get_running_loop().sock_connect(connection, (address, port)), 2)
            except (OSError, TimeoutError):
                return False
        return True

    async def close(self) -> None:
        """Take the network down."""
        self._closing = True
        for made in await asyncio.gather(*self._spare, return_exceptions=True):
            if isinstance(made, Namespace):
                made.close()
        if self._slirp and self._slirp.returncode is None:
            self._slirp.kill()
            await self._slirp.wait()
        if self._inside:
            self._inside.shutdown()
        if self._switch:
            self._switch.close()

    def resolv_conf(self) -> str:
        """Return /etc/resolv.conf for a namespace on the switch; search domains and options are the host's."""
        kept = []
        with contextlib.suppress(OSError):
            lines = Path("/etc/resolv.conf").read_text("utf-8").splitlines()
            kept = [line for line in lines if line.startswith(("search", "options", "domain"))]
        server = [f"nameserver {NAME_SERVER}"] if self._slirp else []
        return "\n".join([*server, *kept, ""])


def _fresh_thread(work: Callable[[str], int], script: str) -> int:
    """Run in a thread that ends afterwards: the namespace it entered stays its own."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(work, script).result()


def _unshared(script: str) -> int:
    mounts.unshare(mounts.CLONE_NEWNET)
    fd = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        _ip(script)
    except BaseException:
        os.close(fd)
        raise
    return fd


def _enter(path: str) -> None:
    with open(path, "rb") as namespace:
        mounts.setns(namespace.fileno(), mounts.CLONE_NEWNET)


def _ip(script: str) -> None:
    """Run commands of ip(8) in this thread's network namespace."""
    done = subprocess.run(["ip", "-batch", "-"], input=script, text=True, capture_output=True, check=False)
    if done.returncode:
        raise SandboxError(f"cannot set up the network: {done.stderr.strip()}")
