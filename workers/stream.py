"""The stream for other services: every public event, on a bounded stream of arq's Redis.

Under a key outside the partitions' (`docs/events.md` says how to read it). An event may come
twice, after a crash, with the same id.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import structlog
from redis.asyncio import Redis

from engine.connections import CONNECTION_LOST
from engine.errors import Unavailable
from engine.events import spelled
from engine.limits import (
    EVENTS_GATHER_MS,
    EVENTS_IDLE_MAX_MS,
    EVENTS_IDLE_MIN_MS,
    FEW_EVENTS,
)
from persistence.deliveries import Delivery
from persistence.outbox import STREAM, Outbox, Outgoing, Poisoned
from workers import metrics
from workers.loops import Loop
from workers.sending import Poison, Told, Verdict, said

_log = structlog.stdlib.get_logger("holdfast.relay")

KEY: Final = "holdfast:events"


class Streamer:
    """Publishes what waits for the stream.

    Args:
        redis: where the stream is.
        entries: how many it keeps, about; 0 is no stream.
        source: of the events.
    """

    def __init__(self, outbox: Outbox, redis: Redis, entries: int, source: str) -> None:
        self._outbox = outbox
        self._redis = redis
        self._entries = entries
        self._source = source
        self.loop = Loop(
            "stream",
            self.run_once,
            idle_min_ms=EVENTS_IDLE_MIN_MS,
            idle_max_ms=EVENTS_IDLE_MAX_MS,
            few=FEW_EVENTS,
            gather_ms=EVENTS_GATHER_MS,
        )

    async def run_once(self) -> int:
        """Publish some events; answers how many. Raises `Unavailable`: they wait."""
        if not self._entries:
            return 0
        return await self._outbox.stream(self._publish_some)

    async def send(self, delivery: Delivery) -> Told:
        """Publish one event that was parked and is to be tried again."""
        if poisoned := await self._publish([delivery.event]):
            return Told(Verdict.POISONED, detail=poisoned[0].detail)
        return Told(Verdict.ARRIVED)

    async def _publish_some(self, events: Sequence[Outgoing]) -> list[Poisoned]:
        poisoned = await self._publish(events)
        for one in poisoned:
            metrics.EVENTS_PARKED.labels(STREAM).inc()
            _log.error(
                "event_parked",
                destination=STREAM,
                event_id=one.event.event_id,
                detail=one.detail,
            )
        return poisoned

    async def _publish(self, events: Sequence[Outgoing]) -> list[Poisoned]:
        poisoned = []
        written_ms = []
        pipe = self._redis.pipeline(transaction=False)
        for event in events:
            try:
                told, entry = said(event, self._source)
            except Poison as poison:
                poisoned.append(Poisoned(event, str(poison)))
                continue
            written_ms.append(entry.at_ms)
            fields = {"id": told["id"], "type": told["type"], "event": spelled(told)}
            pipe.xadd(KEY, fields, maxlen=self._entries, approximate=True)  # type: ignore[arg-type]
        try:
            await pipe.execute()
        except CONNECTION_LOST as error:
            raise Unavailable(f"the stream's Redis: {error}") from error
        metrics.published(STREAM, written_ms)
        return poisoned
