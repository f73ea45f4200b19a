"""The watch: shows where the journals stand, and has new holds shed before a server fails.

A full disk ends Redis and a full memory refuses everything that makes a key. Before either, new
holds are shed: they alone can wait, and what was held goes on to its end. The word is given for a
few seconds and given again while it is true, so that a watch that dies leaves nothing closed.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import structlog

from engine.engine import Engine
from engine.errors import Fenced
from engine.journal_status import JournalStatus
from engine.limits import OBSERVE_INTERVAL_MS, SHED_TTL_MS
from engine.pressure import Memory
from engine.settings import Settings
from workers import metrics
from workers.loops import Loop

_log = structlog.stdlib.get_logger("holdfast.worker")


class Watch:
    """Looks at Redis's memory, the sum of the backlogs and, where it is told one, a disk."""

    def __init__(self, engine: Engine, settings: Settings) -> None:
        self._engine = engine
        self._disk: Path | None = settings.watch_disk
        self._min_free_bytes = settings.min_free_bytes
        self._max_memory_percent = settings.max_memory_percent
        self._short: list[str] = []
        self.loop = Loop(
            "observe",
            self.run_once,
            idle_min_ms=OBSERVE_INTERVAL_MS,
            idle_max_ms=OBSERVE_INTERVAL_MS,
        )

    async def run_once(self) -> int:
        """Look once, and shed where something runs short; answers 0, so that the loop pauses."""
        statuses = await self._engine.journal.statuses(lenient=True)
        metrics.observe(statuses, self._engine.marks)
        memory = await self._engine.memory()
        metrics.REDIS_MEMORY.set(max(one.used_share for one in memory.values()))
        reasons = self._judge(statuses, memory, await self._free_bytes())
        short = sorted(set(reasons.values()))
        if short != self._short:
            self._short = short
            if short:
                _log.error("sheds_new_holds", reason=", ".join(short), partitions=sorted(reasons))
            else:
                _log.info("takes_new_holds_again")
        await asyncio.gather(*(self._shed(*one) for one in reasons.items()))
        return 0

    def _judge(
        self,
        statuses: Sequence[JournalStatus],
        memory: Mapping[int, Memory],
        free_bytes: int | None,
    ) -> dict[int, str]:
        """What runs short, by partition: `disk`, `memory` of its server, or `backlog`."""
        if free_bytes is not None and free_bytes < self._min_free_bytes:
            return dict.fromkeys((status.partition for status in statuses), "disk")
        lacking_bytes = sum(status.lacking_bytes for status in statuses)
        reasons = {}
        for status in statuses:
            server = memory.get(status.partition, Memory(0, 0))
            if 0 < server.max_bytes * self._max_memory_percent <= server.used_bytes * 100:
                reasons[status.partition] = "memory"
            elif lacking_bytes >= self._engine.marks.max_bytes:
                reasons[status.partition] = "backlog"
        return reasons

    async def _free_bytes(self) -> int | None:
        if self._disk is None:
            return None
        # In a thread: a disk that hangs must not stop the drain.
        free = (await asyncio.to_thread(shutil.disk_usage, self._disk)).free
        metrics.DISK_FREE.set(free)
        return free

    async def _shed(self, partition: int, reason: str) -> None:
        try:
            await self._engine.journal.shed(partition, reason, SHED_TTL_MS)
        except Fenced:
            # It takes no holds anyway.
            return
