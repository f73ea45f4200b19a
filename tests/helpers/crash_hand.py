"""Payments brought to where a crash test lets them be carried on."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

import aiohttp
from redis.asyncio import Redis

from engine.bookings import Answer
from engine.engine import Engine
from engine.outcomes import Outcome
from engine.payments.books import PaymentRequest
from engine.payments.intents import authorization_of, intent_of, payment_of, reference_of
from engine.payments.saga import Saga
from engine.payments.stripe import StripeGateway
from engine.types import Booking, CancelReason, ItemDefinition, LineRequest, SaleDefinition

OWNER: Final = "the-process-that-dies"
PRICE: Final = 1_250
VISA: Final = "pm_card_visa"
ASKS_BUYER: Final = "pm_card_authenticationRequired"


@dataclass
class Hand:
    """Whoever carries a payment on: one booking, of a sale of its own of one unit."""

    engine: Engine
    redis: Redis
    gateway: StripeGateway
    simulator_url: str
    sale_id: str
    booking_id: str = ""

    @property
    def key(self) -> str:
        """The buyer's idempotency key."""
        return str(uuid.uuid5(uuid.NAMESPACE_URL, self.sale_id))

    async def booking(self) -> Booking:
        """The booking as it is now."""
        found = (await self.engine.bookings.get(self.booking_id)).booking
        assert found
        return found

    async def hold(self) -> None:
        """Put the sale, and hold its unit."""
        item = ItemDefinition("seat", "Seat", 1, unit_price=PRICE)
        await self.engine.sales.put(
            SaleDefinition(self.sale_id, "Sale", (item,), hold_ms=3_600_000)
        )
        answer = await self.engine.bookings.reserve(
            self.sale_id, "ann", [LineRequest("seat", 1)], self.key
        )
        assert answer.booking, answer
        self.booking_id = answer.booking.booking_id

    def request(self, card: str) -> PaymentRequest:
        """The buyer's pay request."""
        return PaymentRequest(self.booking_id, "ann", self.key, card)

    async def begin(self, card: str = VISA) -> Booking:
        """Write the intent down, as the owner."""
        fingerprint = self.engine.vault.fingerprint("pay", card)
        return _done(await self.engine.payments.begin(self.request(card), fingerprint, OWNER))

    async def claim(self, owner: str = OWNER) -> Booking:
        """Take the lease."""
        return _done(await self.engine.payments.claim(self.booking_id, owner))

    async def abandon(self) -> None:
        """Let the lease run out now, and the time come to look at the payment."""
        partition = self.engine.keys.partition_of_booking(self.booking_id)
        assert partition is not None
        await self.redis.delete(self.engine.keys.key("lease", partition, self.booking_id))
        due = self.engine.keys.key("payments", partition)
        await self.redis.zadd(due, {self.booking_id: 0}, xx=True)

    async def act(self, outcome: str) -> None:
        """Do as the buyer on the bank's page."""
        payment = payment_of(await self.booking())
        assert payment.next_action
        page = f"{self.simulator_url}/3ds/{payment.authorization_id}"
        query = {"client_secret": payment.next_action["client_secret"]}
        async with (
            aiohttp.ClientSession() as browser,
            browser.post(page, params=query, data={"outcome": outcome}) as answer,
        ):
            assert answer.status == 200, await answer.text()


def _done(answer: Answer) -> Booking:
    assert answer.outcome in {Outcome.BEGUN, Outcome.DONE, Outcome.CONFIRMED}, answer
    assert answer.booking
    return answer.booking


Setup = Callable[[Hand], Awaitable[object]]


def begun(card: str = VISA) -> Setup:
    """An intent, of which the gateway has not heard."""
    return lambda hand: hand.begin(card)


async def asking(hand: Hand) -> None:
    """The buyer is asked to act."""
    await Saga(hand.engine.payments, hand.gateway).drive(await hand.begin(ASKS_BUYER), OWNER)
    await hand.claim()


def acted(outcome: str) -> Setup:
    """The buyer has acted, and nobody has looked."""

    async def setup(hand: Hand) -> None:
        await asking(hand)
        await hand.act(outcome)

    return setup


async def ended_elsewhere(hand: Hand) -> None:
    """Somebody else has ended the payment that the buyer was asked about."""
    await asking(hand)
    booking = await hand.booking()
    await hand.gateway.void(reference_of(booking), authorization_of(booking))


async def authorized(hand: Hand) -> Booking:
    """Confirmed, and to be captured."""
    booking = await hand.begin()
    answer: Any = await hand.gateway.authorize(intent_of(booking))
    return _done(await hand.engine.payments.confirm(booking, OWNER, answer.authorization_id))


async def cancelled(hand: Hand) -> None:
    """Authorized, and cancelled: to be voided."""
    await authorized(hand)
    await cancel(hand)


async def captured_and_cancelled(hand: Hand) -> None:
    """Captured, cancelled before that was recorded: believed to be voided."""
    booking = await authorized(hand)
    await hand.gateway.capture(intent_of(booking), authorization_of(booking))
    await cancel(hand)


async def paid_and_cancelled(hand: Hand) -> None:
    """Paid and cancelled: to be refunded."""
    await Saga(hand.engine.payments, hand.gateway).drive(await hand.begin(), OWNER)
    await cancel(hand)


async def cancel(hand: Hand) -> None:
    """Cancel as the customer, and take the lease."""
    await hand.engine.bookings.cancel(hand.booking_id, CancelReason.CUSTOMER)
    await hand.claim()


async def abandoned(hand: Hand) -> None:
    """An intent whose owner's lease has run out."""
    await hand.begin()
    await hand.abandon()


async def authorized_and_lost(hand: Hand) -> None:
    """An authorization that nobody recorded; its owner's lease has run out."""
    await hand.gateway.authorize(intent_of(await hand.begin()))
    await hand.abandon()


async def held(_: Hand) -> None:
    """A hold."""
