"""The drain's hands: every partition's journal goes on into PostgreSQL, side by side."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from engine.limits import (
    DRAIN_FEW_ENTRIES,
    DRAIN_FEW_MS,
    DRAIN_GATHER_ENTRIES,
    DRAIN_GATHER_MS,
    DRAIN_IDLE_MAX_MS,
    DRAIN_IDLE_MIN_MS,
    DRAIN_LOOK_MS,
    FINAL_DRAIN_MS,
    MAX_DATABASE_CONNECTIONS,
)
from workers.loops import Loop
from workers.partitioned import Partitioned

_log = structlog.stdlib.get_logger("holdfast.worker")

AT_ONCE: Final = MAX_DATABASE_CONNECTIONS - 2
"""Each drain takes a connection of the pool; bootstrap and eviction need one now and then."""


def _rest_ms(count: int) -> int:
    """How long to leave a partition alone of which a look took so many entries."""
    if count >= DRAIN_GATHER_ENTRIES:
        return 0
    if count >= DRAIN_FEW_ENTRIES:
        return DRAIN_GATHER_MS
    return DRAIN_FEW_MS if count else DRAIN_LOOK_MS


class Drainer:
    """Drives `run_once(partition)` of a `persistence.drain.Drain` over all partitions.

    Two drainers on one journal do no harm: the cursor moves by compare-and-set, and the second
    rolls back.

    A partition of which a look took little is left alone for a while: a commit costs a disk the
    same for one entry as for a thousand, and what comes meanwhile shares the next one. One that had
    nothing rests as well: with one hot sale, the others would be asked at its pace.
    """

    def __init__(self, partitions: int, drain: Callable[[int], Awaitable[int]]) -> None:
        self._drain = drain
        self._rests_until = [0.0] * partitions
        self._ends = False
        self._work = Partitioned("drain", partitions, self._take, at_once=AT_ONCE)
        self.loop = Loop(
            "drain", self.run_once, idle_min_ms=DRAIN_IDLE_MIN_MS, idle_max_ms=DRAIN_IDLE_MAX_MS
        )

    async def run_once(self) -> int:
        """Take a batch of each partition over; answers how many entries."""
        return await self._work.run_once()

    async def _take(self, partition: int) -> int:
        if time.monotonic() < self._rests_until[partition] and not self._ends:
            return 0
        count = await self._drain(partition)
        self._rests_until[partition] = time.monotonic() + _rest_ms(count) / 1000
        return count

    async def finish(self) -> bool:
        """Before the process ends: drain until nothing is left, for a bounded time.

        What is left stays in the journal for the next worker; nothing is lost. Answers whether
        the journal was found empty.
        """
        self._ends = True
        give_up = time.monotonic() + FINAL_DRAIN_MS / 1000
        total = 0
        while time.monotonic() < give_up:
            count = await self.run_once()
            total += count
            if not count and not self._work.troubled:
                _log.info("drained_to_the_end", entries=total)
                return True
            if not count:
                await asyncio.sleep(DRAIN_IDLE_MAX_MS / 1000)
        _log.warning("stopped_with_a_backlog", entries=total)
        return False
