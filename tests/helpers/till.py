"""Payments on real servers and the simulator: intents that a process left behind, and their end."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from redis.asyncio import Redis

from engine.outcomes import Outcome
from engine.payments.books import PaymentRequest
from engine.payments.gateway import Approved, Gateway
from engine.payments.intents import intent_of, payment_of
from engine.payments.saga import Saga
from engine.payments.stripe import StripeGateway
from engine.payments.types import Payment
from engine.types import Booking, ItemDefinition, SaleDefinition
from tests.helpers.gateways import Simulator, adapter
from tests.helpers.stage import Stage, eventually, stage, stage_settings
from workers.recovery import Recovery

PRICE: Final = 1250
OWNER: Final = "a-process-that-is-gone"


@dataclass(frozen=True, slots=True)
class Till:
    """A stage that takes money, and no worker: tests do its work by hand."""

    stage: Stage
    simulator: Simulator
    gateway: StripeGateway
    saga: Saga
    redis: Redis

    async def put(self, capacity: int = 10, hold_ms: int = 60_000) -> None:
        """Put the sale `gig` of one item, `seat`, that costs money."""
        item = ItemDefinition("seat", "Seat", capacity, unit_price=PRICE)
        answer = await self.stage.engine.sales.put(
            SaleDefinition("gig", "Gig", (item,), hold_ms=hold_ms)
        )
        assert answer.sale, answer

    async def begin(self, method: str = "pm_card_visa", customer_id: str = "ann") -> Booking:
        """Hold a seat and write the intent to pay for it down, as a process that then ended."""
        return await self.begin_for(await self.stage.hold(customer_id), method)

    async def begin_for(self, booking: Booking, method: str = "pm_card_visa") -> Booking:
        """The same for a hold that is there."""
        request = PaymentRequest(booking.booking_id, booking.customer_id, str(uuid.uuid4()), method)
        answer = await self.stage.engine.payments.begin(request, uuid.uuid4().hex, OWNER)
        assert answer.outcome is Outcome.BEGUN, answer
        assert answer.booking
        return answer.booking

    async def authorize(self, booking: Booking) -> str:
        """Have the gateway authorize an intent, as a process that then ended."""
        answer = await self.gateway.authorize(intent_of(booking))
        assert isinstance(answer, Approved), answer
        return answer.authorization_id

    async def paid(self, customer_id: str = "ann") -> Booking:
        """Hold a seat and pay for it."""
        booking = await self.saga.drive(await self.begin(customer_id=customer_id), OWNER)
        assert booking.payment
        assert booking.payment.status == "CAPTURED"
        return booking

    async def abandon(self, booking: Booking) -> None:
        """Let the lease run out now, and the time come to look at the payment."""
        keys, booking_id = self.stage.engine.keys, booking.booking_id
        partition = keys.partition_of_booking(booking_id)
        assert partition is not None
        await self.redis.delete(keys.key("lease", partition, booking_id))
        await self.redis.zadd(keys.key("payments", partition), {booking_id: 0}, xx=True)

    async def age(self, booking: Booking, by_ms: int) -> None:
        """Have an intent, and its last change, been written down earlier."""
        partition = self.stage.engine.keys.partition_of_booking(booking.booking_id)
        assert partition is not None
        name = self.stage.engine.keys.key("booking", partition, booking.booking_id)
        for field in ("payment_begun_ms", "updated_ms"):
            before = await self.redis.execute_command("HGET", name, field)
            await self.redis.execute_command("HSET", name, field, int(before) - by_ms)

    async def booking(self, booking: Booking) -> Booking:
        """The booking as it is now."""
        found = (await self.stage.engine.bookings.get(booking.booking_id)).booking
        assert found
        return found

    async def payment(self, booking: Booking) -> Payment:
        """Its payment as it is now."""
        return payment_of(await self.booking(booking))

    async def rests(self, *bookings: Booking) -> None:
        """Wait until nothing is open, which somebody has to see to."""

        async def is_at_rest() -> bool:
            payments = [await self.payment(booking) for booking in bookings]
            return all(payment.step == "none" for payment in payments)

        await eventually(is_at_rest, "payments to rest")

    async def recover(self, recovery: Recovery, until: Callable[[], Awaitable[bool]]) -> None:
        """Have a worker's loop turn until something is so."""

        async def turned() -> bool:
            await recovery.run_once()
            return await until()

        await eventually(turned, "recovery to have done it")
        await recovery.finish()

    def saga_over(self, gateway: Gateway, **terms: Any) -> Saga:
        """A saga over another gateway, or with other terms."""
        return Saga(self.stage.engine.payments, gateway, **terms)


@asynccontextmanager
async def open_till(
    redis_url: str, database_url: str, simulator: Simulator, **changes: Any
) -> AsyncIterator[Till]:
    """Tables, partitions, an engine, the adapter to the simulator."""
    async with (
        stage(stage_settings(redis_url, database_url, partitions="4")) as on,
        adapter(simulator.url, **changes) as gateway,
        Redis.from_url(redis_url) as redis,
    ):
        till = Till(on, simulator, gateway, Saga(on.engine.payments, gateway), redis)
        await till.put()
        yield till


def quiet(directory: Path) -> Simulator:
    """A simulator without webhooks."""
    return Simulator(directory)
