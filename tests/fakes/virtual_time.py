"""Tests in virtual time: sleeping takes no time, and the wall clock follows."""

import datetime
import functools
from collections.abc import Awaitable, Callable
from typing import ParamSpec

import pytest
import trio
import trio.testing

from pipeline.core import clock

P = ParamSpec("P")

EPOCH = datetime.datetime(2026, 1, 5, 12, tzinfo=datetime.UTC)


def now() -> datetime.datetime:
    """Return the virtual wall clock's time; it starts at EPOCH in each test."""
    return EPOCH + datetime.timedelta(seconds=trio.current_time())


def in_virtual_time(test: Callable[P, Awaitable[None]]) -> Callable[P, None]:
    """Run an asynchronous test in trio's virtual time, with the wall clock that it implies."""

    @functools.wraps(test)
    def run(*args: P.args, **named: P.kwargs) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(clock, "now", now)
            trio.run(functools.partial(test, *args, **named), clock=trio.testing.MockClock(autojump_threshold=0))

    return run
