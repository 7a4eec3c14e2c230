"""Runs that are killed at some of their steps, and two runs at once. tests/unit/deploy does that at each step."""

import asyncio
import contextlib
import datetime
from collections.abc import Callable, Iterator, Sequence

import pytest

from pipeline.core.errors import RolloutError
from pipeline.kubernetes.kubectl import KubectlClient
from tests.cluster.space import DEPLOYMENT, LEASE, Space

pytestmark = pytest.mark.kubernetes

Step = Callable[[Sequence[str], str], bool]


class Killed(BaseException):
    """Ends a run at once: nothing of it can clean up, and nothing of it reaches the cluster any more."""


def creates_job(role: str) -> Step:
    """Match the creation of a Job."""
    return lambda argv, stdin: argv[0] == "create" and '"kind": "Job"' in stdin and f'"slipway/role": "{role}"' in stdin


def applies(argv: Sequence[str], stdin: str) -> bool:
    """Match the application of the manifests."""
    return argv[0] == "apply" and "--dry-run=server" not in argv and '"kind": "Deployment"' in stdin


@contextlib.contextmanager
def killed_after(step: Step) -> Iterator[None]:
    """Let the cluster do a step, and end the run before it gets the reply."""
    real = KubectlClient._run  # noqa: SLF001 - through which each request goes
    dead = False

    async def run(self: KubectlClient, argv: Sequence[str], stdin: str = "", *, retried: bool = True) -> str:
        nonlocal dead
        if dead:
            raise Killed
        reply = await real(self, argv, stdin, retried=retried)
        if step(argv, stdin):
            dead = True
            raise Killed
        return reply

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(KubectlClient, "_run", run)
        with pytest.raises(BaseException) as caught:  # noqa: PT011 - a Killed, in as many groups as there are tasks
            yield
    assert dead, f"the step was never done: {caught.value!r}"


def let_the_lease_expire(space: Space) -> None:
    """Do as if ten minutes had passed since the Lease was renewed."""
    then = datetime.datetime.now(datetime.UTC) - datetime.timedelta(minutes=10)
    space.patch(LEASE, {"spec": {"renewTime": then.strftime("%Y-%m-%dT%H:%M:%S.%fZ")}})


@pytest.mark.parametrize(
    ("step", "release"),
    [
        pytest.param(creates_job("migrate"), "good", id="migration"),
        pytest.param(applies, "better", id="applied"),
        pytest.param(creates_job("smoke"), "better", id="smoke"),
    ],
)
async def test_a_first_run_that_is_killed_is_repaired_by_the_next(space: Space, step: Step, release: str):
    with killed_after(step):
        await space.ship(release)
    assert space.get(LEASE)["spec"]["holderIdentity"]
    let_the_lease_expire(space)
    await space.ship("better")
    assert space.live() == space.releases["better"].reference
    assert space.get(DEPLOYMENT)["status"]["availableReplicas"] == 2
    assert space.names("batch/v1/jobs") == []
    assert [name for name in space.names("v1/configmaps") if "smoke" in name] == []
    assert space.get(LEASE)["spec"].get("holderIdentity") is None
    assert (await space.history())[-1]["result"] == "verified"


async def test_a_run_that_is_killed_during_its_rollback_is_repaired_by_the_next(verified: Space):
    bad = await verified.deploy("bad", "smoke-fails")
    with killed_after(applies):
        await bad.smoke(stable_seconds=1)
    let_the_lease_expire(verified)
    with pytest.raises(RolloutError, match=f"rolled back to {verified.releases['good'].reference}"):
        await verified.deploy("bad", "crash-loop")
    assert verified.is_good


async def test_two_runs_deploy_one_after_the_other(space: Space):
    both = (space.deploy(name, rollout={"wait": 120}) for name in ("better", "bad"))
    assert len(await asyncio.gather(*both)) == 2
    first, second = await space.history()
    assert first["ended_at"] <= second["started_at"]
    assert space.live() == second["reference"]
    assert space.get(LEASE)["spec"].get("holderIdentity") is None
