"""Warnings: customers of holds that end soon are told, in time to pay."""

from __future__ import annotations

from collections import defaultdict

from engine.engine import Engine
from engine.expiring import Places
from engine.limits import MAX_PARTITIONS_AT_ONCE, WARN_INTERVAL_MS
from workers import metrics
from workers.loops import Loop
from workers.partitioned import Partitioned


class Warner:
    """Warns of holds of all partitions `warning_ms` before they end; 0 warns of none."""

    def __init__(self, engine: Engine, warning_ms: int) -> None:
        self._engine = engine
        self._warning_ms = warning_ms
        self._places: defaultdict[int, Places] = defaultdict(Places)
        self._work = Partitioned(
            "warn", len(engine.partitions), self._warn, at_once=MAX_PARTITIONS_AT_ONCE
        )
        self.loop = Loop(
            "warn", self.run_once, idle_min_ms=WARN_INTERVAL_MS, idle_max_ms=WARN_INTERVAL_MS
        )

    async def run_once(self) -> int:
        """Warn of what ends soon; answers of how many holds."""
        if not self._warning_ms:
            return 0
        return await self._work.run_once()

    async def _warn(self, partition: int) -> int:
        count = await self._engine.expiring.warn(
            partition, self._warning_ms, self._places[partition]
        )
        metrics.WARNED.inc(count)
        return count
