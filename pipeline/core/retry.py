"""Repeating what failed for a transient reason, and only that."""

import re
from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio
import dagger

from pipeline.core.errors import RegistryError
from pipeline.core.log import log

T = TypeVar("T")

MAX_ATTEMPTS = 5
FIRST_PAUSE = 1.0
LONGEST_PAUSE = 15.0

_REFUSED = re.compile(
    r"\b(401|403|404|400|405|413)\b|unauthorized|denied|authentication required|not found|invalid", re.IGNORECASE
)
_TRANSIENT = re.compile(
    r"\b(408|429|5\d\d)\b|reset by peer|connection refused|broken pipe|timed? ?out|EOF|no such host|TLS handshake",
    re.IGNORECASE,
)


def is_transient(message: str) -> bool:
    """Whether a retry may succeed: after 5xx, 429, a reset, a timeout; not after 401, 403, 404 and the like."""
    return bool(_TRANSIENT.search(message)) and not _REFUSED.search(message)


def pause(attempt: int) -> float:
    """Return the seconds to wait after the attempt-th failure: doubling, bounded."""
    return min(FIRST_PAUSE * 2.0 ** (attempt - 1), LONGEST_PAUSE)


async def retry_transient(
    work: Callable[[], Awaitable[T]], is_transient: Callable[[dagger.QueryError], bool], *, stage: str, action: str
) -> T:
    """Return what `work` returns; repeat it after a transient failure, five attempts at most.

    Args:
        work: what may fail.
        is_transient: whether a failure may be gone at the next attempt.
        stage: for the log.
        action: what `work` does, for the log.

    Raises:
        dagger.QueryError: the last failure, as it is.
    """
    for attempt in range(1, MAX_ATTEMPTS + 1):
        try:
            return await work()
        except dagger.QueryError as error:
            if attempt == MAX_ATTEMPTS or not is_transient(error):
                raise
            stderr = error.stderr if isinstance(error, dagger.ExecError) else str(error)
            reason = "".join(stderr.strip().splitlines()[-1:])
            wait = pause(attempt)
            log(stage, f"{action}: attempt {attempt} of {MAX_ATTEMPTS} failed ({reason}), again in {wait:.0f} s")
            await anyio.sleep(wait)
    raise AssertionError("unreachable: the last attempt returns or raises")


async def retry(work: Callable[[], Awaitable[str]], *, stage: str, action: str) -> str:
    """Return what a request to a registry returns; repeat it after a transient failure, five attempts at most.

    Raises:
        RegistryError: when refused, or after the last attempt.
    """
    try:
        return await retry_transient(work, lambda error: is_transient(str(error)), stage=stage, action=action)
    except dagger.QueryError as error:
        output = str(error).strip()
        if is_transient(output):
            problem, hint = f"{action} failed {MAX_ATTEMPTS} times", "look at the registry, then run again"
        else:
            problem, hint = f"{action} was refused", "check the address, the user and the password"
        raise RegistryError(f"{stage}: {problem}", output=output, hint=hint) from error
