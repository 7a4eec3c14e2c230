"""A chain of functions, called one on the other's result."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from drydock.call.errors import UsageError
from drydock.call.values import arguments_of, read

if TYPE_CHECKING:
    from drydock.call.flags import Chain, Step
    from drydock.call.module import Module


def check_values(chain: Chain) -> None:
    """Read every given value, so that a wrong one is told before any work is done."""
    for step in chain.steps:
        for argument in step.function.arguments:
            if argument.flag in step.given:
                read(argument, step.given[argument.flag])


async def run(chain: Chain, module: Module) -> Any:  # noqa: ANN401 - whatever the last function returns
    """Call the functions of a chain and return the last one's result."""
    value: Any = None
    for number, step in enumerate(chain.steps):
        if number and value is None:
            previous = chain.steps[number - 1].function.name
            raise UsageError(f"{step.function.name}: cannot be called, because {previous} returned nothing")
        value = await _call(step, value, module)
    return value


async def _call(step: Step, parent: Any, module: Module) -> Any:  # noqa: ANN401
    result = step.function.apply(parent, await arguments_of(step, module))
    # The SDK's lazy objects can be awaited, too, which would evaluate them: only coroutines are awaited here.
    if inspect.iscoroutine(result):
        result = await result
    if inspect.iscoroutine(result):
        result.close()
        raise TypeError(f"{step.function.name}: returned a coroutine that was never awaited; an await is missing in it")
    return result
