"""Bookings that have left Redis: where they are, and how one comes back."""

from __future__ import annotations

from typing import Protocol

from engine.calls import Caller
from engine.errors import Unavailable
from engine.outcomes import Outcome
from engine.types import ArchivedBooking, Status, pack_lines


class Archive(Protocol):
    """Where bookings are that have left Redis."""

    async def booking(self, booking_id: str) -> ArchivedBooking | None:
        """Find a booking; None where there never was one. Raises `Unavailable`."""


def require_not_below(archived: ArchivedBooking | None, version: int) -> None:
    """Refuse an archive that is behind what Redis let go: a restored or lagging PostgreSQL.

    Raises:
        Unavailable: `archived` is missing, or older than `version`.
    """
    if archived is None or archived.booking.version < version:
        raise Unavailable("PostgreSQL is behind what has left Redis")


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
    if booking.status is Status.PENDING:
        # Only bookings without a deadline leave Redis: this one was lost, or PostgreSQL lags.
        raise Unavailable(f"booking {booking_id} is in PostgreSQL as PENDING, and not in Redis")
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
        "extended": int(booking.extended),
    }
    if booking.cancel_reason:
        fields["cancel_reason"] = booking.cancel_reason
    flat = [part for pair in fields.items() for part in pair]
    contact = archived.contact or b""
    reply = await caller.run(
        "load", partition, booking_id, booking.version, contact, archived.sequence, *flat
    )
    if reply.outcome is Outcome.STALE:
        require_not_below(archived, int(reply.text()))
    return True
