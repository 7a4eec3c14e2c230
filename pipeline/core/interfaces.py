"""What is told of failures and recoveries: any module's object with one function."""

from typing import Annotated, Protocol

import anyio
from dagger import Doc

from pipeline.core.log import log
from pipeline.core.sdk import function, interface

SECONDS = 10.0


@interface
class Notifier(Protocol):
    """Whatever tells people: a chat, a pager, an issue. `examples/notifier` is one."""

    @function
    async def notify(
        self,
        event: Annotated[str, Doc("failed or recovered.")],
        report: Annotated[str, Doc("The report, as report.json has it.")],
    ) -> str:
        """Tell of a run."""
        ...


async def tell(notifier: Notifier, event: str, report: str, *, seconds: float = SECONDS) -> None:
    """Call a notifier. Its own failure is one line at the terminal, and it is given up after some seconds."""
    try:
        with anyio.move_on_after(seconds) as scope:
            await notifier.notify(event, report)
    except Exception as error:  # noqa: BLE001 - whatever a notifier of somebody else's does, the run goes on
        log("notify", f"warning: the notifier failed: {' '.join(str(error).split())}")
        return
    if scope.cancelled_caught:
        log("notify", f"warning: the notifier was given up after {seconds:g} s")
    else:
        log("notify", f"told that it {event}")
