"""`check`: the module's checks, at the same time, with a table of how they went."""

from __future__ import annotations

import fnmatch
import io
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, TextIO

import anyio

from drydock.call import evaluate, failures
from drydock.call.errors import UsageError, did_you_mean
from drydock.call.flags import Chain, Options, Step, functions_of
from drydock.call.model import cli_name
from drydock.call.results import present

if TYPE_CHECKING:
    from collections.abc import Sequence

    from drydock.call.model import Function
    from drydock.call.module import Module


@dataclass
class Outcome:
    """How a check went."""

    name: str
    seconds: float
    error: Exception | None


def select(module: Module, patterns: Sequence[str]) -> list[Function]:
    """Return the checks whose names match one of the patterns; all without patterns."""
    checks = [function for function in functions_of(module.constructor.returns).values() if function.is_check]
    names = [check.name for check in checks]
    wanted = [cli_name(pattern) for pattern in patterns]
    for pattern in wanted:
        if not fnmatch.filter(names, pattern):
            hint = did_you_mean(pattern, names) or f"; known: {', '.join(names) or 'none'}"
            raise UsageError(f'no check "{pattern}"{hint}')
    return [check for check in checks if not wanted or any(fnmatch.fnmatch(check.name, at) for at in wanted)]


async def run(module: Module, checks: Sequence[Function], out: TextIO) -> int:
    """Run checks at the same time, each to its end; return how many failed."""
    outcomes: list[Outcome] = []

    async def one(check: Function) -> None:
        start, error = time.monotonic(), None
        chain = Chain([Step(module.constructor), Step(check)], Options())
        try:
            await present(await evaluate.run(chain, module), chain.options, io.StringIO())
        except Exception as caught:  # noqa: BLE001 - whatever a check raises is its verdict
            error = caught
        outcomes.append(outcome := Outcome(check.name, time.monotonic() - start, error))
        out.write(f"{'✘' if outcome.error else '✔'} {outcome.name} {outcome.seconds:.1f}s\n")
        out.flush()

    async with anyio.create_task_group() as tasks:
        for check in checks:
            tasks.start_soon(one, check)
    failed = [outcome for outcome in outcomes if outcome.error]
    for outcome in failed:
        if outcome.error:
            out.write(f"\n✘ {outcome.name}\n{failures.describe(outcome.error)}\n")
    return len(failed)
