"""From source to staging in one run."""

import json
from collections.abc import Callable

import dagger
import pytest

from pipeline.core import retry
from pipeline.slipway import Slipway
from tests.cluster.space import Space, with_targets
from tests.conftest import KeyPair

pytestmark = pytest.mark.kubernetes

Make = Callable[..., Slipway]
Scanner = Callable[[str], dagger.Container]
Published = Callable[[Slipway], Slipway]
# Shows that a run ended before its first stage.
BROKEN = {"service/test/unit.test.js": "process.exit(1)"}


@pytest.fixture
def published(registry: dagger.Service) -> Published:
    """Return a module with the registry configured."""
    return lambda slipway: slipway.with_registry("localhost:5000/tiny", service=registry)


async def test_ship_reports_a_failed_rollout_and_the_recovery_from_it(
    space: Space, published: Published, make: Make, scanner: Scanner, keys: KeyPair
):
    module = await make({"cosign.pub": keys.public_key}).with_verification(repository=keys.policy().repository)
    module = published(module).with_signer(key=keys.signer.key, password=keys.signer.password)
    module = module.with_scanner(scanner("clean"))
    failing = with_targets(module, await space.target(manifests=space.manifests("crash-loop")))
    failed = await failing.ship()
    assert (failed.passed, failed.recovered) == (False, False)
    assert "crashed 4 times" in failed.table
    assert "no release was verified in staging before: removed what this run created" in failed.table
    assert (bool(failed.reference), space.live()) == (True, "")

    working = with_targets(module, await space.target())
    shipment = await working.ship(link="https://ci.example.com/run/1")
    assert "to staging: passed" in await shipment.summary()
    assert (shipment.recovered, space.live()) == (True, shipment.reference)
    assert json.loads(shipment.document)["environment"] == "staging"
    release = await working.release(shipment.reference)
    assert release.context.commit.sha in await release.verify_release()

    _, last = await space.history()
    assert (last["result"], last["reference"], last["unsigned"]) == ("verified", shipment.reference, "")
    assert last["link"] == "https://ci.example.com/run/1"
    metrics = await (await space.environment()).dora(since="2026-01-01")
    document = json.loads(metrics.document)
    assert (document["changes"], document["change_failure_rate"], document["deployments"]) == (2, 0.5, 1)
    assert 0 < document["time_to_restore_seconds"] < 600
    assert document["lead_time_seconds"] > 0
    assert "50%  1 of 2 changes" in metrics.summary
    assert await metrics.report().entries() == ["dora.json", "dora.md", "dora.svg"]


async def test_ship_does_not_begin_what_could_not_be_deployed_unsigned(
    space: Space, published: Published, make: Make, keys: KeyPair
):
    target = await space.target()
    for files, problem in (
        (BROKEN, "no verification policy is configured"),
        (BROKEN | {"cosign.pub": keys.public_key}, "no signer is configured"),
    ):
        shipment = await with_targets(published(make(files)), target).ship()
        assert shipment.error.startswith(f"ship: {problem}")
        assert "✔" not in shipment.table


async def test_ship_reports_an_unreachable_cluster_before_anything_else_is_done(
    space: Space, published: Published, make: Make, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(retry, "FIRST_PAUSE", 0)
    config = space.control.kubeconfig(space.token(), server="https://127.0.0.1:1")
    unsigned = await published(make(BROKEN)).with_verification(allow_unsigned=True)
    target = await space.target(kubeconfig=space.kubeconfig(config), api_server=None)
    shipment = await with_targets(unsigned, target).ship()
    assert not shipment.passed
    assert "https://127.0.0.1:1 cannot be reached" in shipment.error
    assert "✔" not in shipment.table
    assert shipment.error in await shipment.report().file("report.md").contents()


async def test_ship_refuses_at_once_to_deploy_to_production(space: Space, published: Published, make: Make):
    module = with_targets(published(make(BROKEN)), await space.target(), await space.target("production"))
    shipment = await module.ship(environment="production")
    assert shipment.error.startswith("deploy: production is reached by a promotion only")
    assert "✔" not in shipment.table


async def test_ship_refuses_at_once_a_cluster_without_a_registry(space: Space, make: Make):
    shipment = await with_targets(make(BROKEN), await space.target()).ship()
    assert shipment.error.startswith("ship: a cluster needs a registry to pull from")
    assert "✔" not in shipment.table
