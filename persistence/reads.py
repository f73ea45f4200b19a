"""What others read from PostgreSQL: archived bookings, histories, cursors.

Every read raises `Unavailable` where PostgreSQL is away; nothing here writes.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import asyncpg

from engine.errors import Unavailable
from engine.journal import RawEntry
from engine.limits import CURSOR_POLL_MS, MAX_INTEGER
from engine.types import (
    ArchivedBooking,
    ArchivedSale,
    Booking,
    CancelReason,
    Floor,
    Levels,
    Status,
    unpack_lines,
)
from persistence.cursors import (
    InvalidCursor,
    booking_cursor,
    read_booking_cursor,
    read_stock_cursor,
    stock_cursor,
)
from persistence.payments import payment_of
from persistence.pool import Pool, connection
from persistence.queries import query
from persistence.sales import sale_of
from persistence.steps import understand

__all__ = [
    "InvalidCursor",
    "Page",
    "Reads",
    "StockChange",
    "StockPage",
]

_BEGINNING: Final = (MAX_INTEGER, "")
"""Above every (created_ms, booking_id)."""


@dataclass(frozen=True, slots=True)
class Page:
    """Bookings, newest first; `next_cursor` None where there are no more."""

    bookings: tuple[Booking, ...]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class StockChange:
    """A change of an item's levels by one journal entry. `booking_id` None: by the sale itself."""

    sequence: int
    at_ms: int
    type: str
    booking_id: str | None
    delta: Levels
    levels: Levels
    """As they were after it."""


@dataclass(frozen=True, slots=True)
class StockPage:
    """Changes of an item's levels, newest first; `next_cursor` None where there are no more."""

    changes: tuple[StockChange, ...]
    next_cursor: str | None


class Reads:
    """Reads over a pool. It is the engine's `Archive`, and `cursors` its `FloorSource`."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def ready(self) -> None:
        """Raises `Unavailable` where PostgreSQL does not answer."""
        async with connection(self._pool) as taken:
            await taken.fetchval(query("ping"))

    async def booking(self, booking_id: str) -> ArchivedBooking | None:
        """A booking, whether it still lives in Redis or not; None where there never was one.

        One whose last entry was discarded is as that entry has it: Redis never heard of it.

        Raises `Unavailable` also where an entry of it waits in quarantine: then what is here is not
        yet what was there.
        """
        async with connection(self._pool) as taken:
            row = await taken.fetchrow(query("booking"), booking_id)
        assert row, "it has one row, whatever is there"
        if row["aside_waits"]:
            raise Unavailable(f"an entry of booking {booking_id} is in quarantine")
        version = row["version"] or 0
        if (row["aside_version"] or 0) > version:
            return _given_up(row)
        if not version:
            return None
        return ArchivedBooking(booking_of(row), row["ciphertext"], row["sequence"])

    async def sale(self, sale_id: str) -> ArchivedSale | None:
        """A sale, whether it still lives in Redis or not; None where there never was one.

        Raises `Unavailable` also where an entry of it waits in quarantine: then its levels here
        are not yet what they were there.
        """
        async with (
            connection(self._pool) as taken,
            taken.transaction(isolation="repeatable_read", readonly=True),
        ):
            row = await taken.fetchrow(query("archived_sale"), sale_id)
            if row is None:
                return None
            if row["waits"]:
                raise Unavailable(f"entries of sale {sale_id} are in quarantine")
            items = await taken.fetch(query("archived_items"), sale_id)
        return ArchivedSale(sale_of(row, items), row["sequence"])

    async def customers(self, sale_id: str) -> dict[str, int]:
        """The units that customers hold and have bought in a sale."""
        async with connection(self._pool) as taken:
            rows = await taken.fetch(query("customers_of_sale"), sale_id)
        return {row["customer_id"]: row["units"] for row in rows}

    async def history(
        self,
        customer_id: str | None,
        limit: int,
        cursor: str | None = None,
        status: Status | None = None,
        sale_id: str | None = None,
        from_ms: int = 0,
        to_ms: int = MAX_INTEGER,
    ) -> Page:
        """Bookings, newest first: a customer's, or with `customer_id` None everybody's.

        Args:
            limit: most bookings on the page.
            cursor: `next_cursor` of the page before.
            status: only bookings that stand there.
            sale_id: only bookings of this sale.
            from_ms, to_ms: only bookings created at or after the one and before the other.

        Raises:
            InvalidCursor: no page of a history ended with this cursor.
        """
        after = min(_after(cursor), (to_ms, ""))
        filters: list[str | None] = []
        if customer_id is not None:
            sql, filters = query("customer_history"), [sale_id, customer_id]
        elif sale_id is not None:
            sql, filters = query("sale_history"), [sale_id]
        else:
            sql = query("history")
        async with connection(self._pool) as taken:
            rows = await taken.fetch(sql, *after, status, limit + 1, from_ms, *filters)
        return _page(rows, limit)

    async def found_by_email(
        self, hashes: Sequence[bytes], limit: int, cursor: str | None = None
    ) -> Page:
        """Bookings whose contact has an e-mail of these hashes (`Vault.email_hashes`)."""
        sql = query("found_by_email")
        async with connection(self._pool) as taken:
            rows = await taken.fetch(sql, *_after(cursor), limit + 1, hashes)
        return _page(rows, limit)

    async def found_by_payment(
        self, payment_id: str, limit: int, cursor: str | None = None
    ) -> Page:
        """Bookings of which some attempt to pay has this id of the gateway."""
        sql = query("found_by_payment")
        async with connection(self._pool) as taken:
            rows = await taken.fetch(sql, *_after(cursor), limit + 1, payment_id)
        return _page(rows, limit)

    async def stock_history(
        self, sale_id: str, item_id: str, limit: int, cursor: str | None = None
    ) -> StockPage:
        """Every change of an item's levels, newest first.

        Raises:
            InvalidCursor: no page of a stock history ended with this cursor.
        """
        below = read_stock_cursor(cursor) if cursor else MAX_INTEGER
        async with connection(self._pool) as taken:
            rows = await taken.fetch(query("stock_history"), sale_id, item_id, below, limit + 1)
        changes = tuple(_stock_change(item_id, row) for row in rows[:limit])
        more = len(rows) > limit
        return StockPage(changes, stock_cursor(changes[-1].sequence) if more else None)

    async def cursors(self) -> dict[int, Floor]:
        """Generation and cursor of every partition that Redis ever had: the engine's floors."""
        async with connection(self._pool) as taken:
            rows = await taken.fetch(query("partitions"))
        return {
            row["partition"]: Floor(row["generation"], row["sequence"])
            for row in rows
            if row["initialised"]
        }

    async def reached(self, tips: Mapping[int, int], timeout_ms: int) -> bool:
        """Wait until the cursors have come to sequences by partition: reading one's own writes.

        Returns:
            Whether they have; False when `timeout_ms` was over before.
        """
        until = time.monotonic() + timeout_ms / 1000
        while True:
            cursors = await self.cursors()
            if all(p in cursors and cursors[p].sequence >= tip for p, tip in tips.items()):
                return True
            if time.monotonic() >= until:
                return False
            await asyncio.sleep(CURSOR_POLL_MS / 1000)

    async def quarantined(self) -> dict[int, int]:
        """How many entries are in quarantine, by partition; those without any are left out."""
        async with connection(self._pool) as taken:
            rows = await taken.fetch(query("quarantined"))
        return {row["partition"]: row["entries"] for row in rows}


def _after(cursor: str | None) -> tuple[int, str]:
    return read_booking_cursor(cursor) if cursor else _BEGINNING


def _page(rows: Sequence[asyncpg.Record], limit: int) -> Page:
    """Of one row more than asked for, which tells whether there is another page."""
    bookings = tuple(booking_of(row) for row in rows[:limit])
    last = bookings[-1] if len(rows) > limit else None
    return Page(bookings, booking_cursor(last.created_ms, last.booking_id) if last else None)


def _given_up(row: asyncpg.Record) -> ArchivedBooking:
    """A booking as its discarded entry has it. Raises `Unavailable` where nobody can read that."""
    steps, _ = understand([RawEntry(row["aside_sequence"], row["aside_entry"])])
    entry = steps[0].entry if steps else None
    if entry is None or entry.booking is None:
        raise Unavailable(f"entry {row['aside_sequence']} was discarded, and cannot be read")
    return ArchivedBooking(entry.booking, row["ciphertext"], entry.sequence)


def booking_of(row: asyncpg.Record) -> Booking:
    """A booking from a row of `whole_bookings`."""
    reason = row["cancel_reason"]
    return Booking(
        booking_id=row["booking_id"],
        version=row["version"],
        sale_id=row["sale_id"],
        customer_id=row["customer_id"],
        status=Status(row["status"]),
        cancel_reason=CancelReason(reason) if reason else None,
        lines=unpack_lines(row["lines"]),
        amount=row["amount"],
        currency=row["currency"],
        hold_expires_ms=row["hold_expires_ms"],
        created_ms=row["created_ms"],
        updated_ms=row["updated_ms"],
        extended=row["extended"],
        payment=payment_of(row, "payment_"),
        warned=row["warned"],
    )


def _stock_change(item_id: str, row: asyncpg.Record) -> StockChange:
    return StockChange(
        sequence=row["sequence"],
        at_ms=row["at_ms"],
        type=row["type"],
        booking_id=row["booking_id"],
        delta=Levels(item_id, row["delta_available"], row["delta_held"], row["delta_sold"]),
        levels=Levels(item_id, row["level_available"], row["level_held"], row["level_sold"]),
    )
