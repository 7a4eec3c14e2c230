"""Keys, and work that is shared."""

import asyncio

import pytest

from drydock.graph import Shared, key_of


def test_a_key_depends_on_every_part_and_on_where_it_stands():
    keys = {key_of("a", "b"), key_of("b", "a"), key_of("ab"), key_of(["a", "b"]), key_of("a", "b", None), key_of()}
    assert len(keys) == 6


def test_a_key_is_the_same_in_every_process():
    assert key_of("exec", ["true"]) == "87577ed896314935cc50d27c4353c06dcc1852e14f2fd8abad04171a89990b15"


async def test_shared_work_runs_once_for_all_who_wait():
    runs = 0

    async def work() -> int:
        nonlocal runs
        runs += 1
        await asyncio.sleep(0)
        return runs

    shared = Shared(work)
    assert list(await asyncio.gather(shared(), shared(), shared())) == [1, 1, 1]
    assert await shared() == 1


async def test_a_failure_is_given_to_those_who_wait_and_then_forgotten():
    outcomes = iter([ValueError("first"), None])

    async def work() -> str:
        await asyncio.sleep(0)
        if error := next(outcomes):
            raise error
        return "second"

    shared = Shared(work)
    answers = await asyncio.gather(shared(), shared(), return_exceptions=True)
    assert [str(answer) for answer in answers] == ["first", "first"]
    assert await shared() == "second"


async def test_work_is_cancelled_with_the_last_one_who_waits_for_it():
    cancelled = asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    shared = Shared(work)
    first, second = asyncio.ensure_future(shared()), asyncio.ensure_future(shared())
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    assert not cancelled.is_set()
    second.cancel()
    await asyncio.gather(second, return_exceptions=True)
    await asyncio.wait_for(cancelled.wait(), 1)
    with pytest.raises(asyncio.CancelledError):
        second.result()
