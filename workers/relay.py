"""The relay: what brings public events from the outbox to the places that want them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from engine.limits import MAX_RELAY_CONNECTIONS
from engine.settings import Settings
from persistence.outbox import Outbox
from persistence.pool import create_pool
from workers.dealer import Dealer
from workers.loops import Loop
from workers.settings import queue_pool
from workers.stream import Streamer


@asynccontextmanager
async def open_relay(settings: Settings) -> AsyncIterator[tuple[Loop, ...]]:
    """Open what the relay needs; yields its loops.

    Connections of its own: however slow the places are that events go to, the drain does not wait.
    """
    pool = await create_pool(
        settings.database_url, application_name="holdfast-relay", max_size=MAX_RELAY_CONNECTIONS
    )
    redis = queue_pool(settings.queue_url)
    try:
        outbox = Outbox(pool, streams=settings.event_stream_entries > 0)
        streamer = Streamer(outbox, redis, settings.event_stream_entries, settings.event_source)
        yield (Dealer(outbox).loop, streamer.loop)
    finally:
        await redis.aclose()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(5):
                await pool.close()
        pool.terminate()
