"""The smoke test's script: how it is called, and what its answer means. The same in a rehearsal and in a cluster."""

from collections.abc import Mapping
from typing import Any

from pipeline.console import say
from pipeline.errors import SmokeFailedError
from pipeline.scripts import script

ATTEMPTS = 10
FOLDER = "/slipway"
SCRIPT, TEST = "smoke.mjs", "test.mjs"
NO_RESULT = "the test ended without a result"


def smoke_script() -> str:
    """Return the script."""
    return script(SCRIPT)


def argv(result: str, base: str, commit: str, attempts: int, *, test: bool) -> list[str]:
    """Return the command that asks a service.

    Args:
        result: the file that the answer is written to.
        base: the service's address.
        commit: the commit that /version must answer.
        attempts: how often to try.
        test: whether the service's own test is there, too.
    """
    own = [f"{FOLDER}/{TEST}"] if test else []
    return ["node", f"{FOLDER}/{SCRIPT}", result, base, commit, str(attempts), *own]


def judged(answer: Mapping[str, Any], release: str, attempts: int, *, what: str, hint: str) -> int:
    """Say what was checked; return how many attempts it took.

    Raises:
        SmokeFailedError: if the answer is that it failed.
    """
    if not answer["passed"]:
        raise SmokeFailedError(
            f"{what}: {release} failed {answer['attempts']} of {attempts} attempts",
            output="\n".join(answer["checks"]),
            hint=hint,
        )
    for check in answer["checks"]:
        say("smoke", check)
    return int(answer["attempts"])
