"""The two clocks: the wall's, for what is recorded, and the monotonic one, for how long something takes."""

import datetime

import anyio


def now() -> datetime.datetime:
    """Return the present time, in UTC."""
    return datetime.datetime.now(datetime.UTC)


def today() -> datetime.date:
    """Return the present date, in UTC."""
    return now().date()


def timestamp(at: datetime.datetime | None = None, *, digits: str = "milliseconds") -> str:
    """Return a time in RFC 3339, in UTC: the present one by default.

    Args:
        at: the time, with its zone.
        digits: `milliseconds`, or `microseconds` as Kubernetes' MicroTime has it.
    """
    return (at or now()).astimezone(datetime.UTC).isoformat(timespec=digits).replace("+00:00", "Z")


def parse(text: str) -> datetime.datetime:
    """Read a time in RFC 3339.

    Raises:
        ValueError: if it has another form.
    """
    return datetime.datetime.fromisoformat(text)


def monotonic() -> float:
    """Return seconds that only go forward: those of the event loop, which a test may let jump."""
    return anyio.current_time()
