"""Payments without a gateway: what the saga would record, said by hand."""

from __future__ import annotations

from uuid import uuid4

from engine.bookings import Answer
from engine.engine import Engine
from engine.outcomes import Outcome
from engine.payments.books import PaymentRequest
from engine.types import Booking

OWNER = "test"
ACTION = {"type": "redirect", "url": "https://example.com/3ds"}


def done(answer: Answer, outcome: Outcome) -> Booking:
    """The booking of an answer that has to be this one."""
    assert answer.outcome is outcome, answer
    assert answer.booking
    return answer.booking


class Purse:
    """Pays for bookings; each method records one step and returns the booking after it."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._books = engine.payments

    async def begin(self, booking: Booking, method: str = "pm_card_visa") -> Booking:
        request = PaymentRequest(booking.booking_id, booking.customer_id, str(uuid4()), method)
        fingerprint = self._engine.vault.fingerprint("pay", method)
        return done(await self._books.begin(request, fingerprint, OWNER), Outcome.BEGUN)

    async def claim(self, booking: Booking) -> Booking:
        return done(await self._books.claim(booking.booking_id, OWNER), Outcome.DONE)

    async def act(self, booking: Booking, authorization_id: str) -> Booking:
        answer = await self._books.requires_action(booking, OWNER, authorization_id, ACTION)
        return done(answer, Outcome.REQUIRES_ACTION)

    async def authorize(self, booking: Booking) -> Booking:
        authorization_id = f"pi_{booking.booking_id}"
        answer = await self._books.confirm(booking, OWNER, authorization_id)
        return done(answer, Outcome.CONFIRMED)

    async def decline(self, booking: Booking) -> Booking:
        answer = await self._books.failed(booking, OWNER, "card_declined")
        return done(answer, Outcome.PAYMENT_FAILED)

    async def lose(self, booking: Booking) -> Booking:
        """Nobody knows what the gateway did."""
        return done(await self._books.unknown(booking, OWNER, 0), Outcome.PAYMENT_UNKNOWN)

    async def capture(self, booking: Booking) -> Booking:
        capture_id = f"ch_{booking.booking_id}"
        return done(await self._books.captured(booking, OWNER, capture_id), Outcome.CAPTURED)

    async def pay(self, booking: Booking) -> Booking:
        """From the hold to the money."""
        return await self.capture(await self.authorize(await self.begin(booking)))

    async def refund(self, booking: Booking) -> Booking:
        """An operator's refund, to its end."""
        begun = done(await self._books.refund(booking.booking_id), Outcome.REFUND_BEGUN)
        await self.claim(begun)
        return done(await self._books.refunded(begun, OWNER), Outcome.REFUNDED)
