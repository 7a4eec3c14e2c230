"""The smoke test at an address: which addresses are accepted, what is executed, and what its result means."""

import json
from typing import TYPE_CHECKING, cast

import dagger
import pytest

from pipeline.core.errors import InvalidInputError, RolloutError, SmokeFailedError
from pipeline.deploy import elsewhere, smoke
from pipeline.deploy.elsewhere import ExternalRequest, deploy_elsewhere, smoke_directly
from pipeline.deploy.rehearsal import HOST
from pipeline.deploy.smoke import RESULT, SmokeOptions, SmokeTest, check_url
from pipeline.images import Images
from pipeline.oci.registry import Registry
from tests.fakes.engine import FailedExec, FakeEngine
from tests.fakes.tiny import COMMITS, RELEASES, TOOL, Url
from tests.fakes.virtual_time import in_virtual_time

if TYPE_CHECKING:
    from pipeline.core.interfaces import Deployer

URL = "https://staging.example.com"
TEST = "export default async () => {};"
PASSED = json.dumps({"passed": True, "attempts": 2, "checks": ["/healthz ok"]})
FAILED = json.dumps({"passed": False, "attempts": 10, "checks": ["/healthz ok", "/version failed: other commit"]})
SERVICE = cast("dagger.Service", object())


def smoke_of(test: str = "") -> SmokeTest:
    return SmokeTest(RELEASES["good"], COMMITS["good"], test)


# Addresses


@pytest.mark.parametrize(
    ("url", "checked"),
    [
        ("", ""),
        (URL, URL),
        (f"{URL}/", URL),
        (f"{URL}:8443/tiny/", f"{URL}:8443/tiny"),
        ("http://service.example.com", "http://service.example.com"),
    ],
)
def test_an_address_is_kept_without_a_slash_at_its_end(url: str, checked: str):
    assert check_url(url, None) == checked


@pytest.mark.parametrize(
    "url",
    [
        "staging.example.com",
        "ftp://staging.example.com",
        "https://",
        "https://me:secret@host",
        f"{URL}?a=b",
        f"{URL}#a",
    ],
)
def test_a_malformed_address_is_refused_without_being_shown(url: str):
    with pytest.raises(InvalidInputError, match="--url is not the address of a service") as caught:
        check_url(url, None)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]"])
def test_the_tests_own_container_is_not_the_service(host: str):
    with pytest.raises(InvalidInputError, match=r"is the test's own container(.|\n)*--url-service tcp://127\.0\.0\.1"):
        check_url(f"http://{host}:8080", None)


def test_a_service_of_the_session_needs_a_port():
    assert check_url("http://service:8080", SERVICE) == "http://service:8080"
    with pytest.raises(InvalidInputError, match="--url has no port"):
        check_url("http://service", SERVICE)


def test_a_service_of_the_session_has_the_host_of_the_address():
    assert SmokeOptions(url="http://service:8080", url_service=SERVICE).services == {"service": SERVICE}
    assert SmokeOptions(url=URL).services == {}


# In the engine


async def ask(monkeypatch: pytest.MonkeyPatch, reply: str | Exception, test: str = "") -> tuple[int, FakeEngine]:
    engine = FakeEngine(reply)
    monkeypatch.setattr(smoke, "dag", engine)
    return await smoke.ask_url(TOOL, smoke_of(test), URL, {"service": SERVICE}), engine


@in_virtual_time
async def test_the_test_runs_in_the_tool_image_and_is_never_answered_from_cache(monkeypatch: pytest.MonkeyPatch):
    attempts, engine = await ask(monkeypatch, PASSED)
    [chain] = engine.evaluated
    assert attempts == 2
    assert chain.calls("from_") == [(TOOL,)]
    assert chain.argv == smoke_of().argv(RESULT, URL)
    assert chain.calls("with_service_binding") == [("service", SERVICE)]
    assert chain.calls("file") == [(RESULT,)]
    _, other = await ask(monkeypatch, PASSED)
    assert chain.variable("SLIPWAY_RUN") != other.evaluated[0].variable("SLIPWAY_RUN")


@in_virtual_time
async def test_the_services_own_test_is_run_with_it(monkeypatch: pytest.MonkeyPatch):
    _, engine = await ask(monkeypatch, PASSED, TEST)
    [chain] = engine.evaluated
    assert ("/slipway/test.mjs", TEST) in chain.calls("with_new_file")
    assert chain.argv[-1] == "/slipway/test.mjs"


@in_virtual_time
async def test_a_failing_test_shows_the_answers_of_the_last_attempt(monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(SmokeFailedError, match="failed 10 of 10 attempts") as caught:
        await ask(monkeypatch, FAILED)
    assert "/version failed: other commit" in caught.value.output


@in_virtual_time
async def test_a_test_that_ends_without_a_result_shows_its_output(monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(
        SmokeFailedError, match=r"ended without a result(.|\n)*must return or throw, not exit"
    ) as caught:
        await ask(monkeypatch, FailedExec("Error: Cannot find module"))
    assert "Cannot find module" in caught.value.output


# Outside a cluster


class FakeDeployer:
    """The deployer of another module."""

    def __init__(self, *, fails: bool = False) -> None:
        self.fails = fails
        self.rolled_back: list[str] = []

    async def deploy(self, reference: str, environment: str) -> str:
        assert reference == RELEASES["good"]
        if self.fails:
            raise FailedExec(f"no room in {environment}")
        return URL

    async def rollback(self, environment: str) -> str:
        self.rolled_back.append(environment)
        if self.fails:
            raise FailedExec("the platform is down")
        return "done"


async def directly(
    monkeypatch: pytest.MonkeyPatch, url: Url, service: dagger.Service | None = None, deployer: object = None
) -> int:
    monkeypatch.setattr(elsewhere, "ask_url", url)
    by = cast("Deployer | None", deployer)
    return await smoke_directly(TOOL, smoke_of(), URL, "staging", service=service, deployer=by)


@in_virtual_time
async def test_a_rehearsal_is_tested_beside_its_service(monkeypatch: pytest.MonkeyPatch):
    url = Url()
    assert await directly(monkeypatch, url, SERVICE) == 3
    assert url.asked == [(TOOL, smoke_of(), URL, {HOST: SERVICE})]


@in_virtual_time
async def test_a_deployment_of_another_module_is_rolled_back_only_after_a_failure(monkeypatch: pytest.MonkeyPatch):
    deployer = FakeDeployer()
    url = Url()
    assert await directly(monkeypatch, url, deployer=deployer) == 3
    assert (deployer.rolled_back, url.asked[0][3]) == ([], {})
    with pytest.raises(SmokeFailedError, match=r"smoke: .* failed 3 of 10 attempts"):
        await directly(monkeypatch, Url(passed=False), deployer=deployer)
    assert deployer.rolled_back == ["staging"]


@in_virtual_time
async def test_a_failing_rehearsal_has_nothing_to_roll_back(monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(SmokeFailedError, match="failed 3 of 10 attempts"):
        await directly(monkeypatch, Url(passed=False), SERVICE)


@in_virtual_time
async def test_a_rollback_that_fails_does_not_hide_the_failed_smoke_test(monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(
        SmokeFailedError, match=r"failed 3 of 10 attempts; and staging could not be rolled back: .*down"
    ):
        await directly(monkeypatch, Url(passed=False), deployer=FakeDeployer(fails=True))


@in_virtual_time
async def test_a_deployer_that_fails_is_asked_to_roll_back_and_both_errors_are_shown():
    deployer = FakeDeployer(fails=True)
    address, _, digest = RELEASES["good"].partition("@")
    registry = Registry(address=address, tool_image=TOOL)
    request = ExternalRequest(registry, digest, COMMITS["good"], "staging")
    with pytest.raises(RolloutError, match="deploy to staging: the deployer failed; and staging could not") as caught:
        await deploy_elsewhere(request, cast("Deployer", deployer), images=Images(), policy=None)
    assert deployer.rolled_back == ["staging"]
    assert "no room in staging" in caught.value.output
    working = FakeDeployer()
    assert await deploy_elsewhere(request, cast("Deployer", working), images=Images(), policy=None) == (URL, "")
    assert working.rolled_back == []
