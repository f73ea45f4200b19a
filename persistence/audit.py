"""Reads for `holdfast verify`: the journal in slices, and the projections as of one instant."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import asyncpg

from engine.types import Booking, Levels
from persistence.payments import PaymentRow, payment_row_of
from persistence.pool import Connection, Pool, connection
from persistence.queries import query
from persistence.reads import booking_of
from persistence.rollups import Row

SLICE_ROWS: Final = 2_000
JOURNAL_LOCK: Final = (0x4A4F5552, 0)
"""Advisory: shared by who reads the journal from its base, taken by who drops rows of it."""


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """A row of the journal: the entry, and what the columns beside it say of it."""

    sequence: int
    generation: int
    at_ms: int | None
    type: str | None
    booking_id: str | None
    sale_id: str | None
    entry: bytes
    chain: bytes


@dataclass(frozen=True, slots=True)
class Base:
    """The last entry that was dropped from a partition's journal; all zeros where none was."""

    sequence: int
    chain: bytes
    bytes: int
    at_ms: int


@dataclass(frozen=True, slots=True)
class AuditPosition:
    """Where a partition stands; `chain` and `bytes` cover every entry up to the cursor."""

    generation: int
    sequence: int
    chain: bytes
    bytes: int
    base: Base


@dataclass(frozen=True, slots=True)
class QuarantineRow:
    """An entry that could not be applied, and whether it was given up."""

    sequence: int
    reason: str
    detail: str
    booking_id: str | None
    sale_id: str | None
    version: int | None
    discarded: bool


@dataclass(frozen=True, slots=True)
class SaleRow:
    """A sale's row without its items."""

    sale_id: str
    partition: int
    version: int
    name: str
    opens_ms: int
    closes_ms: int
    hold_ms: int
    max_units_per_customer: int
    currency: str
    created_ms: int
    updated_ms: int


@dataclass(frozen=True, slots=True)
class ItemRow:
    """An item's row; `position` None where its sale's definition does not have it."""

    sale_id: str
    position: int | None
    name: str | None
    unit_price: int | None
    max_per_booking: int | None
    levels: Levels


@dataclass(frozen=True, slots=True)
class BookingRow:
    """A booking's row; `booking` None where its lines are missing."""

    booking_id: str
    partition: int
    sequence: int
    booking: Booking | None


@dataclass(frozen=True, slots=True)
class StockSums:
    """An item's stock history: how many changes, their sum, and whether each led to its levels."""

    sale_id: str
    changes: int
    sums: Levels
    follows: bool


class Audit:
    """Audit reads over a pool. All raise `Unavailable` where PostgreSQL is away."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def entries(self, partition: int, after: int, to: int) -> list[AuditEntry]:
        """A partition's entries after a sequence up to another, at most `SLICE_ROWS`."""
        async with connection(self._pool) as taken:
            rows = await taken.fetch(query("audit_entries"), partition, after, to, SLICE_ROWS)
        return [AuditEntry(*row) for row in rows]

    async def texts(self, partition: int, sequences: Sequence[int]) -> dict[int, bytes]:
        """Some entries of a partition, by sequence; those that are not there left out."""
        async with connection(self._pool) as taken:
            rows = await taken.fetch(query("audit_texts"), partition, sequences)
        return {row["sequence"]: row["entry"] for row in rows}

    async def last_entries(self, booking_ids: Sequence[str]) -> dict[str, int]:
        """The sequence of the last entry of bookings; those that are not there left out."""
        async with connection(self._pool) as taken:
            rows = await taken.fetch(query("audit_last_entries"), booking_ids)
        return {row["booking_id"]: row["sequence"] for row in rows}

    async def base(self, partition: int) -> Base:
        """Where a partition's journal begins."""
        async with connection(self._pool) as taken:
            row = await taken.fetchrow(query("audit_position"), partition)
        return _position_of(row).base if row else Base(0, bytes(32), 0, 0)

    @asynccontextmanager
    async def nothing_is_dropped(self) -> AsyncIterator[None]:
        """Meanwhile nothing is pruned from the journal; whoever would is told to come again."""
        async with connection(self._pool) as taken:
            await taken.execute(query("lock_journal"), *JOURNAL_LOCK)
            # Given back with the connection, by the pool.
            yield

    async def archived(self, booking_ids: Sequence[str]) -> dict[str, tuple[int, Booking]]:
        """Bookings and their last entries, as the projections have them."""
        async with connection(self._pool) as taken:
            rows = await taken.fetch(query("salvage_bookings"), booking_ids)
        return {row["booking_id"]: (row["sequence"], booking_of(row)) for row in rows}

    @asynccontextmanager
    async def snapshot(self, partition: int) -> AsyncIterator[Snapshot]:
        """A partition's projections, all as of one instant."""
        async with (
            connection(self._pool) as taken,
            taken.transaction(isolation="repeatable_read", readonly=True),
        ):
            row = await taken.fetchrow(query("audit_position"), partition)
            yield Snapshot(taken, partition, _position_of(row) if row else None)


class Snapshot:
    """What `Audit.snapshot` opens; `position` None where PostgreSQL never had the partition."""

    def __init__(self, taken: Connection, partition: int, position: AuditPosition | None) -> None:
        self._taken = taken
        self._partition = partition
        self.position = position

    async def stray_entry(self) -> int | None:
        """The first entry that is there and lies outside what the cursor covers."""
        assert self.position
        sequence: int | None = await self._taken.fetchval(
            query("audit_stray_entry"),
            self._partition,
            self.position.sequence,
            self.position.base.sequence,
        )
        return sequence

    async def kept_entries(self) -> AsyncIterator[tuple[int, bytes]]:
        """The entries from the base to the cursor, in constant memory."""
        assert self.position
        ends = self.position.base.sequence, self.position.sequence
        rows = self._taken.cursor(
            query("audit_kept_entries"), self._partition, *ends, prefetch=SLICE_ROWS
        )
        async for row in rows:
            yield row["sequence"], row["entry"]

    async def base_definitions(self) -> list[tuple[int, bytes]]:
        """The dropped entries that defined the sales as they were at the base."""
        rows = await self._taken.fetch(query("audit_base_definitions"), self._partition)
        return [(row["sequence"], row["entry"]) for row in rows]

    async def base_stock(self, sale_ids: Sequence[str]) -> list[StockSums]:
        """The sums of the stock histories of sales' items up to the base."""
        assert self.position
        rows = await self._taken.fetch(
            query("audit_stock_history"), sale_ids, self.position.base.sequence
        )
        return [_sums_of(row) for row in rows]

    async def quarantine(self) -> list[QuarantineRow]:
        """The entries that could not be applied."""
        rows = await self._taken.fetch(query("audit_quarantine"), self._partition)
        return [QuarantineRow(*row) for row in rows]

    async def sales(self) -> list[SaleRow]:
        """The partition's sales."""
        rows = await self._taken.fetch(query("audit_sales"), self._partition)
        return [SaleRow(**row) for row in rows]

    async def items(self, sale_ids: Sequence[str]) -> list[ItemRow]:
        """The items of sales, those out of their definitions too."""
        rows = await self._taken.fetch(query("audit_items"), sale_ids)
        return [
            ItemRow(
                row["sale_id"],
                row["position"],
                row["name"],
                row["unit_price"],
                row["max_per_booking"],
                Levels(row["item_id"], row["available"], row["held"], row["sold"]),
            )
            for row in rows
        ]

    async def stock_history(self, sale_ids: Sequence[str]) -> list[StockSums]:
        """The sums of the stock histories of sales' items."""
        rows = await self._taken.fetch(query("audit_stock_history"), sale_ids, None)
        return [_sums_of(row) for row in rows]

    async def bookings(self) -> AsyncIterator[BookingRow]:
        """The partition's bookings in the order of their ids, in constant memory."""
        rows = self._taken.cursor(
            query("audit_bookings"), *booking_ids(self._partition), prefetch=SLICE_ROWS
        )
        async for row in rows:
            yield BookingRow(
                row["booking_id"],
                row["partition"],
                row["sequence"],
                booking_of(row) if row["lines"] else None,
            )

    async def payments(self) -> AsyncIterator[PaymentRow]:
        """The payments of the partition's bookings, in the order of ids and attempts."""
        rows = self._taken.cursor(
            query("audit_payments"), *booking_ids(self._partition), prefetch=SLICE_ROWS
        )
        async for row in rows:
            yield payment_row_of(row)

    async def sale_days(self) -> list[Row]:
        """What the reports have of the days of the partition's sales: rows of `Rollups.days`."""
        rows = await self._taken.fetch(query("audit_sale_days"), self._partition)
        return [tuple(row) for row in rows]

    async def sale_steps(self) -> list[tuple[str, int, int, int]]:
        """The sums of the courses of the partition's sales: sale, grain, units sold, capacity."""
        rows = await self._taken.fetch(query("audit_sale_steps"), self._partition)
        return [(row["sale_id"], row["grain_ms"], row["sold"], row["capacity"]) for row in rows]


def _position_of(row: asyncpg.Record) -> AuditPosition:
    generation, sequence, chain, size, *base = row
    return AuditPosition(generation, sequence, chain, size, Base(*base))


def _sums_of(row: asyncpg.Record) -> StockSums:
    return StockSums(
        row["sale_id"],
        row["changes"],
        Levels(row["item_id"], row["available"], row["held"], row["sold"]),
        row["follows"],
    )


def booking_ids(partition: int) -> tuple[str, str]:
    """The first that ids of a partition's bookings may be, and what all are below."""
    low, high = f"{partition:03x}", f"{partition + 1:03x}"
    # Above the last partition there are is what sorts after every hexadecimal digit.
    return low, high if len(high) == 3 else "g"
