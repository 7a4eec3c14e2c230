import dagger
import gql
import pytest
from dagger._exceptions import QueryErrorValue

from pipeline.core import retry
from pipeline.core.errors import RegistryError


def broken(words: str) -> dagger.QueryError:
    """Return an engine's error with the words of a registry."""
    return dagger.QueryError([QueryErrorValue(message=words, locations=[], path=[], extensions={})], gql.gql("{ id }"))


@pytest.mark.parametrize(
    "words",
    [
        "unexpected status from PUT request: 500 Internal Server Error",
        "received unexpected HTTP status: 503 Service Unavailable",
        "toomanyrequests: 429",
        "read tcp 10.0.0.1: connection reset by peer",
        "dial tcp 127.0.0.1:5000: connect: connection refused",
        "unexpected EOF",
        "net/http: TLS handshake timeout",
    ],
)
def test_what_may_pass_is_tried_again(words: str):
    assert retry.is_transient(words)


@pytest.mark.parametrize(
    "words",
    [
        "401 Unauthorized",
        "unexpected status: 403 Forbidden",
        "unauthorized: authentication required",
        "denied: requested access to the resource is denied",
        "name unknown: 404 Not Found",
        "something nobody has heard of",
    ],
)
def test_what_a_registry_says_on_purpose_is_not(words: str):
    assert not retry.is_transient(words)


def test_pauses_grow_and_are_bounded():
    pauses = [retry.pause(n) for n in range(1, 12)]
    assert pauses == sorted(pauses)
    assert pauses[0] == retry.FIRST_PAUSE
    assert pauses[-1] == retry.LONGEST_PAUSE


async def test_a_registry_that_recovers_gets_its_image(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(retry, "FIRST_PAUSE", 0.0)
    failures = ["500 Internal Server Error", "connection reset by peer"]

    async def work() -> str:
        if failures:
            raise broken(failures.pop())
        return "pushed"

    assert await retry.retry(work, stage="publish", what="pushing") == "pushed"


async def test_a_registry_that_stays_broken_ends_the_run(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(retry, "FIRST_PAUSE", 0.0)
    calls = 0

    async def work() -> str:
        nonlocal calls
        calls += 1
        raise broken("500 Internal Server Error")

    with pytest.raises(RegistryError, match="failed 5 times") as caught:
        await retry.retry(work, stage="publish", what="pushing")
    assert calls == retry.ATTEMPTS
    assert "500 Internal Server Error" in str(caught.value)


async def test_a_wrong_password_is_not_tried_twice():
    calls = 0

    async def work() -> str:
        nonlocal calls
        calls += 1
        raise broken("401 Unauthorized")

    with pytest.raises(RegistryError, match="was refused"):
        await retry.retry(work, stage="publish", what="pushing")
    assert calls == 1
