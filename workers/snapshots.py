"""Snapshots: the levels of whole sales go into the journal, to be compared in both books."""

from __future__ import annotations

import time
from collections.abc import Callable

from engine.engine import Engine
from engine.limits import (
    MAX_PARTITIONS_AT_ONCE,
    MAX_SNAPSHOTS_PER_PIECE,
    SNAPSHOT_INTERVAL_MS,
    SNAPSHOT_PAUSE_MS,
)
from engine.outcomes import Outcome
from workers import metrics
from workers.loops import Loop
from workers.partitioned import Partitioned


class Snapshotter:
    """Walks through the sales of each partition, some at a time, and begins again after a while.

    A sale whose levels are those of its last snapshot gets none: a script sees to that, so that
    two workers that walk at once write no more than one.
    """

    def __init__(self, engine: Engine, clock: Callable[[], float] = time.monotonic) -> None:
        self._engine = engine
        self._clock = clock
        partitions = len(engine.partitions)
        self._after = [""] * partitions
        self._begins_at = [0.0] * partitions
        self._work = Partitioned(
            "snapshot", partitions, self._snapshot, at_once=MAX_PARTITIONS_AT_ONCE
        )
        # The pause after a piece bounds the rate, whether it wrote something or not.
        self.loop = Loop(
            "snapshot",
            self._piece,
            idle_min_ms=SNAPSHOT_PAUSE_MS,
            idle_max_ms=SNAPSHOT_PAUSE_MS,
        )

    async def run_once(self) -> int:
        """Look at a bounded number of each partition's sales; answers how many snapshots."""
        return await self._work.run_once()

    async def _piece(self) -> int:
        await self.run_once()
        return 0

    async def _snapshot(self, partition: int) -> int:
        if self._clock() < self._begins_at[partition]:
            return 0
        names = await self._engine.audit.sale_ids(
            partition, self._after[partition], MAX_SNAPSHOTS_PER_PIECE
        )
        count = 0
        for sale_id in names:
            count += await self._engine.sales.snapshot(sale_id) is Outcome.DONE
        if len(names) < MAX_SNAPSHOTS_PER_PIECE:
            self._after[partition] = ""
            self._begins_at[partition] = self._clock() + SNAPSHOT_INTERVAL_MS / 1000
        else:
            self._after[partition] = names[-1]
        metrics.SNAPSHOTS.inc(count)
        return count
