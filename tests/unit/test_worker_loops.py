"""Loops that only loop, and work that is done for each partition by itself."""

from __future__ import annotations

import asyncio

import pytest

from engine.errors import Fenced, Unavailable
from workers.loops import MAX_BACK_OFF_MS, BackOff, Loop
from workers.partitioned import Partitioned


class Work:
    """A `run_once` that answers what it was told to, and 0 when that is used up."""

    def __init__(self, *answers: int | Exception) -> None:
        self.answers = list(answers)
        self.calls = 0
        self.called = asyncio.Event()

    async def __call__(self) -> int:
        self.calls += 1
        self.called.set()
        answer = self.answers.pop(0) if self.answers else 0
        if isinstance(answer, Exception):
            raise answer
        return answer


def loop_of(work: Work, idle_ms: int = 1) -> Loop:
    return Loop("test", work, idle_min_ms=idle_ms, idle_max_ms=idle_ms)


async def until_called(work: Work, times: int) -> None:
    async with asyncio.timeout(10):
        while work.calls < times:
            work.called.clear()
            await work.called.wait()


async def test_a_slice_ends_by_itself_and_says_that_its_time_was_used_up() -> None:
    work = Work(5, 5)
    assert await loop_of(work).slice(0.02) is True
    assert work.calls >= 2


async def test_a_loop_outlives_every_exception_of_its_work() -> None:
    work = Work(ValueError("ours"), Unavailable("theirs"), KeyError("ours again"), 1)
    loop = loop_of(work)
    slice_ = asyncio.create_task(loop.slice(30))
    await until_called(work, 5)
    loop.stop()
    assert await slice_ is False


async def test_a_new_slice_takes_the_loop_over_and_never_works_beside_the_old() -> None:
    at_once = most = 0

    async def work() -> int:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await asyncio.sleep(0.001)
        at_once -= 1
        return 1

    loop = Loop("test", work, idle_min_ms=1, idle_max_ms=1)
    slices = [asyncio.create_task(loop.slice(30)) for _ in range(4)]
    await asyncio.sleep(0.02)
    slices.append(asyncio.create_task(loop.slice(0.02)))
    assert await asyncio.gather(*slices) == [False, False, False, False, True]
    assert most == 1


async def test_a_slice_that_waits_while_idle_gives_way_at_once() -> None:
    work = Work()
    loop = loop_of(work, idle_ms=60_000)
    old = asyncio.create_task(loop.slice(60))
    await until_called(work, 1)
    new = asyncio.create_task(loop.slice(60))
    assert await old is False
    loop.stop()
    assert await new is False


async def test_a_piece_of_few_lets_the_next_ones_gather_and_a_larger_one_does_not() -> None:
    work = Work(12, 10, 9, 12)
    loop = Loop("test", work, idle_min_ms=1, idle_max_ms=1, few=10, gather_ms=60_000)
    slice_ = asyncio.create_task(loop.slice(60))
    await until_called(work, 3)
    for _ in range(100):
        await asyncio.sleep(0)
    assert work.answers == [12]
    loop.stop()
    assert await slice_ is False


async def test_of_those_who_wait_for_a_long_piece_only_the_last_stays() -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def work() -> int:
        begun.set()
        await go_on.wait()
        return 1

    loop = Loop("test", work, idle_min_ms=1, idle_max_ms=1)
    working = asyncio.create_task(loop.slice(60))
    await begun.wait()
    waiting = [asyncio.create_task(loop.slice(60)) for _ in range(5)]
    assert await asyncio.gather(*waiting[:4]) == [False] * 4
    assert not working.done()
    assert not waiting[4].done()
    go_on.set()
    assert await working is False
    loop.stop()
    assert await waiting[4] is False


async def test_a_slice_that_is_cancelled_leaves_the_loop_to_the_next() -> None:
    work = Work(*([1] * 1_000_000))
    loop = loop_of(work)
    cancelled = asyncio.create_task(loop.slice(60))
    await until_called(work, 3)
    cancelled.cancel()
    await asyncio.gather(cancelled, return_exceptions=True)
    assert await loop.slice(0.01) is True


async def test_a_loop_that_was_stopped_does_nothing_any_more() -> None:
    work = Work(1, 1)
    loop = loop_of(work)
    loop.stop()
    assert await loop.slice(30) is False
    assert work.calls == 0


async def test_a_loop_is_idle_only_while_nobody_works_at_it() -> None:
    work = Work()
    loop = loop_of(work)
    slice_ = asyncio.create_task(loop.slice(30))
    await until_called(work, 1)
    assert loop.idle_s() == 0
    loop.stop()
    await slice_
    await asyncio.sleep(0.001)
    assert loop.idle_s() > 0


def test_a_back_off_grows_within_its_bound_and_forgets_after_a_success() -> None:
    back_off = BackOff()
    waits = [back_off.failed() for _ in range(40_000)]
    assert waits[0] < waits[10]
    assert all(0 < wait <= MAX_BACK_OFF_MS / 1000 for wait in waits)
    back_off.succeeded()
    assert not back_off.failing
    assert back_off.failed() <= waits[1] * 2


class Partitions:
    """Work by partition: each answers 1, unless it has a trouble."""

    def __init__(self, troubles: dict[int, Exception]) -> None:
        self.troubles = troubles
        self.calls: list[int] = []

    async def __call__(self, partition: int) -> int:
        self.calls.append(partition)
        if trouble := self.troubles.get(partition):
            raise trouble
        return 1


@pytest.mark.parametrize(
    "trouble",
    [Fenced(1, "sequence"), Unavailable("Redis: away"), ValueError("a bug")],
    ids=["fenced", "unavailable", "a bug"],
)
async def test_a_partition_that_fails_waits_and_the_others_go_on(trouble: Exception) -> None:
    work = Partitions({1: trouble})
    side_by_side = Partitioned("test", 4, work, at_once=2)
    assert await side_by_side.run_once() == 3
    work.troubles.clear()
    async with asyncio.timeout(10):
        while await side_by_side.run_once() < 4:  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.005)
    assert not side_by_side.troubled


@pytest.mark.parametrize(
    ("trouble", "passes"),
    [(Fenced(1, "sequence"), False), (Unavailable("Redis: away"), True), (OSError(), True)],
    ids=["fenced", "unavailable", "anything"],
)
async def test_a_fence_is_no_trouble_that_passes_by_waiting(
    trouble: Exception, passes: bool
) -> None:
    side_by_side = Partitioned("test", 2, Partitions({1: trouble}), at_once=2)
    await side_by_side.run_once()
    assert side_by_side.troubled is passes


async def test_no_more_partitions_than_allowed_are_worked_on_at_once() -> None:
    at_once = most = 0

    async def work(_: int) -> int:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await asyncio.sleep(0)
        at_once -= 1
        return 1

    assert await Partitioned("test", 50, work, at_once=3).run_once() == 50
    assert most == 3
