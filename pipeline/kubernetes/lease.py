"""One run at a time in an environment: a Lease of the cluster, with holder and expiry.

Source: coordination.k8s.io/v1. As in Kubernetes' own leader election, a Lease has expired when it was not renewed for
its duration by the watcher's own clock; one that expired long ago by any clock has expired at once.
"""

import contextlib
import dataclasses
import datetime
import uuid
from collections.abc import AsyncIterator
from typing import Any

import anyio

from pipeline.core import clock
from pipeline.core.errors import BusyError, ClusterError
from pipeline.core.log import log
from pipeline.kubernetes.client import ClusterClient, get_one

DURATION = 60
RENEW_SECONDS = 15
ASK_SECONDS = 3
CLOCK_SKEW = 30
SHORTEST_WAIT = 0.1


@dataclasses.dataclass(frozen=True, slots=True)
class Lease:
    """A Lease as it was read.

    Args:
        holder: who holds it, or empty.
        renewed_at: when it was renewed the last time; RFC 3339.
        version: resource version of the object, which must be unchanged when it is replaced.
        seconds: for how long a renewal is valid.
    """

    holder: str
    renewed_at: str
    version: str
    seconds: int

    @classmethod
    def parse(cls, manifest: dict[str, Any]) -> "Lease":
        """Read the object."""
        spec = manifest.get("spec") or {}
        return cls(
            holder=str(spec.get("holderIdentity") or ""),
            renewed_at=str(spec.get("renewTime") or ""),
            version=str(manifest["metadata"].get("resourceVersion", "")),
            seconds=int(spec.get("leaseDurationSeconds") or DURATION),
        )

    def is_expired(self, now: datetime.datetime, unchanged_seconds: float) -> bool:
        """Whether it is free.

        Args:
            now: the present time.
            unchanged_seconds: for how long it was observed without a renewal.
        """
        if not self.holder or not self.renewed_at or unchanged_seconds > self.seconds:
            return True
        return now > clock.parse(self.renewed_at) + datetime.timedelta(seconds=self.seconds + CLOCK_SKEW)


@dataclasses.dataclass(frozen=True, slots=True)
class Hold:
    """The hold of one run on a Lease.

    Args:
        client: the namespace.
        name: of the Lease.
        holder: this run, unique among all holders.
    """

    client: ClusterClient
    name: str
    holder: str

    async def is_current(self) -> bool:
        """Whether this run still holds the Lease."""
        return await self._read_own() is not None

    async def renew(self) -> bool:
        """Renew the Lease; False if this run does not hold it any more."""
        return await self._replace_own()

    async def release(self) -> None:
        """Release the Lease, even if this task is cancelled; if that fails, the Lease expires by itself.

        After the duration of the Lease there is nothing left to release, so an API server that never answers is not
        waited for any longer.
        """
        try:
            with anyio.fail_after(DURATION, shield=True):
                await self._replace_own(released=True)
        except TimeoutError:
            log("lease", f"not released within {DURATION} s; it has expired")
        except ClusterError as error:
            log("lease", f"not released ({error.problem}); it expires within {DURATION} s")

    async def read(self) -> Lease | None:
        """Return the Lease, whoever holds it, or None if it does not exist."""
        manifest = await get_one(self.client, f"lease.coordination.k8s.io/{self.name}")
        return Lease.parse(manifest) if manifest else None

    def manifest(self, version: str = "", *, released: bool = False) -> dict[str, Any]:
        """Return the object, renewed now.

        Args:
            version: resource version of the object that it replaces; empty to create one.
            released: without a holder.
        """
        return {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": self.name} | ({"resourceVersion": version} if version else {}),
            "spec": {
                "leaseDurationSeconds": DURATION,
                "renewTime": clock.timestamp(digits="microseconds"),
                "holderIdentity": None if released else self.holder,
            },
        }

    async def _replace_own(self, *, released: bool = False) -> bool:
        """Replace the Lease; False if this run does not hold it any more.

        It may change between reading and replacing it, by a renewal in flight, or by a request that the server did and
        kubectl repeated because the reply was lost: then it is read again.
        """
        while lease := await self._read_own():
            if await self.client.replace(self.manifest(lease.version, released=released)):
                return True
        return False

    async def _read_own(self) -> Lease | None:
        lease = await self.read()
        return lease if lease and lease.holder == self.holder else None


@contextlib.asynccontextmanager
async def hold(client: ClusterClient, name: str, run: str, *, seconds: float) -> AsyncIterator[Hold]:
    """Hold a Lease during the body, and renew it all the time; the body is cancelled if it is lost.

    Args:
        client: the namespace.
        name: of the Lease.
        run: which run holds it, for messages.
        seconds: how long to wait for another holder.

    Raises:
        BusyError: if another run holds it until the deadline, or took it over.
    """
    own = Hold(client, name, f"{run}.{uuid.uuid4().hex[:8]}")
    failure: Exception | None = None
    try:
        await _acquire(own, seconds)
        async with anyio.create_task_group() as tasks:
            with anyio.CancelScope() as body:
                tasks.start_soon(_renew_until_lost, own, body)
                try:
                    yield own
                except Exception as error:  # noqa: BLE001 - raised below, without the group around it
                    failure = error
            tasks.cancel_scope.cancel()
    finally:
        await own.release()
    if failure:
        raise failure
    if body.cancelled_caught:
        raise BusyError(f"the Lease {name} was lost, so this run stopped", hint="look at `history`, then run again")


async def _acquire(own: Hold, seconds: float) -> None:
    """Acquire a Lease, waiting for its holder.

    Raises:
        BusyError: if another run holds it until the deadline.
    """
    started = unchanged_since = clock.monotonic()
    version = waiting_for = ""
    while True:
        lease = await own.read()
        if lease and lease.version != version:
            version, unchanged_since = lease.version, clock.monotonic()
        if await _try_to_acquire(own, lease, clock.monotonic() - unchanged_since):
            return
        elapsed = clock.monotonic() - started
        if lease and elapsed >= seconds:
            raise BusyError(
                f"{lease.holder} holds {own.name}, renewed at {lease.renewed_at}",
                hint="wait for that run; if it was killed, its Lease expires within two minutes",
            )
        if lease and lease.holder != waiting_for:
            waiting_for = lease.holder
            log("lease", f"waiting for {waiting_for}, which holds {own.name}")
        await anyio.sleep(min(ASK_SECONDS, max(seconds - elapsed, SHORTEST_WAIT)))


async def _try_to_acquire(own: Hold, lease: Lease | None, unchanged_seconds: float) -> bool:
    """Acquire a Lease if it is free; False if it is not, or another run was faster."""
    if lease is None:
        return await own.client.create(own.manifest())
    if lease.holder == own.holder:
        return True  # it was acquired before, and the reply was lost
    if not lease.is_expired(clock.now(), unchanged_seconds):
        return False
    if lease.holder:
        log("lease", f"{lease.holder} did not renew {own.name}: taking it over")
    return await own.client.replace(own.manifest(lease.version))


async def _renew_until_lost(own: Hold, body: anyio.CancelScope) -> None:
    """Renew a Lease until another run holds it, or it has expired; then cancel the body."""
    renewed = clock.monotonic()
    while True:
        await anyio.sleep(RENEW_SECONDS)
        try:
            # No longer than it is valid: afterwards another run may have taken it over.
            with anyio.fail_after(max(renewed + DURATION - clock.monotonic(), 0)):
                asked = clock.monotonic()
                if not await own.renew():
                    break
                renewed = asked
        except TimeoutError:
            break
        except ClusterError as error:
            log("lease", error.problem)
    body.cancel()
