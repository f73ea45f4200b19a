"""A relay in the test's own process, over a ledger: dealer and deliverer, worked at by hand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from engine.limits import WEBHOOK_TIMEOUT_MS
from engine.tasks import end_tasks
from engine.types import CancelReason
from persistence.deliveries import Deliveries, Target
from persistence.endpoints import Endpoints, WebhookEndpoint
from persistence.outbox import Outbox
from tests.helpers.ledger import Ledger
from tests.helpers.subscriber import Subscriber
from workers.deliverer import Deliverer, Patience
from workers.sending import Sender
from workers.webhooks import WebhookSender, open_session

SOURCE = "/tests"
PATIENT = Patience(give_up_s=3600.0, disable_s=3600.0)


@dataclass
class Relay:
    """What a worker has of the relay, and what an administrator does with it."""

    ledger: Ledger
    outbox: Outbox
    deliverer: Deliverer
    endpoints: Endpoints

    async def subscribe(self, to: Subscriber, *events: str) -> WebhookEndpoint:
        """Make an endpoint of a subscriber."""
        made = await self.endpoints.create(to.url, list(events) or ["*"])
        assert made
        endpoint, secret = made
        to.secrets = [secret]
        return endpoint

    async def cancelled(self) -> str:
        """A booking of three events."""
        booking = await self.ledger.hold()
        await self.ledger.engine.bookings.extend(booking.booking_id, "ann")
        await self.ledger.engine.bookings.cancel(booking.booking_id, CancelReason.CUSTOMER)
        return booking.booking_id

    async def deal(self) -> None:
        """Drain, and deal everything out."""
        await self.ledger.drain_all()
        while await self.outbox.deal_out():
            pass

    async def settle(self) -> None:
        """Deliver until nothing is due and nothing is on its way."""
        while await self.deliverer.run_once() or self.deliverer._tasks or self.deliverer._ended:
            pass

    async def states(self) -> list[tuple[object, ...]]:
        """Type, state, attempts, status of all deliveries."""
        return await self.ledger.rows(
            "SELECT type, state, attempts, status FROM deliveries ORDER BY delivery_id"
        )

    async def hurry(self) -> None:
        """Let all that waits be due now."""
        await self.ledger.pool.execute("UPDATE deliveries SET next_at = now()")

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Work at it all the time, as a worker does."""

        async def work() -> None:
            while True:
                await self.deal()
                await self.deliverer.run_once()
                await asyncio.sleep(0.01)

        task = asyncio.create_task(work())
        try:
            yield
        finally:
            await end_tasks((task,))


@asynccontextmanager
async def open_relay(
    ledger: Ledger,
    *,
    allow_private: bool = True,
    timeout_ms: int = WEBHOOK_TIMEOUT_MS,
    patience: Patience = PATIENT,
    channels: Mapping[str, Sender] | None = None,
    wants: Mapping[str, Collection[str]] | None = None,
    wrap: Callable[[Sender], Sender] = lambda sender: sender,
) -> AsyncIterator[Relay]:
    """A relay; `wrap` may put something between it and its webhooks."""
    vault = ledger.engine.vault
    async with open_session(allow_private=allow_private, timeout_ms=timeout_ms) as session:

        def webhook(target: Target) -> Sender:
            return wrap(WebhookSender(session, vault, target, SOURCE))

        deliveries = Deliveries(ledger.pool, tuple(channels or ()))
        deliverer = Deliverer(deliveries, channels or {}, webhook, patience)
        relay = Relay(
            ledger,
            Outbox(ledger.pool, streams=False, channels=wants),
            deliverer,
            Endpoints(ledger.pool, vault, SOURCE),
        )
        try:
            yield relay
        finally:
            await deliverer.finish()
