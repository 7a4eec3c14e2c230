"""From one environment to the next, and the way back, in a real cluster."""

import dataclasses
import json

import dagger
import pytest

from pipeline.api.deployment import Deployment, Verification
from pipeline.api.release import Release
from pipeline.core.errors import InvalidInputError, NotPromotableError, UnsignedError
from pipeline.slipway import Slipway
from tests.cluster.conftest import COMMITS
from tests.cluster.space import SECONDS, Space, at

pytestmark = pytest.mark.kubernetes


async def promote(space: Space, verification: Verification, approver: str = "Ada") -> Deployment:
    """Promote a verified release to production."""
    targets = [await space.target("staging"), await space.target("production")]
    bound = dataclasses.replace(verification, context=at(verification.context, *targets))
    return await bound.promote("production", approver, seconds=SECONDS)


async def test_the_verified_digest_is_promoted_though_its_tag_moved_meanwhile(
    space: Space, signed: Release, dag: dagger.Client, registry: dagger.Service
):
    space.add("production")
    await space.ship(signed)
    staging = await space.environment()
    with pytest.raises(NotPromotableError, match=f"commit {COMMITS['bad']} was never deployed to staging"):
        await staging.verification(commit=COMMITS["bad"])
    verification = await staging.verification(commit=COMMITS["better"])
    with pytest.raises(InvalidInputError, match="promote: no approver is named"):
        await promote(space, strictly(verification, signed), approver="  ")
    other = dag.container().from_(space.releases["bad"].reference, registry_service=registry)
    moved = await other.publish("localhost:5000/tiny:better", registry_service=registry)
    assert moved.rpartition("@")[2] != signed.digest
    in_production = await (await promote(space, strictly(verification, signed))).smoke(stable_seconds=1)
    assert space.live("production") == signed.reference
    report = json.loads(await in_production.report().file("report.json").contents())
    assert (report["result"], report["environment"]) == ("passed", "production")
    assert report["reference"] == signed.reference
    [entry] = await space.history("production")
    assert (entry["action"], entry["approved_by"], entry["result"]) == ("promote", "Ada", "verified")
    assert (entry["unsigned"], entry["started_by"]) == ("", space.deployer)


def strictly(verification: Verification, signed: Release) -> Verification:
    """Return a verification with the policy of a signed release."""
    policy = signed.context.settings.verification
    settings = dataclasses.replace(verification.context.settings, verification=policy)
    return dataclasses.replace(verification, context=dataclasses.replace(verification.context, settings=settings))


async def test_an_unsigned_release_is_neither_deployed_nor_promoted_unless_that_is_allowed(
    space: Space, signed: Release, strict: Slipway
):
    space.add("production")
    unsigned = await strict.release(space.releases["bad"].reference)
    with pytest.raises(
        UnsignedError, match=r"deploy to staging: localhost:5000/tiny@sha256:[0-9a-f]{64} is not signed"
    ):
        await space.deploy(unsigned)
    assert (space.live(), await space.history()) == ("", [])
    assert {*space.names("v1/configmaps")} <= {"kube-root-ca.crt"}
    verification = await space.ship("bad")
    [entry] = await space.history()
    assert "no verification policy is configured" in entry["unsigned"]
    assert "unsigned" in await (await space.environment()).history()
    with pytest.raises(UnsignedError, match=r"deploy to production: .* is not signed"):
        await promote(space, strictly(verification, signed))
    assert space.live("production") == ""


async def test_production_is_reached_by_a_promotion_only(space: Space):
    space.add("production")
    with pytest.raises(InvalidInputError, match="production is reached by a promotion only"):
        await space.deploy("better", to="production")
    assert space.live("production") == ""


async def test_a_rollback_restores_the_verified_release_before_the_live_one(verified: Space):
    good, better = verified.releases["good"], verified.releases["better"]
    await verified.ship("better")
    verification = await (await verified.environment()).rollback(seconds=SECONDS)
    assert (verification.reference, verified.live()) == (good.reference, good.reference)
    *_, second, last = await verified.history()
    assert (last["action"], last["result"]) == ("rollback", "verified")
    assert [second["replaced_digest"], last["replaced_digest"]] == [good.digest, better.digest]
    assert verified.is_good


async def test_a_namespace_belongs_to_one_environment(verified: Space):
    with pytest.raises(InvalidInputError, match=f"namespace {verified.namespace()} belongs to environment staging"):
        await verified.deploy("better", to="preview", namespace=verified.namespace())
    assert verified.is_good
