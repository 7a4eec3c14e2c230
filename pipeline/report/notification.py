"""Sending the report of a run to a notifier. A failing notifier never fails the run."""

import anyio

from pipeline.core.interfaces import Notifier
from pipeline.core.log import log

NOTIFY_SECONDS = 10.0


async def notify(notifier: Notifier, event: str, report: str, *, seconds: float = NOTIFY_SECONDS) -> None:
    """Call a notifier; log its failure as a warning, and cancel it after its deadline.

    Args:
        notifier: any module's object with `notify`.
        event: failed or recovered.
        report: the report, as report.json has it.
        seconds: the deadline.
    """
    try:
        with anyio.move_on_after(seconds) as scope:
            await notifier.notify(event, report)
    except Exception as error:  # noqa: BLE001 - a notifier of another module must not fail the run
        log("notify", f"warning: the notifier failed: {' '.join(str(error).split())}")
        return
    if scope.cancelled_caught:
        log("notify", f"warning: the notifier was cancelled after {seconds:g} s")
    else:
        log("notify", f"sent: {event}")
