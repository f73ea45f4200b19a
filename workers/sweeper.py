"""Expiry: holds whose deadline has passed give their units back."""

from __future__ import annotations

from engine.engine import Engine
from engine.limits import MAX_PARTITIONS_AT_ONCE, MAX_SWEPT_PER_PIECE
from workers import metrics
from workers.loops import Loop
from workers.partitioned import Partitioned


class Sweeper:
    """Ends due holds of all partitions, every `interval_ms`, without a pause while it finds some.

    A reserve that is short takes due holds back by itself (`lua/reserve.lua`), so that a late
    sweeper withholds stock from nobody.
    """

    def __init__(self, engine: Engine, interval_ms: int) -> None:
        self._engine = engine
        self._work = Partitioned(
            "sweep", len(engine.partitions), self._sweep, at_once=MAX_PARTITIONS_AT_ONCE
        )
        self.loop = Loop("sweep", self.run_once, idle_min_ms=interval_ms, idle_max_ms=interval_ms)

    async def run_once(self) -> int:
        """End a bounded number of each partition's due holds; answers how many."""
        return await self._work.run_once()

    async def _sweep(self, partition: int) -> int:
        count = await self._engine.bookings.sweep(partition, MAX_SWEPT_PER_PIECE)
        metrics.EXPIRED.inc(count)
        return count
