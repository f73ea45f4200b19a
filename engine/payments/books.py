"""The scripts of the saga: each records one step of a payment, as its owner."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import orjson

from engine.bookings import Answer, Bookings
from engine.calls import Caller
from engine.keys import Keys
from engine.limits import IDEMPOTENCY_TTL_MS
from engine.outcomes import Outcome
from engine.payments.limits import (
    MAX_DECLINE_CODE_CHARS,
    MAX_PAYMENT_ATTEMPTS,
    PAYMENT_GRACE_MS,
    PAYMENT_LEASE_MS,
    PAYMENT_POLL_MS,
    WEBHOOK_MARK_TTL_MS,
)
from engine.payments.open import OpenPage, OpenPayment
from engine.payments.settings import PaymentSettings
from engine.types import Booking

_UNSPEAKABLE: Final = re.compile(r'[^ -~]|["\\]')


@dataclass(frozen=True, slots=True)
class PaymentOptions:
    """What is written down with every intent."""

    gateway: str = "simulator"
    return_url: str | None = None
    grace_ms: int = PAYMENT_GRACE_MS

    @classmethod
    def of(cls, settings: PaymentSettings) -> PaymentOptions:
        """What the settings say of it."""
        return cls(settings.gateway, settings.stripe_return_url, settings.payment_grace_ms)


@dataclass(frozen=True, slots=True)
class PaymentRequest:
    """What a pay request asks for. `method` is a gateway's token, never a card number."""

    booking_id: str
    customer_id: str
    key: str
    method: str
    trace: str = ""


class PaymentBooks:
    """Compare-and-set steps of payments, journaled. Every step names owner and attempt."""

    def __init__(
        self, caller: Caller, keys: Keys, bookings: Bookings, options: PaymentOptions
    ) -> None:
        self._caller = caller
        self._keys = keys
        self._bookings = bookings
        self._gateway = options.gateway
        self._return_url = options.return_url or ""
        self._grace_ms = options.grace_ms

    async def begin(self, request: PaymentRequest, fingerprint: str, owner: str) -> Answer:
        """Write the intent down.

        Outcomes: `begun`, `joined` (the same key's attempt is open or has ended), `replayed`,
        `idempotency_key_reused`, `absent`, `hold_expired`, `invalid_state`, `payment_free`,
        `attempts_exhausted`.
        """
        return await self._bookings.change(
            "begin_payment",
            request.booking_id,
            request.customer_id,
            request.key,
            fingerprint,
            self._gateway,
            request.method,
            owner,
            PAYMENT_LEASE_MS,
            self._grace_ms,
            MAX_PAYMENT_ATTEMPTS,
            self._return_url,
            request.trace,
        )

    async def claim(self, booking_id: str, owner: str) -> Answer:
        """Take the lease: `done` with the booking, `lease_lost`, or `unchanged` (nothing open)."""
        return await self._bookings.change("claim_payment", booking_id, owner, PAYMENT_LEASE_MS)

    async def confirm(self, booking: Booking, owner: str, authorization_id: str) -> Answer:
        """Authorized: `confirmed`, or `late_money` (the booking's step says which)."""
        return await self._step("confirm", booking, owner, authorization_id, "")

    async def requires_action(
        self,
        booking: Booking,
        owner: str,
        authorization_id: str,
        next_action: Mapping[str, str | None],
    ) -> Answer:
        """The buyer has to act; the gateway is polled again later."""
        return await self._step(
            "requires_action",
            booking,
            owner,
            authorization_id,
            orjson.dumps(next_action).decode(),
            PAYMENT_POLL_MS,
            "",
        )

    async def unknown(self, booking: Booking, owner: str, retry_ms: int) -> Answer:
        """The gateway's answer is not known: the same request again in `retry_ms`."""
        assert booking.payment is not None
        return await self._step(
            "payment_unknown", booking, owner, booking.payment.step, retry_ms, ""
        )

    async def failed(self, booking: Booking, owner: str, decline_code: str) -> Answer:
        """A definite failure of an authorization: the hold is the buyer's again."""
        code = _word(decline_code)
        return await self._step("payment_failed", booking, owner, code, IDEMPOTENCY_TTL_MS, "")

    async def captured(self, booking: Booking, owner: str, capture_id: str) -> Answer:
        """Captured: `captured`, or `refund_begun` where the booking was cancelled meanwhile."""
        return await self._step(
            "record_capture", booking, owner, capture_id, IDEMPOTENCY_TTL_MS, ""
        )

    async def capture_failed(self, booking: Booking, owner: str, decline_code: str) -> Answer:
        """The capture is refused for good: the booking is cancelled, a void will follow."""
        return await self._step("capture_failed", booking, owner, _word(decline_code), "")

    async def voided(self, booking: Booking, owner: str) -> Answer:
        """The authorization is void."""
        return await self._step("voided", booking, owner, IDEMPOTENCY_TTL_MS, "")

    async def refund(self, booking_id: str, trace: str = "") -> Answer:
        """An operator's refund: `refund_begun`, `unchanged`, `absent`, `invalid_state`."""
        return await self._bookings.change("refund", booking_id, trace)

    async def refunded(self, booking: Booking, owner: str) -> Answer:
        """The money is back."""
        return await self._step("refunded", booking, owner, "")

    async def due(self, partition: int, limit: int) -> list[str]:
        """Bookings whose payment a worker shall look at."""
        reply = await self._caller.run("due_payments", partition, limit)
        return [booking_id.decode() for booking_id in reply.values[0]]

    async def open(self, partition: int, position: int, count: int) -> OpenPage:
        """Open payments of a partition from a position on, about `count`; 0 is the start.

        One that is open all the while is on at least one page, perhaps on two.
        """
        reply = await self._caller.run("open_payments", partition, position, count)
        now_ms = int(reply.text(2))
        found = tuple(OpenPayment.of(words, now_ms) for words in reply.values[1])
        return OpenPage(found, int(reply.text()))

    async def nudge(
        self, booking_id: str, event_id: str, attempt: int, amount: int, currency: str
    ) -> Outcome:
        """Take a webhook's event.

        Outcomes: `done`, `unchanged` (seen before), `moved_on` (it tells of an attempt, an amount
        or a currency that was not asked for), `absent`, `evicted`.
        """
        partition = self._keys.partition_of_booking(booking_id)
        if partition is None:
            return Outcome.ABSENT
        reply = await self._caller.run(
            "nudge",
            partition,
            booking_id,
            self._gateway,
            event_id,
            WEBHOOK_MARK_TTL_MS,
            attempt,
            amount,
            currency,
        )
        return reply.outcome

    async def _step(self, name: str, booking: Booking, owner: str, *arguments: str | int) -> Answer:
        assert booking.payment is not None
        return await self._bookings.change(
            name, booking.booking_id, owner, booking.payment.attempt, *arguments
        )


def _word(code: str) -> str:
    """A gateway's code as the journal carries it: what JSON would have to escape becomes `_`."""
    return _UNSPEAKABLE.sub("_", code[:MAX_DECLINE_CODE_CHARS])
