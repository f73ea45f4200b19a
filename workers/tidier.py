"""Keeps the tables of what leaves the books small, and shows how much waits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import structlog

from engine.limits import TIDY_INTERVAL_MS
from persistence.deliveries import Deliveries, State, Waiting
from persistence.endpoints import ENDPOINT_PREFIX
from persistence.outbox import Outbox
from workers import metrics
from workers.deliverer import WEBHOOK
from workers.loops import Loop

_log = structlog.stdlib.get_logger("holdfast.relay")

OUTBOX = "outbox"
"""The kind under which events are shown that were not dealt out yet."""


class Tidier:
    """Deletes deliveries that ended long ago."""

    def __init__(self, outbox: Outbox, deliveries: Deliveries) -> None:
        self._outbox = outbox
        self._deliveries = deliveries
        self._shown: set[tuple[str, State]] = set()
        self.loop = Loop(
            "tidy", self.run_once, idle_min_ms=TIDY_INTERVAL_MS, idle_max_ms=TIDY_INTERVAL_MS
        )

    async def run_once(self) -> int:
        """Delete some, park what is for nobody, show what waits; how many were deleted."""
        count = await self._deliveries.prune()
        waiting = await self._deliveries.waiting()
        if strays := await self._deliveries.park_strays(waiting):
            metrics.EVENTS_PARKED.labels(WEBHOOK).inc(strays)
            _log.error("events_parked", destination=WEBHOOK, events=strays)
        await self._show(waiting)
        return count

    async def _show(self, waiting: Iterable[Waiting]) -> None:
        metrics.EVENTS_OLDEST.labels(OUTBOX).set(await self._outbox.oldest_s())
        counts: Counter[tuple[str, State]] = Counter(dict.fromkeys(self._shown, 0))
        oldest = {kind: 0.0 for kind, state in self._shown if state is State.WAITING}
        for found in waiting:
            name = found.destination
            kind = WEBHOOK if name.startswith(ENDPOINT_PREFIX) else name
            counts[kind, found.state] += found.deliveries
            if found.state is State.WAITING:
                oldest[kind] = max(oldest.get(kind, 0.0), found.oldest_s)
        self._shown |= counts.keys()
        for (kind, state), count in counts.items():
            metrics.EVENTS_WAITING.labels(kind, state).set(count)
        for kind, age_s in oldest.items():
            metrics.EVENTS_OLDEST.labels(kind).set(age_s)
