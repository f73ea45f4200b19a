"""The relay: what brings public events from the outbox to the places that want them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from engine.crypto import Vault
from engine.limits import MAX_RELAY_CONNECTIONS
from engine.settings import Settings
from persistence.deliveries import Deliveries, Target
from persistence.outbox import STREAM, Outbox
from persistence.pool import Pool, create_pool
from workers.dealer import Dealer
from workers.deliverer import Deliverer, Patience
from workers.loops import Loop
from workers.sending import Sender
from workers.settings import queue_pool
from workers.stream import Streamer
from workers.tidier import Tidier
from workers.webhooks import WebhookSender, open_session


@asynccontextmanager
async def open_relay(settings: Settings) -> AsyncIterator[tuple[Loop, ...]]:
    """Open what the relay needs; yields its loops. What is on its way at the end is waited for.

    Connections of its own: however slow the places are that events go to, the drain does not wait.
    """
    vault = Vault(settings.data_key)
    source = settings.event_source
    async with AsyncExitStack() as stack:
        pool = await create_pool(
            settings.database_url, application_name="holdfast-relay", max_size=MAX_RELAY_CONNECTIONS
        )
        stack.push_async_callback(_close, pool)
        redis = queue_pool(settings.queue_url)
        stack.push_async_callback(redis.aclose)
        session = await stack.enter_async_context(
            open_session(allow_private=settings.webhook_allow_private)
        )

        def webhook(target: Target) -> WebhookSender:
            return WebhookSender(session, vault, target, source)

        outbox = Outbox(pool, streams=settings.event_stream_entries > 0)
        deliveries = Deliveries(pool)
        patience = Patience(
            settings.delivery_give_up_ms / 1000, settings.webhook_disable_after_ms / 1000
        )
        streamer = Streamer(outbox, redis, settings.event_stream_entries, source)
        channels: dict[str, Sender] = {}
        if settings.event_stream_entries:
            # Only what was parked and is tried again comes this way.
            channels[STREAM] = streamer
        deliverer = Deliverer(deliveries, channels, webhook, patience)
        stack.push_async_callback(deliverer.finish)
        yield (
            Dealer(outbox).loop,
            streamer.loop,
            deliverer.loop,
            Tidier(outbox, deliveries).loop,
        )


async def _close(pool: Pool) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(5):
            await pool.close()
    pool.terminate()
