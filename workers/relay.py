"""The relay: what brings public events from the outbox to the places that want them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import aiohttp

from engine.crypto import Vault
from engine.errors import SettingsError
from engine.limits import MAX_RELAY_CONNECTIONS, WEBHOOK_TIMEOUT_MS
from engine.settings import Settings
from persistence.deliveries import Deliveries, Target
from persistence.outbox import STREAM, Outbox
from persistence.pool import Pool, create_pool
from workers.dealer import Dealer
from workers.deliverer import Deliverer, Patience
from workers.loops import Loop
from workers.mail import EMAIL, MailSender
from workers.notices import TYPES, Names, Templates
from workers.people import People
from workers.sending import Poison, Sender
from workers.settings import queue_pool
from workers.sms import SMS, SmsSender, provider_of
from workers.smtp import open_sessions, server_of
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

        names = _channels(settings)
        deliveries = Deliveries(pool, names)
        outbox = Outbox(
            pool,
            streams=settings.event_stream_entries > 0,
            channels=dict.fromkeys(names, TYPES),
        )
        streamer = Streamer(outbox, redis, settings.event_stream_entries, source)
        senders = await stack.enter_async_context(_people(settings, vault, deliveries))
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


def _channels(settings: Settings) -> tuple[str, ...]:
    """The channels to people that there are; without a URL there is none, and nothing waits."""
    urls = {EMAIL: settings.smtp_url, SMS: settings.sms_url}
    return tuple(name for name, url in urls.items() if url)


@asynccontextmanager
async def _people(
    settings: Settings, vault: Vault, deliveries: Deliveries
) -> AsyncIterator[dict[str, Sender]]:
    """Open the senders of the channels to people. Raises `SettingsError`."""
    templates = Templates(settings.templates_dir)
    try:
        templates.check()
    except Poison as fault:
        raise SettingsError(f"HOLDFAST_TEMPLATES_DIR: {fault}") from None
    people = People(vault, Names(deliveries.sale_names), templates)
    senders: dict[str, Sender] = {}
    timeout = aiohttp.ClientTimeout(total=WEBHOOK_TIMEOUT_MS / 1000)
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(aiohttp.ClientSession(timeout=timeout))
        if settings.smtp_url:
            try:
                server = server_of(settings.smtp_url)
            except ValueError as fault:
                raise SettingsError(f"HOLDFAST_SMTP_URL: {fault}") from None
            sessions = await stack.enter_async_context(open_sessions(server))
            senders[EMAIL] = MailSender(sessions, settings.mail_from, people)
        if settings.sms_url:
            try:
                provider = provider_of(session, settings.sms_url)
            except ValueError as fault:
                raise SettingsError(f"HOLDFAST_SMS_URL: {fault}") from None
            senders[SMS] = SmsSender(provider, people)
        yield senders


async def _close(pool: Pool) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(5):
            await pool.close()
    pool.terminate()
