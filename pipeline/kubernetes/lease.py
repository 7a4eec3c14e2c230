"""One run at a time in an environment: a Lease of the cluster, with holder and expiry.

Source: coordination.k8s.io/v1. As in Kubernetes' own leader election, a lease is over when it was not renewed for its
duration by the watcher's own clock; one whose time is long past by everybody's clock is over at once.
"""

import contextlib
import dataclasses
import datetime
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import anyio

from pipeline.core.errors import BusyError, ClusterError
from pipeline.core.log import log
from pipeline.kubernetes.cluster import Cluster

DURATION = 60
RENEW_SECONDS = 15
ASK_SECONDS = 3
CLOCKS_APART = 30


@dataclasses.dataclass(slots=True)
class Lease:
    """A lease as it was read.

    Args:
        holder: who has it, or empty.
        renewed: when it was renewed the last time; RFC 3339.
        version: of the object, which must still be the same when it is replaced.
    """

    holder: str
    renewed: str
    version: str
    seconds: int

    @classmethod
    def read(cls, manifest: dict[str, Any]) -> "Lease":
        """Read the object."""
        spec = manifest.get("spec") or {}
        return cls(
            holder=str(spec.get("holderIdentity") or ""),
            renewed=str(spec.get("renewTime") or ""),
            version=str(manifest["metadata"].get("resourceVersion", "")),
            seconds=int(spec.get("leaseDurationSeconds") or DURATION),
        )

    def is_over(self, now: datetime.datetime, watched: float) -> bool:
        """Whether nobody holds it any more.

        Args:
            now: the present time.
            watched: for how many seconds it was seen not to be renewed.
        """
        if not self.holder or not self.renewed or watched > self.seconds:
            return True
        until = datetime.datetime.fromisoformat(self.renewed) + datetime.timedelta(seconds=self.seconds + CLOCKS_APART)
        return now > until


def manifest(name: str, holder: str, version: str = "") -> dict[str, Any]:
    """Return the object, held from now on; released if the holder is empty."""
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": name} | ({"resourceVersion": version} if version else {}),
        "spec": {"leaseDurationSeconds": DURATION, "renewTime": now, "holderIdentity": holder or None},
    }


async def acquire(cluster: Cluster, name: str, holder: str, *, what: str, seconds: float) -> None:
    """Take the lease, waiting for whoever has it.

    Raises:
        BusyError: if it is still held when time is up.
    """
    began = time.monotonic()
    seen, since = "", began
    while True:
        found = await cluster.read("get", "lease", name, "--ignore-not-found", what=what)
        if not found:
            if await cluster.create(manifest(name, holder), what=what):
                return
            continue
        lease = Lease.read(found)
        if lease.version != seen:
            seen, since = lease.version, time.monotonic()
        if lease.is_over(datetime.datetime.now(datetime.UTC), time.monotonic() - since):
            if lease.holder:
                log("lease", f"{lease.holder} did not renew its hold on {name}: taking over")
            if await _replace(cluster, manifest(name, holder, lease.version), what=what):
                return
            continue
        if time.monotonic() - began >= seconds:
            raise BusyError(
                f"{what}: {lease.holder} holds {name}, since {lease.renewed} at the latest",
                hint="wait for that run; if it was killed, its hold ends by itself within a minute or two",
            )
        if lease.version == seen and time.monotonic() - since < ASK_SECONDS:
            log("lease", f"waiting for {lease.holder}, which holds {name}")
        await anyio.sleep(min(ASK_SECONDS, max(seconds - (time.monotonic() - began), 0.1)))


async def _replace(cluster: Cluster, document: dict[str, Any], *, what: str) -> bool:
    """Replace the lease; False if somebody else did first."""
    try:
        await cluster.ask(["replace", "--filename=-"], what=what, stdin=json.dumps(document))
    except ClusterError as error:
        if "Conflict" in error.output or "NotFound" in error.output or "object has been modified" in error.output:
            return False
        raise
    return True


@contextlib.asynccontextmanager
async def held(cluster: Cluster, name: str, holder: str, *, what: str, seconds: float) -> AsyncIterator[None]:
    """Hold the lease while the body runs, renewed all the time; the body is cancelled when it is lost.

    Raises:
        BusyError: if it cannot be had in time, or was lost to somebody else.
    """
    await acquire(cluster, name, holder, what=what, seconds=seconds)
    failure: Exception | None = None
    lost = over = False

    async def renew(scope: anyio.CancelScope) -> None:
        nonlocal lost
        renewed = time.monotonic()
        while not (lost or over):
            await anyio.sleep(RENEW_SECONDS)
            if over:
                return
            try:
                if await _renewed(cluster, name, holder, what=what):
                    renewed = time.monotonic()
                else:
                    lost = True
            except ClusterError as error:
                log("lease", error.problem)
                lost = time.monotonic() - renewed > DURATION
        scope.cancel()

    async with anyio.create_task_group() as tasks:
        with anyio.CancelScope() as scope:
            tasks.start_soon(renew, scope)
            try:
                yield
            except Exception as error:  # noqa: BLE001 - raised below, without the group around it
                failure = error
            finally:
                over = True
                with anyio.CancelScope(shield=True):
                    if not lost:
                        await release(cluster, name, holder)
        tasks.cancel_scope.cancel()
    if failure:
        raise failure
    if lost:
        raise BusyError(
            f"{what}: the hold on {name} was lost, so this run stopped",
            hint="look at `history`, then run again",
        )


async def is_held(cluster: Cluster, name: str, holder: str, *, what: str) -> bool:
    """Whether somebody still holds the lease."""
    return await _of(cluster, name, holder, what=what) is not None


async def _of(cluster: Cluster, name: str, holder: str, *, what: str) -> Lease | None:
    """Return the lease if it is somebody's."""
    found = await cluster.read("get", "lease", name, "--ignore-not-found", what=what)
    lease = Lease.read(found) if found else None
    return lease if lease and lease.holder == holder else None


async def _renewed(cluster: Cluster, name: str, holder: str, *, what: str) -> bool:
    """Renew the lease; False if it is somebody else's by now."""
    lease = await _of(cluster, name, holder, what=what)
    return lease is not None and await _replace(cluster, manifest(name, holder, lease.version), what=what)


async def release(cluster: Cluster, name: str, holder: str) -> None:
    """Give the lease back; where that fails, it ends by itself.

    A renewal that was under way may come between reading and replacing it: then again.
    """
    try:
        while lease := await _of(cluster, name, holder, what="lease"):
            if await _replace(cluster, manifest(name, "", lease.version), what="lease"):
                return
    except ClusterError as error:
        log("lease", f"could not be given back ({error.problem}); it ends by itself within {DURATION} s")
