"""Rolling back by hand."""

from typing import Any

import pytest

from pipeline.core.errors import InvalidInputError, SlipwayError, SmokeFailedError
from pipeline.deploy.rollback import roll_back
from pipeline.observe.records import DeploymentRecord
from tests.fakes import cluster
from tests.fakes.cluster import FakeServer
from tests.fakes.tiny import RELEASES, Run, history, leftovers, ship
from tests.fakes.virtual_time import in_virtual_time

DIGESTS = {name: reference.partition("@")[2] for name, reference in RELEASES.items()}


async def back(fake: FakeServer, digest: str = "", run: Run | None = None, **named: Any) -> DeploymentRecord:
    run = run or Run(fake)
    return await roll_back(run.context, run.id, digest, **named)


@in_virtual_time
async def test_a_rollback_restores_the_verified_release_before_the_live_one():
    fake = FakeServer()
    await ship(fake, extra="settings")
    await ship(fake, "better")
    record = await back(fake, link="https://ci.example.com/1")
    assert (record.reference, record.action, record.result) == (RELEASES["good"], "rollback", "verified")
    assert (record.replaced_digest, record.link) == (DIGESTS["better"], "https://ci.example.com/1")
    assert (fake.image(), await leftovers(fake)) == (RELEASES["good"], [])
    assert "settings" in fake.names("ConfigMap")  # with the manifests of that time
    assert await history(fake) == [*(await history(fake))[:2], record]


@in_virtual_time
async def test_a_second_rollback_goes_one_release_further_back():
    fake = FakeServer()
    for name in ("good", "better", "bad"):
        await ship(fake, name)
    assert [(await back(fake)).reference, (await back(fake)).reference] == [RELEASES["better"], RELEASES["good"]]


@in_virtual_time
async def test_a_rollback_to_a_digest_may_go_forward_again():
    fake = FakeServer()
    await ship(fake)
    await ship(fake, "better")
    await back(fake)
    assert (await back(fake, DIGESTS["better"])).reference == RELEASES["better"]
    assert fake.image() == RELEASES["better"]


@in_virtual_time
async def test_a_rollback_keeps_the_address_and_test_of_the_restored_release():
    fake = FakeServer()
    first = Run(fake)
    await first.deploy()
    await first.verify(url="https://staging.example.com", test="export default 1")
    await ship(fake, "better")
    run = Run(fake)
    record = await back(fake, run=run)
    assert (record.url, record.attempts) == ("https://staging.example.com", 3)
    assert run.url.asked[0][1].test == "export default 1"
    assert (await run.context.store.read()).attachment(run.id, "test") == "export default 1"


@in_virtual_time
async def test_a_rollback_needs_a_verified_release_before_the_live_one():
    fake = FakeServer()
    await ship(fake)
    with pytest.raises(InvalidInputError, match="rollback of staging: no release was verified here before the live"):
        await back(fake)
    await Run(fake).deploy("better")
    with pytest.raises(InvalidInputError, match=rf"{DIGESTS['better']} was not verified here(.|\n)*{DIGESTS['good']}"):
        await back(fake, DIGESTS["better"])
    assert (fake.image(), await leftovers(fake)) == (RELEASES["better"], [])


@in_virtual_time
async def test_a_rollback_in_an_empty_environment_knows_no_release():
    with pytest.raises(InvalidInputError, match=r"have recorded manifests: none"):
        await back(FakeServer())


@in_virtual_time
async def test_a_rollback_that_fails_is_recorded():
    fake = FakeServer()
    await ship(fake, "good", "restored-fails")
    await ship(fake, "better")
    with pytest.raises(SmokeFailedError, match=r"rollback of staging: .*failed 10 of 10 attempts"):
        await back(fake)
    last = (await history(fake))[-1]
    assert (last.action, last.result) == ("rollback", "failed")
    assert await leftovers(fake) == []


@in_virtual_time
async def test_a_rollback_that_cannot_be_recorded_as_failed_still_reports_why_it_failed():
    fake = FakeServer()
    await ship(fake, "good", "restored-fails")
    await ship(fake, "better")
    run = Run(fake)
    run.client.fail(cluster.records("failed"), cluster.UNREACHABLE)
    with pytest.raises(SlipwayError, match="failed 10 of 10 attempts"):
        await back(fake, run=run)
