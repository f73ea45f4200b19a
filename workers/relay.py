"""The relay: what brings public events from the outbox to the places that want them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import aiohttp

from engine.crypto import Vault
from engine.limits import MAX_RELAY_CONNECTIONS, WEBHOOK_TIMEOUT_MS
from engine.settings import Settings
from persistence.deliveries import Deliveries, Target
from persistence.outbox import STREAM, Outbox
from persistence.pool import Pool, create_pool
from workers.channels import Channels
from workers.dealer import Dealer
from workers.deliverer import Deliverer, Patience
from workers.loops import Loop
from workers.mail import EMAIL, MailSender
from workers.notices import TYPES, Names
from workers.people import People
from workers.sending import Sender
from workers.settings import queue_pool
from workers.sms import SMS, SmsSender
from workers.smtp import open_sessions
from workers.stream import Streamer
from workers.tidier import Tidier
from workers.webhooks import WebhookSender, open_session


@asynccontextmanager
async def open_relay(settings: Settings) -> AsyncIterator[tuple[Loop, ...]]:
    """Open what the relay needs; yields its loops. What is on its way at the end is waited for.

    Connections of its own: however slow the places are that events go to, the drain does not wait.

    Raises:
        SettingsError: a channel to people or its templates are not as they have to be.
    """
    vault = Vault(settings.data_key)
    source = settings.event_source
    async with AsyncExitStack() as stack:
        pool = await create_pool(
            settings.database_url,
            application_name="holdfast-relay",
            max_size=MAX_RELAY_CONNECTIONS,
            # Dealt out again from the outbox, or sent again under the same id.
            may_repeat=True,
            # Its locks end with their transactions.
            keeps_nothing=True,
        )
        stack.push_async_callback(_close, pool)
        redis = queue_pool(settings.queue_url)
        stack.push_async_callback(redis.aclose)
        session = await stack.enter_async_context(
            open_session(allow_private=settings.webhook_allow_private)
        )

        def webhook(target: Target) -> WebhookSender:
            return WebhookSender(session, vault, target, source)

        channels = Channels.of(settings)
        names = _names(channels)
        deliveries = Deliveries(pool, names)
        outbox = Outbox(
            pool,
            streams=settings.event_stream_entries > 0,
            channels=dict.fromkeys(names, TYPES),
        )
        streamer = Streamer(outbox, redis, settings.event_stream_entries, source)
        senders = await stack.enter_async_context(_people(settings, channels, vault, deliveries))
        if settings.event_stream_entries:
            # Only what was parked and is tried again comes this way.
            senders[STREAM] = streamer
        patience = Patience(
            settings.delivery_give_up_ms / 1000, settings.webhook_disable_after_ms / 1000
        )
        deliverer = Deliverer(deliveries, senders, webhook, patience)
        stack.push_async_callback(deliverer.finish)
        yield (
            Dealer(outbox).loop,
            streamer.loop,
            deliverer.loop,
            Tidier(outbox, deliveries).loop,
        )


def _names(channels: Channels) -> tuple[str, ...]:
    """The channels to people that there are; without a URL there is none, and nothing waits."""
    found = {EMAIL: channels.smtp, SMS: channels.sms}
    return tuple(name for name, channel in found.items() if channel)


@asynccontextmanager
async def _people(
    settings: Settings, channels: Channels, vault: Vault, deliveries: Deliveries
) -> AsyncIterator[dict[str, Sender]]:
    """Open the senders of the channels to people."""
    people = People(vault, Names(deliveries.sale_names), channels.templates)
    senders: dict[str, Sender] = {}
    timeout = aiohttp.ClientTimeout(total=WEBHOOK_TIMEOUT_MS / 1000)
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(aiohttp.ClientSession(timeout=timeout))
        if channels.smtp:
            sessions = await stack.enter_async_context(open_sessions(channels.smtp))
            senders[EMAIL] = MailSender(sessions, settings.mail_from, people)
        if channels.sms:
            senders[SMS] = SmsSender(session, channels.sms, people)
        yield senders


async def _close(pool: Pool) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(5):
            await pool.close()
    pool.terminate()
