"""Who works, who waits, who is told to come again: a crowd is served, an overload is not kept."""

from __future__ import annotations

import asyncio

import pytest

from api.admission import Admission
from engine.limits import (
    ADMISSION_PATIENCE_MS,
    ADMISSION_QUIET_WINDOWS,
    ADMISSION_TARGET_MS,
    ADMISSION_WINDOW_MS,
)

WINDOW_S = ADMISSION_WINDOW_MS / 1000
AT_ONCE = 4


class Desk:
    """Callers of an admission, on a clock of their own."""

    def __init__(self, at_once: int = AT_ONCE) -> None:
        self.now_s = 100.0
        self.admission = Admission(at_once, AT_ONCE, lambda: self.now_s)
        self.working = 0
        self.served = 0
        self.refused = 0
        self.calls: list[asyncio.Task[None]] = []

    async def _call(self) -> None:
        if await self.admission.enter():
            self.working += 1
        else:
            self.refused += 1

    async def come(self, count: int) -> None:
        """So many come at this moment."""
        self.calls += [asyncio.create_task(self._call()) for _ in range(count)]
        await settle()

    async def serve(self, count: int) -> None:
        """So many of those at work are done, one after the other."""
        for _ in range(count):
            if not self.working:
                return
            self.working -= 1
            self.served += 1
            self.admission.leave()
            await settle()

    async def windows(self, count: int, come: int, served: int) -> None:
        """Windows in which so many come and go."""
        for _ in range(count):
            self.now_s += WINDOW_S
            await self.come(come)
            await self.serve(served)

    @property
    def waiting(self) -> int:
        return sum(not call.done() for call in self.calls)


async def settle() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


async def test_so_many_work_at_once_and_the_others_in_the_order_in_which_they_came() -> None:
    desk = Desk()
    await desk.come(AT_ONCE + 3)
    assert (desk.working, desk.waiting) == (AT_ONCE, 3)
    await desk.serve(1)
    assert [call.done() for call in desk.calls[AT_ONCE:]] == [True, False, False]
    await desk.serve(2)
    assert (desk.working, desk.waiting, desk.refused) == (AT_ONCE, 0, 0)


async def test_a_crowd_that_comes_at_once_is_served_to_the_last() -> None:
    desk = Desk()
    await desk.come(1_000)
    # Each who is served asks again: as many come as go, for as long as you like.
    await desk.windows(50, come=40, served=40)
    assert (desk.refused, desk.admission.is_overloaded()) == (0, False)
    while desk.working:
        await desk.serve(100)
    assert desk.served == 3_000


async def test_an_overload_cuts_the_queue_and_keeps_it_short() -> None:
    desk = Desk()
    room = int(20 / WINDOW_S * ADMISSION_TARGET_MS / 1000)
    await desk.windows(5, come=40, served=20)
    assert (desk.refused, desk.waiting) == (0, 100 - AT_ONCE)
    desk.admission.begin_to_shed()
    await settle()
    assert (desk.waiting, desk.refused) == (room, 100 - AT_ONCE - room)
    before = desk.served
    await desk.windows(20, come=40, served=20)
    assert desk.waiting <= room
    # All who work or wait when a window begins are served in it.
    assert desk.served - before >= 20 * (AT_ONCE + room - 1)


async def test_in_an_overload_fewer_are_worked_at_until_it_is_over() -> None:
    desk = Desk(at_once=10 * AT_ONCE)
    await desk.windows(5, come=20 * AT_ONCE, served=10 * AT_ONCE)
    assert desk.working == 10 * AT_ONCE
    desk.admission.begin_to_shed()
    await desk.serve(9 * AT_ONCE)
    assert desk.working == AT_ONCE
    await desk.windows(ADMISSION_QUIET_WINDOWS + 1, come=1, served=10 * AT_ONCE)
    assert not desk.admission.is_overloaded()
    await desk.come(20 * AT_ONCE)
    assert desk.working == 10 * AT_ONCE


async def test_where_few_at_once_let_far_fewer_go_more_are_worked_at() -> None:
    desk = Desk(at_once=16 * AT_ONCE)
    await desk.windows(5, come=20 * AT_ONCE, served=16 * AT_ONCE)
    desk.admission.begin_to_shed()
    await desk.serve(15 * AT_ONCE)
    at_work = []
    for _ in range(8):
        # A turn of the event loop lasts a window: who works when it begins is done at its end.
        desk.now_s += WINDOW_S
        await desk.come(40 * AT_ONCE)
        at_work.append(desk.working)
        await desk.serve(desk.working)
    assert at_work[-1] == 8 * AT_ONCE, "as many as let half as many go as before"
    for turn in range(8 * 16):
        # And now a window has sixteen of them.
        desk.now_s += WINDOW_S if turn % 16 == 0 else 0
        await desk.come(40 * AT_ONCE)
        at_work.append(desk.working)
        await desk.serve(desk.working)
    assert at_work[-1] == AT_ONCE


async def test_an_overload_is_over_when_nobody_had_to_be_sent_away() -> None:
    desk = Desk()
    await desk.windows(5, come=40, served=20)
    desk.admission.begin_to_shed()
    await desk.windows(ADMISSION_QUIET_WINDOWS, come=2, served=20)
    assert desk.admission.is_overloaded(), "in the first of them many were sent away"
    await desk.windows(2, come=2, served=20)
    assert not desk.admission.is_overloaded()
    refused = desk.refused
    await desk.come(50)
    assert (desk.refused, desk.waiting) == (refused, 50 - AT_ONCE)


async def test_an_overload_is_over_when_nobody_came_for_a_while() -> None:
    desk = Desk()
    await desk.windows(5, come=40, served=20)
    desk.admission.begin_to_shed()
    await desk.windows(2, come=40, served=20)
    assert desk.admission.is_overloaded()
    while desk.working:
        await desk.serve(10)
    desk.now_s += 60
    await desk.come(1_000)
    assert not desk.admission.is_overloaded()
    assert desk.waiting == 1_000 - AT_ONCE


async def test_while_nothing_goes_nobody_waits_in_an_overload() -> None:
    desk = Desk()
    await desk.windows(3, come=10, served=0)
    desk.admission.begin_to_shed()
    await desk.windows(3, come=10, served=0)
    assert desk.admission.is_overloaded()
    assert (desk.working, desk.waiting) == (AT_ONCE, 0)
    assert desk.refused == 60 - AT_ONCE


async def test_who_waited_beyond_all_patience_is_not_served() -> None:
    desk = Desk()
    await desk.come(AT_ONCE + 2)
    desk.now_s += ADMISSION_PATIENCE_MS / 1000 + 1
    await desk.come(1)
    await desk.serve(1)
    assert desk.refused == 2
    assert (desk.working, desk.waiting) == (AT_ONCE, 0)


@pytest.mark.parametrize("its_turn", [False, True], ids=["waiting", "its turn has come"])
async def test_who_is_cancelled_takes_nobodys_turn(*, its_turn: bool) -> None:
    desk = Desk()
    await desk.come(AT_ONCE + 2)
    if its_turn:
        desk.working -= 1
        desk.admission.leave()
    desk.calls[AT_ONCE].cancel()
    await settle()
    assert desk.calls[AT_ONCE].cancelled()
    await desk.serve(1)
    assert desk.calls[AT_ONCE + 1].done()
    await desk.serve(AT_ONCE)
    await desk.come(AT_ONCE)
    assert (desk.working, desk.waiting) == (AT_ONCE, 0)
