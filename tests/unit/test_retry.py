from typing import Self

import dagger
import pytest

from pipeline.core import retry
from pipeline.core.errors import RegistryError


class BrokenError(dagger.QueryError):
    """An engine's error with the message of a registry, without the query that the SDK's own carries."""

    def __new__(cls, _message: str) -> Self:
        error: Self = super().__new__(cls, [])
        return error

    def __init__(self, message: str) -> None:
        self.message = message

    def __str__(self) -> str:
        return self.message


@pytest.mark.parametrize(
    "message",
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
def test_transient_failures_are_retried(message: str):
    assert retry.is_transient(message)


@pytest.mark.parametrize(
    "message",
    [
        "401 Unauthorized",
        "unexpected status: 403 Forbidden",
        "unauthorized: authentication required",
        "denied: requested access to the resource is denied",
        "name unknown: 404 Not Found",
        "an unknown error",
    ],
)
def test_refusals_and_unknown_errors_are_not_retried(message: str):
    assert not retry.is_transient(message)


def test_pauses_grow_and_are_bounded():
    pauses = [retry.pause(n) for n in range(1, 12)]
    assert pauses == sorted(pauses)
    assert pauses[0] == retry.FIRST_PAUSE
    assert pauses[-1] == retry.LONGEST_PAUSE


async def test_a_push_succeeds_once_the_registry_recovers(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(retry, "FIRST_PAUSE", 0.0)
    failures = ["500 Internal Server Error", "connection reset by peer"]

    async def work() -> str:
        if failures:
            raise BrokenError(failures.pop())
        return "pushed"

    assert await retry.retry(work, stage="publish", action="pushing") == "pushed"


async def test_a_registry_that_keeps_failing_ends_the_run(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(retry, "FIRST_PAUSE", 0.0)
    calls = 0

    async def work() -> str:
        nonlocal calls
        calls += 1
        raise BrokenError("500 Internal Server Error")

    with pytest.raises(RegistryError, match="failed 5 times") as caught:
        await retry.retry(work, stage="publish", action="pushing")
    assert calls == retry.MAX_ATTEMPTS
    assert "500 Internal Server Error" in str(caught.value)


async def test_a_wrong_password_is_not_retried():
    calls = 0

    async def work() -> str:
        nonlocal calls
        calls += 1
        raise BrokenError("401 Unauthorized")

    with pytest.raises(RegistryError, match="was refused"):
        await retry.retry(work, stage="publish", action="pushing")
    assert calls == 1
