"""Retirement: sales leave Redis some time after they closed, when nothing is left to be done."""

from __future__ import annotations

import time
from collections.abc import Callable

from engine.engine import Engine
from engine.limits import MAX_PARTITIONS_AT_ONCE, RETIREMENT_PASS_MS, RETIREMENT_PAUSE_MS
from engine.outcomes import Outcome
from persistence.retiring import Retiring
from workers import metrics
from workers.loops import Loop
from workers.partitioned import Partitioned


class Retirer:
    """Walks through the sales of each partition, some at a time, and begins again after a while.

    Args:
        retention_ms: how long a sale stays after it closed.
        finished_ms: for how long none of its bookings may have changed.
    """

    def __init__(
        self,
        engine: Engine,
        retiring: Retiring,
        retention_ms: int,
        finished_ms: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine = engine
        self._retiring = retiring
        self._retention_ms = retention_ms
        self._finished_ms = finished_ms
        self._clock = clock
        partitions = len(engine.partitions)
        self._after = [""] * partitions
        self._begins_at = [0.0] * partitions
        self._work = Partitioned("retire", partitions, self._retire, at_once=MAX_PARTITIONS_AT_ONCE)
        self.loop = Loop(
            "retire",
            self.run_once,
            idle_min_ms=RETIREMENT_PAUSE_MS,
            idle_max_ms=RETIREMENT_PAUSE_MS,
        )

    async def run_once(self) -> int:
        """Look at a bounded number of each partition's sales; answers how many left.

        While PostgreSQL is away nothing leaves Redis.
        """
        return await self._work.run_once()

    async def _retire(self, partition: int) -> int:
        if self._clock() < self._begins_at[partition]:
            return 0
        retired = self._engine.sales.retired
        closed, self._after[partition] = await retired.closed(
            partition, self._after[partition], self._retention_ms
        )
        if not self._after[partition]:
            self._begins_at[partition] = self._clock() + RETIREMENT_PASS_MS / 1000
        count = 0
        for sale_id in await self._retiring.at_rest(closed, self._finished_ms):
            count += await retired.retire(sale_id, self._retention_ms) is Outcome.DONE
        metrics.RETIRED.inc(count)
        return count
