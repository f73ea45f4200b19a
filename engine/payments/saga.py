"""The saga: carries a payment from its intent to its one ending, whoever crashes in between.

Every step is the same three moves: read what is asked next from the booking (`Step`), ask the
gateway under the key of (booking, attempt, step), record the answer by compare-and-set. What is
asked was durable before it was asked; what is not known stays as it is and is asked again, under
the same key, by whoever takes the lease next. So a crash at any point leaves a booking whose next
step is written in it.
"""

from __future__ import annotations

import time
from typing import Final

import structlog

from engine.bookings import Answer
from engine.outcomes import Outcome
from engine.payments.books import PaymentBooks
from engine.payments.gateway import (
    Approved,
    Captured,
    Declined,
    Failed,
    Gateway,
    GatewayStatus,
    Missing,
    NextAction,
    Refunded,
    RequiresAction,
    Unknown,
    Voided,
)
from engine.payments.gateway import Payment as Charge
from engine.payments.intents import (
    authorization_of,
    best_of,
    intent_of,
    now_ms,
    payment_of,
    reference_of,
    retry_ms,
    was_taken,
)
from engine.payments.limits import GATEWAY_KEY_LIFETIME_MS, PAYMENT_LEASE_MS
from engine.payments.types import Step
from engine.types import Booking, Status

_log = structlog.stdlib.get_logger("holdfast.saga")

WAITING: Final = frozenset(
    {
        Outcome.REQUIRES_ACTION,
        Outcome.PAYMENT_UNKNOWN,
        Outcome.UNCHANGED,
        Outcome.LEASE_LOST,
        Outcome.ABSENT,
    }
)
"""After these the payment is somebody else's, or nobody's before its time.

Not after `moved_on`: a cancel came between, and the owner goes on with what is asked now.
"""

ANSWERED_500: Final = "http_5"
"""How the reason begins of a failure that the gateway may have kept under the request's key."""
KEPT_ANSWERS: Final = (ANSWERED_500, "status_", "unreadable")
"""The same of all answers to an authorization that say nothing, and will be the same for ever."""


class Saga:
    """Drives payments over one gateway.

    Args:
        key_lifetime_ms: the age from which an authorization is not sent again: the gateway may
            have forgotten its key, and would charge anew.
    """

    def __init__(
        self,
        books: PaymentBooks,
        gateway: Gateway,
        key_lifetime_ms: int = GATEWAY_KEY_LIFETIME_MS,
    ) -> None:
        self._books = books
        self._gateway = gateway
        self.key_lifetime_ms = key_lifetime_ms

    async def drive(self, booking: Booking, owner: str) -> Booking:
        """Carry a payment on, as the owner of its lease, until it rests or has to wait."""
        taken_s = time.monotonic()
        while payment_of(booking).step is not Step.NONE:
            if time.monotonic() - taken_s > PAYMENT_LEASE_MS / 3000:
                # A slow gateway has used the lease up in part: each step begins with most of one.
                claim = await self._books.claim(booking.booking_id, owner)
                if claim.outcome is not Outcome.DONE or claim.booking is None:
                    return claim.booking or booking
                booking, taken_s = claim.booking, time.monotonic()
            answer = await self._step(booking, owner)
            if answer.booking is None:
                return booking
            booking = answer.booking
            if answer.outcome in WAITING:
                break
        return booking

    async def decide(self, booking: Booking, owner: str, charge: Charge | None) -> Booking:
        """End an authorization whose key has run out, by what the gateway has of it.

        Args:
            charge: what it lists under our reference; None where a listing that is complete for
                all the time in which a request of ours can have run has none.
        """
        if charge is None:
            answer = await self._books.failed(booking, owner, "never_answered")
        else:
            answer = await self._settle(booking, owner, charge)
        booking = answer.booking or booking
        return booking if answer.outcome in WAITING else await self.drive(booking, owner)

    async def _step(self, booking: Booking, owner: str) -> Answer:
        match payment_of(booking).step:
            case Step.AUTHORIZE:
                return await self._authorize(booking, owner)
            case Step.CAPTURE:
                return await self._capture(booking, owner)
            case Step.VOID:
                return await self._void(booking, owner)
            case Step.REFUND:
                return await self._refund(booking, owner)
            case Step.NONE:
                raise AssertionError("nothing is open")

    async def _authorize(self, booking: Booking, owner: str) -> Answer:
        payment = payment_of(booking)
        if payment.authorization_id is not None:
            return await self._look(booking, owner)
        if now_ms() - payment.begun_ms > self.key_lifetime_ms:
            # The gateway has forgotten the key: sent again it would be a new charge. And that a
            # search finds nothing proves nothing: `workers.reconciler` lists, and decides.
            return await self._wait(booking, owner, "key_run_out")
        match await self._gateway.authorize(intent_of(booking)):
            case Approved(authorization_id, amount, currency):
                if (amount, currency) != (booking.amount, booking.currency):
                    return await self._wait(booking, owner, "amount_differs")
                return await self._books.confirm(booking, owner, authorization_id)
            case RequiresAction(authorization_id, next_action):
                return await self._require(booking, owner, authorization_id, next_action)
            case Declined(code=code) | Failed(code=code):
                return await self._books.failed(booking, owner, code)
            case Unknown(reason) if reason.startswith(KEPT_ANSWERS):
                # Perhaps executed, or decided since, and answered so for ever under this key. What
                # is found is believed; that nothing is found says nothing.
                found = await self._gateway.find(reference_of(booking))
                if isinstance(found, Unknown) or not found.payments:
                    return await self._wait(booking, owner, reason)
                return await self._settle(booking, owner, best_of(found.payments))
            case Unknown(reason):
                return await self._wait(booking, owner, reason)

    async def _look(self, booking: Booking, owner: str) -> Answer:
        """Whether the buyer has acted."""
        match await self._gateway.retrieve(authorization_of(booking)):
            case Charge() as charge:
                return await self._settle(booking, owner, charge)
            case Missing():
                return await self._wait(booking, owner, "missing")
            case Unknown(reason):
                return await self._wait(booking, owner, reason)

    async def _settle(self, booking: Booking, owner: str, charge: Charge) -> Answer:
        """Believe what the gateway has, of an authorization that was left open."""
        if (charge.amount, charge.currency) != (booking.amount, booking.currency):
            return await self._wait(booking, owner, "amount_differs")
        match charge.status:
            case GatewayStatus.AUTHORIZED | GatewayStatus.CAPTURED:
                return await self._books.confirm(booking, owner, charge.authorization_id)
            case GatewayStatus.VOIDED | GatewayStatus.REFUNDED:
                return await self._books.failed(booking, owner, charge.decline_code or "voided")
            case GatewayStatus.AUTHORIZING:
                return await self._wait(booking, owner, "authorizing")
            case GatewayStatus.REQUIRES_ACTION if (
                booking.status is not Status.CANCELLED and charge.next_action
            ):
                return await self._require(
                    booking, owner, charge.authorization_id, charge.next_action
                )
            case _:
                # Declined, or given up by us. The buyer still has the client secret and could go
                # on with it: only a void makes the failure definite.
                match await self._gateway.void(reference_of(booking), charge.authorization_id):
                    case Voided():
                        code = charge.decline_code or "authentication_abandoned"
                        return await self._books.failed(booking, owner, code)
                    case Failed(status=GatewayStatus.AUTHORIZED | GatewayStatus.CAPTURED):
                        return await self._books.confirm(booking, owner, charge.authorization_id)
                    case Failed(code=reason) | Unknown(reason=reason):
                        return await self._wait(booking, owner, reason)

    async def _require(
        self, booking: Booking, owner: str, authorization_id: str, action: NextAction
    ) -> Answer:
        return await self._books.requires_action(
            booking,
            owner,
            authorization_id,
            {"type": action.type, "url": action.url}
            if action.url
            else {"type": action.type, "client_secret": action.client_secret},
        )

    async def _capture(self, booking: Booking, owner: str) -> Answer:
        match await self._gateway.capture(intent_of(booking), authorization_of(booking)):
            case Captured(capture_id=capture_id):
                return await self._books.captured(booking, owner, capture_id)
            case Failed(code=code, status=None):
                # The gateway does not know what it has authorized: another account, or books put
                # back. That is no refusal of this card, and no reason to cancel a booking.
                return await self._wait(booking, owner, code)
            case Failed(code=code):
                return await self._books.capture_failed(booking, owner, code)
            case Unknown(reason):
                charge = await self._charge_after(booking, reason)
                if charge and charge.capture_id and was_taken(charge):
                    return await self._books.captured(booking, owner, charge.capture_id)
                return await self._wait(booking, owner, reason)

    async def _void(self, booking: Booking, owner: str) -> Answer:
        found: Charge | Missing | Unknown | None
        match await self._gateway.void(reference_of(booking), authorization_of(booking)):
            case Voided():
                return await self._books.voided(booking, owner)
            case Failed(code=reason, status=status) if status is not None:
                # Captured: a cancel came between the capture and its record.
                found = await self._gateway.retrieve(authorization_of(booking))
            case Failed(code=reason):
                return await self._wait(booking, owner, reason)
            case Unknown(reason):
                found = await self._charge_after(booking, reason)
        match found:
            case Charge(status=GatewayStatus.VOIDED | GatewayStatus.REFUNDED):
                return await self._books.voided(booking, owner)
            case Charge(status=GatewayStatus.CAPTURED, capture_id=str(capture_id)):
                return await self._books.captured(booking, owner, capture_id)
            case _:
                return await self._wait(booking, owner, reason)

    async def _refund(self, booking: Booking, owner: str) -> Answer:
        match await self._gateway.refund(reference_of(booking), authorization_of(booking)):
            case Refunded():
                return await self._books.refunded(booking, owner)
            case Failed(code=reason):
                return await self._wait(booking, owner, reason)
            case Unknown(reason):
                charge = await self._charge_after(booking, reason)
                if charge and charge.status is GatewayStatus.REFUNDED:
                    return await self._books.refunded(booking, owner)
                return await self._wait(booking, owner, reason)

    async def _charge_after(self, booking: Booking, reason: str) -> Charge | None:
        """How the payment stands after a failure that may be answered for ever under its key."""
        if not reason.startswith(ANSWERED_500):
            return None
        found = await self._gateway.retrieve(authorization_of(booking))
        return found if isinstance(found, Charge) else None

    async def _wait(self, booking: Booking, owner: str, reason: str) -> Answer:
        payment = payment_of(booking)
        # By the booking's last change, not by the intent: a refund may come months after it.
        wait_ms = retry_ms(max(0, now_ms() - booking.updated_ms))
        _log.warning(
            "payment_unknown",
            booking_id=booking.booking_id,
            attempt=payment.attempt,
            step=payment.step,
            reason=reason,
            retry_ms=wait_ms,
        )
        return await self._books.unknown(booking, owner, wait_ms)
