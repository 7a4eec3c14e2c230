"""Trying again what a network may break, and only that."""

import re
from collections.abc import Awaitable, Callable

import anyio
import dagger

from pipeline.core.errors import RegistryError
from pipeline.core.log import log

ATTEMPTS = 5
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
    """Whether an engine's words tell of something that may pass: 5xx, 429, a reset, a timeout.

    What a registry says on purpose (401, 403, 404 and the like) comes again, so it is not tried again.
    """
    return bool(_TRANSIENT.search(message)) and not _REFUSED.search(message)


def pause(attempt: int) -> float:
    """Return the seconds to wait after the attempt-th failure: doubling, bounded."""
    return min(FIRST_PAUSE * 2.0 ** (attempt - 1), LONGEST_PAUSE)


async def retry(work: Callable[[], Awaitable[str]], *, stage: str, what: str) -> str:
    """Do `work`, again after what may pass, five times at the most.

    Raises:
        RegistryError: when refused, or after the last attempt.
    """
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return await work()
        except dagger.QueryError as error:
            words = str(error).strip()
            if not is_transient(words):
                raise RegistryError(
                    f"{stage}: {what} was refused",
                    output=words,
                    hint="check the address, the user and the password",
                ) from error
            if attempt == ATTEMPTS:
                raise RegistryError(
                    f"{stage}: {what} failed {ATTEMPTS} times",
                    output=words,
                    hint="look at the registry, then run again",
                ) from error
            log(
                stage,
                f"attempt {attempt} of {ATTEMPTS} failed ({words.splitlines()[-1]}), again in {pause(attempt):.0f} s",
            )
            await anyio.sleep(pause(attempt))
    raise AssertionError("unreachable: the last attempt returns or raises")
