"""Running services: started when needed, shared while used, stopped when nobody needs them any more."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from drydock import sandbox
from drydock.attach import attached, scrubber
from drydock.edit import squashed
from drydock.errors import ServiceError
from drydock.graph import Shared
from drydock.network import hosts_file
from drydock.relay import HostService, Relay

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from drydock.graph import Node
    from drydock.network import Namespace
    from drydock.service import Service
    from drydock.session import Session

T = TypeVar("T")

AnyService: TypeAlias = "Service | HostService"

READY_SECONDS = 120.0
GRACE_SECONDS = 10.0
STOP_SECONDS = 10.0
TAIL_LINES = 50


@dataclass(frozen=True)
class Link:
    """A place in the network: a namespace ("" is the host's), the files that go with it, and the services in reach."""

    netns: str = ""
    files: dict[str, str] = field(default_factory=dict)
    services: tuple[Running, ...] = ()


@dataclass
class Running:
    """One running service."""

    service: AnyService
    namespace: Namespace
    process: asyncio.subprocess.Process | Relay
    stack: contextlib.AsyncExitStack = field(default_factory=contextlib.AsyncExitStack)
    tail: deque[str] = field(default_factory=lambda: deque(maxlen=TAIL_LINES))
    reader: asyncio.Task[None] | None = None
    exited: asyncio.Task[int] | None = None
    users: int = 0
    stopping: asyncio.TimerHandle | None = None

    @property
    def last_words(self) -> str:
        """The end of its output."""
        return "".join(self.tail).strip()


class Services:
    """The session's services. The same definition is the same running instance."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._running: dict[str, Shared[Running]] = {}
        self._known: dict[str, Running] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    # Use

    async def acquire(self, service: AnyService) -> Running:
        """Return the running service, started if need be, and count one more user."""
        key = await service.key()
        while True:
            known = self._known.get(key)
            if known and known.exited and known.exited.done():
                await self._forget(key)
            starting = self._running.setdefault(key, Shared(lambda: self._start(service, key)))
            try:
                running = await starting()
            except BaseException:
                self._running.pop(key, None)
                raise
            # Not one that is being stopped by now.
            if self._known.get(key) is running:
                break
        running.users += 1
        if running.stopping:
            running.stopping.cancel()
            running.stopping = None
        return running

    async def release(self, service: AnyService) -> None:
        """Count one user less; the last one leaves the service a few seconds, for whoever comes next."""
        key = await service.key()
        running = self._known.get(key)
        if running is None:
            return
        running.users -= 1
        if running.users <= 0 and running.stopping is None:
            loop = asyncio.get_running_loop()
            running.stopping = loop.call_later(GRACE_SECONDS, self._stop_soon, key)

    def _stop_soon(self, key: str) -> None:
        running = self._known.get(key)
        if running and running.users <= 0:
            # At once, so that whoever comes now gets another one, and not this while it ends.
            self._detach(key)
            task = asyncio.ensure_future(self._finish(running))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def stop(self, service: AnyService, *, kill: bool = False) -> None:
        """Stop a service: SIGTERM, and SIGKILL after ten seconds; with `kill`, SIGKILL at once."""
        if running := self._detach(await service.key()):
            await self._finish(running, kill=kill)

    def _detach(self, key: str) -> Running | None:
        """Return the running service, which is that of the key no more."""
        self._running.pop(key, None)
        running = self._known.pop(key, None)
        if running and running.stopping:
            running.stopping.cancel()
        return running

    async def _finish(self, running: Running, *, kill: bool = False) -> None:
        await self._end(running, kill=kill)
        await self._clean(running)

    async def _end(self, running: Running, *, kill: bool) -> None:
        with contextlib.suppress(ProcessLookupError):
            running.process.send_signal(signal.SIGKILL if kill else signal.SIGTERM)
        try:
            await asyncio.wait_for(running.process.wait(), STOP_SECONDS)
        except TimeoutError:
            running.process.kill()
            await running.process.wait()

    async def _forget(self, key: str) -> None:
        if running := self._detach(key):
            await self._clean(running)

    async def _clean(self, running: Running) -> None:
        if running.reader:
            await running.reader
        await running.stack.aclose()

    async def close(self) -> None:
        """Stop all, the users of a service before the service."""
        for key in reversed([*self._known]):
            if running := self._detach(key):
                await self._finish(running, kill=running.exited is not None and running.exited.done())
        await asyncio.gather(*self._tasks)

    # Start

    async def _start(self, service: AnyService, key: str) -> Running:
        """Start a service and wait until its ports are open."""
        session = self._session
        async with contextlib.AsyncExitStack() as stack:
            await service.ready()
            namespace = await session.network.join()
            stack.callback(session.network.leave, namespace)
            if isinstance(service, HostService):
                running = await self._lead(service, namespace)
            else:
                running = await self._run(service, namespace, stack)
            running.stack = stack.pop_all()
        self._known[key] = running
        return running

    async def _lead(self, service: HostService, namespace: Namespace) -> Running:
        """Open the host's ports to the session."""
        relay = Relay(service)
        try:
            await relay.start(self._session.network, namespace)
        except BaseException:
            relay.kill()
            raise
        return Running(service, namespace, relay, exited=asyncio.ensure_future(relay.wait()))

    async def _run(self, service: Service, namespace: Namespace, stack: contextlib.AsyncExitStack) -> Running:
        """Run a service's command until its ports are open."""
        session = self._session
        files = await service.container.files()
        process, _ = await stack.enter_async_context(
            attached(session, service.container, files, service.process(), namespace)
        )
        root = await squashed(session.store, files.root)
        ready = await sandbox.few_layers(session.store, process)
        box = await session.store.run(sandbox.prepare, session.store, root, ready)
        stack.push_async_callback(session.store.run, box.discard)
        hide = await scrubber(session, service.container)
        running = await self._spawn(service, namespace, box, hide)
        try:
            await self._until_ready(running)
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                running.process.kill()
            await running.process.wait()
            raise
        return running

    async def _spawn(
        self,
        service: Service,
        namespace: Namespace,
        box: sandbox.Sandbox,
        hide: Callable[[str], str],
    ) -> Running:
        process, report = await box.start()
        running = Running(service, namespace, process)
        running.reader = asyncio.ensure_future(self._listen(running, process, report, hide))
        running.exited = asyncio.ensure_future(process.wait())
        return running

    async def _listen(
        self, running: Running, process: asyncio.subprocess.Process, report: int, hide: Callable[[str], str]
    ) -> None:
        """Keep the end of what a service says."""

        async def read(stream: asyncio.StreamReader | None) -> None:
            while stream and (line := await stream.readline()):
                text = hide(line.decode("utf-8", "replace"))
                running.tail.append(text)
                self._session.output(text)

        await asyncio.gather(read(process.stdout), read(process.stderr))
        with os.fdopen(report, "rb") as handle:
            failure = await asyncio.to_thread(handle.read)
        if failure:
            running.tail.append(failure.decode("utf-8", "replace"))

    async def _until_ready(self, running: Running) -> None:
        """Wait for all checked ports.

        Raises
        ------
        ServiceError
            The service ended, or did not open a port in time.
        """
        seconds = float(os.environ.get("DRYDOCK_SERVICE_SECONDS", READY_SECONDS))
        deadline = asyncio.get_running_loop().time() + seconds
        checked = [p for p in running.service.ports if not p.experimental_skip_healthcheck]
        for port in (p.port for p in checked if p.protocol == "TCP"):
            pause = 0.02
            while not await self._session.network.opens(running.namespace.address, port):
                if running.exited and running.exited.done():
                    raise self._ended(running, f"before port {port} was open")
                if asyncio.get_running_loop().time() > deadline:
                    raise ServiceError(
                        f"service {running.service.describe()}: port {port} was not open after {seconds:g} s; "
                        f"its last output:\n{running.last_words or '(none)'}"
                    )
                await asyncio.sleep(pause)
                pause = min(pause * 1.5, 0.5)

    def _ended(self, running: Running, when: str) -> ServiceError:
        code = running.process.returncode
        return ServiceError(
            f"service {running.service.describe()} exited with {code} {when}; "
            f"its last output:\n{running.last_words or '(none)'}"
        )

    # Binding

    @contextlib.asynccontextmanager
    async def bound(
        self, bindings: tuple[tuple[str, Node], ...], namespace: Namespace | None = None
    ) -> AsyncIterator[Link]:
        """Run services while a command needs them; yields its place in the network, where they go by their aliases."""
        async with contextlib.AsyncExitStack() as stack:
            services = [(alias, await node.value()) for alias, node in bindings]
            running = await asyncio.gather(*(self._held(stack, service) for _, service in services))
            if not services and namespace is None and not await self._session.network.has_way_out():
                yield Link(files=_host_files())
                return
            if namespace is None:
                namespace = await self._session.network.join()
                stack.callback(self._session.network.leave, namespace)
            names = {r.service.hostname: r.namespace.address for r in self._known.values()}
            names |= {alias: r.namespace.address for (alias, _), r in zip(services, running, strict=True)}
            folder = self._session.store.temporary("etc")
            (folder / "hosts").write_text(hosts_file(names), "utf-8")
            (folder / "resolv.conf").write_text(self._session.network.resolv_conf(), "utf-8")
            files = {f"/etc/{name}": str(folder / name) for name in ("hosts", "resolv.conf")}
            yield Link(namespace.path, files, tuple(running))

    async def _held(self, stack: contextlib.AsyncExitStack, service: AnyService) -> Running:
        running = await self.acquire(service)
        stack.push_async_callback(self.release, service)
        return running

    @contextlib.asynccontextmanager
    async def held(self, service: AnyService) -> AsyncIterator[Running]:
        """Run one service while the engine itself needs it."""
        running = await self.acquire(service)
        try:
            yield running
        finally:
            await self.release(service)

    async def guard(self, link: Link, work: Awaitable[T]) -> T:
        """Do work that needs services; it is cancelled, and fails, when one of them ends."""
        task = asyncio.ensure_future(work)
        exits = [r.exited for r in link.services if r.exited]
        try:
            await asyncio.wait({task, *exits}, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                dead = next(r for r in link.services if r.exited and r.exited.done())
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
                if dead.reader:
                    await dead.reader
                raise self._ended(dead, "while a command needed it")
            return task.result()
        finally:
            if not task.done():
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)


def _host_files() -> dict[str, str]:
    """Return the host's own name service files, for a command on the host's network."""
    return {path: path for path in ("/etc/resolv.conf", "/etc/hosts") if os.path.exists(path)}
