"""The small values: EnvVariable, Label, Port, Stat, HealthcheckConfig."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from drydock.api.registry import resolves, resolves_attributes

if TYPE_CHECKING:
    from drydock.session import Session

resolves_attributes("EnvVariable", "name", "value")
resolves_attributes("Label", "name", "value")
resolves_attributes("Port", "port", "protocol", "description", "experimentalSkipHealthcheck")
resolves_attributes("Stat", "name", "size", "permissions", "fileType")

SECOND = 1_000_000_000


@resolves("HealthcheckConfig.args")
def args(_session: Session, check: dict[str, Any]) -> list[str]:
    return list(check.get("Test", ())[1:])


@resolves("HealthcheckConfig.shell")
def shell(_session: Session, check: dict[str, Any]) -> bool:
    return bool(check.get("Test", ())[:1] == ["CMD-SHELL"])


@resolves("HealthcheckConfig.retries")
def retries(_session: Session, check: dict[str, Any]) -> int:
    return int(check.get("Retries", 0))


def _duration(member: str) -> None:
    @resolves(f"HealthcheckConfig.{member[0].lower()}{member[1:]}")
    def read(_session: Session, check: dict[str, Any]) -> str:
        return format_duration(check.get(member, 0))


for _member in ("Interval", "Timeout", "StartPeriod", "StartInterval"):
    _duration(_member)


def format_duration(nanoseconds: int) -> str:
    """Return a duration as Go's `time.Duration.String` writes it, such as 1m30s or 500ms."""
    if 0 < nanoseconds < SECOND:
        unit, size = next((u, s) for u, s in (("ms", 1_000_000), ("µs", 1_000), ("ns", 1)) if nanoseconds >= s)
        return f"{nanoseconds / size:.9g}{unit}"
    minutes, rest = divmod(nanoseconds, 60 * SECOND)
    hours, minutes = divmod(minutes, 60)
    seconds = f"{rest / SECOND:.11g}s"
    return f"{hours}h{minutes}m{seconds}" if hours else f"{minutes}m{seconds}" if minutes else seconds
