"""The stream for other services: every public event, on a bounded stream of arq's Redis.

Under a key outside the partitions' (`docs/events.md` says how to read it). An event may come
twice, after a crash, with the same id.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from engine.errors import Unavailable
from engine.events import cloud_event, spelled
from engine.journal import UnknownEntry
from engine.limits import EVENTS_IDLE_MAX_MS, EVENTS_IDLE_MIN_MS
from persistence.outbox import STREAM, Outbox, Outgoing, Poisoned
from workers import metrics
from workers.loops import Loop

_log = structlog.stdlib.get_logger("holdfast.relay")

KEY: Final = "holdfast:events"
UNREADABLE: Final = (ValueError, KeyError, TypeError, AttributeError, UnknownEntry)
"""What an entry may raise that cannot be read."""


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
        )

    async def run_once(self) -> int:
        """Publish some events; answers how many. Raises `Unavailable`: they wait."""
        if not self._entries:
            return 0
        return await self._outbox.stream(self._publish)

    async def _publish(self, events: Sequence[Outgoing]) -> list[Poisoned]:
        poisoned = []
        written_ms = []
        pipe = self._redis.pipeline(transaction=False)
        for event in events:
            try:
                entry = event.entry()
                said = cloud_event(
                    event.event_id, event.type, event.subject_sequence, entry, self._source
                )
            except UNREADABLE as fault:
                poisoned.append(Poisoned(event, f"{type(fault).__name__}: {fault}"))
                _log.error(
                    "event_parked",
                    destination=STREAM,
                    event_id=event.event_id,
                    detail=poisoned[-1].detail,
                )
                continue
            written_ms.append(entry.at_ms)
            fields = {"id": said["id"], "type": said["type"], "event": spelled(said)}
            pipe.xadd(KEY, fields, maxlen=self._entries, approximate=True)  # type: ignore[arg-type]
        try:
            await pipe.execute()
        except (OSError, RedisError) as error:
            raise Unavailable(f"the stream's Redis: {error}") from error
        metrics.published(STREAM, len(poisoned), written_ms, time.time() * 1000)
        return poisoned
