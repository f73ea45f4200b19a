"""Bookings that have left Redis: where they are, and how one comes back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Protocol

import orjson

from engine.calls import Caller
from engine.errors import Unavailable
from engine.outcomes import Outcome
from engine.payments.types import Payment, PaymentStatus, Step
from engine.types import ArchivedBooking, ArchivedSale, Booking, Status, pack_lines

_TOLD: Final = ("return_url", "authorization_id", "capture_id", "decline_code")


class Archive(Protocol):
    """Where bookings are that have left Redis."""

    async def booking(self, booking_id: str) -> ArchivedBooking | None:
        """Find a booking; None where there never was one. Raises `Unavailable`."""

    async def sale(self, sale_id: str) -> ArchivedSale | None:
        """Find a sale; None where there never was one. Raises `Unavailable`."""

    async def customers(self, sale_id: str) -> Mapping[str, int]:
        """The units that customers hold and have bought in a sale. Raises `Unavailable`."""


def require_not_below(archived: ArchivedBooking | None, version: int) -> None:
    """Refuse an archive that is behind what Redis let go: a restored or lagging PostgreSQL.

    Raises:
        Unavailable: `archived` is missing, or older than `version`.
    """
    if archived is None or archived.booking.version < version:
        raise Unavailable("PostgreSQL is behind what has left Redis")


def booking_fields(booking: Booking, deadline_ms: int) -> dict[str, str | int]:
    """A booking's fields as its hash keeps them, but for version and sequence."""
    fields: dict[str, str | int] = {
        "sale_id": booking.sale_id,
        "customer_id": booking.customer_id,
        "status": booking.status,
        "lines": pack_lines(booking.lines),
        "amount": booking.amount,
        "currency": booking.currency,
        "hold_expires_ms": booking.hold_expires_ms,
        "created_ms": booking.created_ms,
        "updated_ms": booking.updated_ms,
        "deadline_ms": deadline_ms,
        "extended": int(booking.extended),
        "warned": int(booking.warned),
    }
    if booking.cancel_reason:
        fields["cancel_reason"] = booking.cancel_reason
    if booking.payment:
        fields |= payment_fields(booking.payment)
    return fields


def payment_fields(payment: Payment) -> dict[str, str | int]:
    """A payment's fields as the booking's hash keeps them; what is not there is left out."""
    next_action = payment.next_action
    fields: dict[str, str | int | None] = {
        "payment_status": payment.status,
        "payment_step": payment.step,
        "payment_attempt": payment.attempt,
        "payment_gateway": payment.gateway,
        "payment_method": payment.method,
        "payment_return_url": payment.return_url,
        "payment_key": payment.key,
        "payment_fingerprint": payment.fingerprint,
        "payment_begun_ms": payment.begun_ms,
        "payment_authorization_id": payment.authorization_id,
        "payment_capture_id": payment.capture_id,
        "payment_decline_code": payment.decline_code,
        "payment_next_action": orjson.dumps(next_action).decode() if next_action else None,
    }
    return {name: value for name, value in fields.items() if value is not None}


def read_payment(fields: Mapping[str, Any]) -> Payment | None:
    """The payment in a booking's hash; None before the first attempt.

    Raises:
        KeyError, ValueError: the fields are there and do not make one.
    """
    if "payment_status" not in fields:
        return None
    # Empty text is how a field that is gone is kept.
    told = {name: fields.get(f"payment_{name}") or None for name in _TOLD}
    next_action = fields.get("payment_next_action")
    return Payment(
        status=PaymentStatus(fields["payment_status"]),
        step=Step(fields["payment_step"]),
        attempt=int(fields["payment_attempt"]),
        gateway=fields["payment_gateway"],
        method=fields["payment_method"],
        key=fields["payment_key"],
        fingerprint=fields["payment_fingerprint"],
        begun_ms=int(fields["payment_begun_ms"]),
        next_action=orjson.loads(next_action) if next_action else None,
        **told,
    )


async def _require_live(caller: Caller, partition: int, booking_id: str) -> None:
    """Look again for a booking that PostgreSQL says is live: it was there before PostgreSQL had it.

    Raises:
        Fenced: it is not there and never left. Redis has lost it, and is closed.
        Unavailable: it has left Redis since, and PostgreSQL does not know that yet.
    """
    reply = await caller.run("get_booking", partition, booking_id, "")
    if reply.outcome is Outcome.ABSENT:
        await caller.run("fence", partition, "keys_missing")
    if reply.outcome is not Outcome.FOUND:
        raise Unavailable(f"booking {booking_id} is live in PostgreSQL, and not in Redis")


async def bring_back(
    caller: Caller, archive: Archive | None, partition: int, booking_id: str
) -> bool:
    """Load a booking from the archive into Redis, so that it can be changed.

    False where the archive has none. Raises `Unavailable` where the archive is away or behind.
    """
    archived = await archive.booking(booking_id) if archive else None
    if archived is None:
        return False
    booking = archived.booking
    payment = booking.payment
    if booking.status is Status.PENDING or (payment and payment.step is not Step.NONE):
        # Only bookings without a deadline and an open payment leave Redis. Loaded, it would be one
        # whose payment no worker looks at.
        await _require_live(caller, partition, booking_id)
        return True
    fields = booking_fields(booking, booking.hold_expires_ms)
    flat = [part for pair in fields.items() for part in pair]
    contact = archived.contact or b""
    reply = await caller.run(
        "load", partition, booking_id, booking.version, contact, archived.sequence, *flat
    )
    if reply.outcome is Outcome.STALE:
        require_not_below(archived, int(reply.text()))
    return True
