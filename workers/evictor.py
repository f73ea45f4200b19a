"""Eviction: finished bookings leave Redis once PostgreSQL has had them for some time (rule 12)."""

from __future__ import annotations

from collections.abc import Mapping

from engine.engine import Engine
from engine.limits import EVICTION_INTERVAL_MS, MAX_EVICTED_PER_CALL, MAX_PARTITIONS_AT_ONCE
from engine.partitions import FloorSource
from engine.types import Floor
from workers import metrics
from workers.loops import Loop
from workers.partitioned import Partitioned


class Evictor:
    """Removes bookings that finished `retention_ms` ago and that PostgreSQL has.

    The cursors are asked of PostgreSQL itself: Redis may have been told one by a primary that was
    lost with its last commits.
    """

    def __init__(self, engine: Engine, cursors: FloorSource, retention_ms: int) -> None:
        self._engine = engine
        self._cursors = cursors
        self._retention_ms = retention_ms
        self._known: Mapping[int, Floor] = {}
        self._work = Partitioned(
            "evict", len(engine.partitions), self._evict, at_once=MAX_PARTITIONS_AT_ONCE
        )
        self.loop = Loop(
            "evict",
            self.run_once,
            idle_min_ms=EVICTION_INTERVAL_MS,
            idle_max_ms=EVICTION_INTERVAL_MS,
        )

    async def run_once(self) -> int:
        """Remove a bounded number of each partition's; answers how many.

        Raises `Unavailable` while PostgreSQL is away: then nothing leaves Redis.
        """
        self._known = await self._cursors()
        return await self._work.run_once()

    async def _evict(self, partition: int) -> int:
        floor = self._known.get(partition)
        if floor is None or floor.generation != self._engine.partitions.floor(partition).generation:
            return 0
        count = await self._engine.bookings.evict(
            partition, floor.sequence, self._retention_ms, MAX_EVICTED_PER_CALL
        )
        metrics.EVICTED.inc(count)
        return count
