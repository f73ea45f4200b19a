"""All bookings of a kind as one table, of any length, in constant memory."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Final

from api.csv_text import CSV, VARY, Cell, attachment, csv_text
from api.parts import Parts
from api.problems import Problem
from api.schemas import HistoryQuery
from api.streaming import Stream
from engine.limits import MAX_EXPORTS, MAX_INTEGER, MAX_PAGE_ROWS
from engine.times import rfc3339
from engine.types import Booking, pack_lines

_COLUMNS: Final = (
    "id",
    "sale_id",
    "customer_id",
    "status",
    "cancel_reason",
    "lines",
    "amount",
    "currency",
    "hold_expires_at",
    "created_at",
    "updated_at",
    "payment_status",
    "gateway",
    "authorization_id",
    "capture_id",
    "attempts",
    "decline_code",
)


def export_bookings(parts: Parts, customer_id: str | None, query: HistoryQuery) -> Stream:
    """The bookings of a history, newest first, a line each."""
    pieces = _pieces(parts, customer_id, query)
    return Stream(pieces, [VARY, attachment("bookings.csv")], CSV)


async def _pieces(
    parts: Parts, customer_id: str | None, query: HistoryQuery
) -> AsyncGenerator[bytes, None]:
    """Page after page, by the place where the one before ended.

    Not from a cursor of PostgreSQL: its transaction would be open for as long as the reader takes,
    which keeps a connection from others and old rows from being cleaned up. What decides a
    booking's place never changes, so that each is there once.
    """
    if parts.exports >= MAX_EXPORTS:
        raise Problem("overloaded", "Other exports are running here.", retry_after_s=5)
    parts.exports += 1
    try:
        cursor, lines = None, [_COLUMNS]
        while True:
            page = await parts.reads.history(
                customer_id,
                MAX_PAGE_ROWS,
                cursor,
                query.status,
                query.sale_id,
                query.from_ms or 0,
                query.to_ms or MAX_INTEGER,
            )
            yield csv_text([*lines, *(_cells(booking) for booking in page.bookings)])
            cursor, lines = page.next_cursor, []
            if cursor is None:
                return
    finally:
        parts.exports -= 1


def _cells(booking: Booking) -> tuple[Cell, ...]:
    payment = booking.payment
    paid: tuple[Cell, ...] = (None,) * 6
    if payment:
        paid = (
            payment.status,
            payment.gateway,
            payment.authorization_id,
            payment.capture_id,
            payment.attempt,
            payment.decline_code,
        )
    return (
        booking.booking_id,
        booking.sale_id,
        booking.customer_id,
        booking.status,
        booking.cancel_reason,
        pack_lines(booking.lines),
        booking.amount,
        booking.currency,
        rfc3339(booking.hold_expires_ms),
        rfc3339(booking.created_ms),
        rfc3339(booking.updated_ms),
        *paid,
    )
