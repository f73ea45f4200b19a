"""PostgreSQL's side of a rebuild: one at a time, a new generation, and what Redis is to have.

The state is that of the projections at the cursor. Idempotency records are in no table: they are
made by the model of the entries that left them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import asyncpg
import orjson

from engine.errors import HoldfastError
from engine.journal import RawEntry, parse_entry
from engine.limits import IDEMPOTENCY_TTL_MS, TOMBSTONE_TTL_MS
from engine.model import Record, RecordName, record_of
from engine.types import ArchivedBooking, ItemDefinition, Levels, Sale, SaleDefinition
from persistence.audit import SLICE_ROWS, booking_ids
from persistence.pool import Connection, Pool, connection
from persistence.queries import query
from persistence.reads import booking_of
from persistence.steps import Position

_LOCK: Final = 0x52454255
"""The first half of the advisory lock; the second is the partition."""


class AlreadyRebuilding(HoldfastError):
    """Another rebuild of the partition is at work; this one has changed nothing."""


@dataclass(frozen=True, slots=True)
class Expected:
    """What PostgreSQL says must lie in Redis: levels and holds by sale, open payments in all."""

    levels: Mapping[str, Mapping[str, Levels]]
    holds: Mapping[str, int]
    payments: int


class Rebuilding:
    """Over a pool. All raise `Unavailable` where PostgreSQL is away."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    @asynccontextmanager
    async def locks(self) -> AsyncIterator[Locks]:
        """A connection of its own, on which partitions are locked until it is given back."""
        async with connection(self._pool) as taken:
            locks = Locks(taken)
            try:
                yield locks
            finally:
                await locks.release()

    async def position(self, partition: int) -> Position | None:
        """Where a partition stands; None where it was never started."""
        async with connection(self._pool) as taken:
            row = await taken.fetchrow(query("position"), partition)
        return Position(**row) if row else None

    async def last_ms(self, partition: int) -> int:
        """When the partition's last entry was written; 0 where there is none."""
        async with connection(self._pool) as taken:
            found: int | None = await taken.fetchval(query("last_written_ms"), partition)
        return found or 0

    async def take_generation(
        self, partition: int, position: Position, generation: int, started_by: str
    ) -> bool:
        """Take a partition to a new generation; False where it is not at the position any more.

        From then on a drain that knows the old one finds no row to move.
        """
        async with connection(self._pool) as taken, taken.transaction():
            moved = await taken.fetchval(
                query("take_generation"),
                partition,
                position.generation,
                position.sequence,
                position.chain,
                generation,
            )
            if moved is None:
                return False
            await taken.execute(
                query("insert_rebuild"), partition, generation, position.sequence, started_by
            )
        return True

    async def finish(self, partition: int, generation: int, counts: Mapping[str, object]) -> None:
        """Note that the rebuild of a generation has ended."""
        async with connection(self._pool) as taken:
            await taken.execute(
                query("finish_rebuild"), partition, generation, orjson.dumps(counts).decode()
            )

    async def keep_dropped(
        self, partition: int, generation: int, entries: Sequence[RawEntry]
    ) -> None:
        """Keep entries that are not taken over, for people."""
        async with connection(self._pool) as taken:
            await taken.execute(
                query("keep_dropped"),
                partition,
                generation,
                [entry.sequence for entry in entries],
                [entry.text for entry in entries],
            )

    @asynccontextmanager
    async def state(self, partition: int) -> AsyncIterator[State]:
        """A partition's state, all as of one instant."""
        async with (
            connection(self._pool) as taken,
            taken.transaction(isolation="repeatable_read", readonly=True),
        ):
            yield State(taken, partition)


class Locks:
    """Advisory locks of one session: given back by it, or with it."""

    def __init__(self, taken: Connection) -> None:
        self._taken = taken
        self._held: list[int] = []

    async def take(self, partition: int) -> None:
        """Lock a partition. Raises `AlreadyRebuilding` where somebody else has."""
        if not await self._taken.fetchval(query("try_lock_session"), _LOCK, partition):
            raise AlreadyRebuilding(
                f"partition {partition}: another rebuild of it is at work; nothing was changed"
            )
        self._held.append(partition)

    async def release(self) -> None:
        """Give all back; a session that is gone has given them back."""
        while self._held and not self._taken.is_closed():
            await self._taken.fetchval(query("unlock_session"), _LOCK, self._held.pop())


class State:
    """What `Rebuilding.state` opens. Rows come in constant memory."""

    def __init__(self, taken: Connection, partition: int) -> None:
        self._taken = taken
        self._partition = partition
        self._ids = booking_ids(partition)

    async def sales(self) -> list[Sale]:
        """The partition's sales with their levels."""
        return await read_sales(self._taken, self._partition)

    async def customers(self) -> AsyncIterator[tuple[str, str, int]]:
        """Sale, customer, units: of all bookings that are not cancelled."""
        async for row in self._rows(query("restore_customers"), *self._ids):
            yield row["sale_id"], row["customer_id"], row["units"]

    async def bookings(self) -> AsyncIterator[ArchivedBooking]:
        """The bookings that are not over: holds, and those whose payment is open."""
        for sql in (query("restore_holds"), query("restore_paying")):
            async for row in self._rows(sql, *self._ids):
                yield ArchivedBooking(booking_of(row), row["ciphertext"], row["sequence"])

    async def tombstones(self, now_ms: int) -> AsyncIterator[tuple[str, int]]:
        """Ids and versions of bookings that are no holds and changed lately."""
        since_ms = now_ms - TOMBSTONE_TTL_MS
        async for row in self._rows(query("restore_tombstones"), *self._ids, since_ms):
            yield row["booking_id"], row["version"]

    async def records(self, now_ms: int) -> AsyncIterator[tuple[RecordName, Record]]:
        """The idempotency records that have not run out at `now_ms`."""
        async for row in self._rows(query("restore_records"), self._partition):
            if row["at_ms"] + IDEMPOTENCY_TTL_MS <= now_ms:
                return
            entry = parse_entry(row["sequence"], row["entry"])
            if entry.booking and (found := record_of(entry, entry.booking)):
                yield found

    async def expected(self) -> Expected:
        """The totals to compare Redis with before it is opened."""
        holds = await self._taken.fetch(query("restore_hold_counts"), *self._ids)
        sales = await self.sales()
        return Expected(
            levels={
                sale.definition.sale_id: {level.item_id: level for level in sale.levels}
                for sale in sales
            },
            holds={row["sale_id"]: row["holds"] for row in holds},
            payments=await self._taken.fetchval(query("restore_open_payments"), *self._ids),
        )

    async def _rows(self, sql: str, *args: Any) -> AsyncIterator[asyncpg.Record]:
        async for row in self._taken.cursor(sql, *args, prefetch=SLICE_ROWS):
            yield row


async def read_sales(taken: Connection, partition: int) -> list[Sale]:
    """A partition's sales, each with the items of its definition and their levels."""
    rows = await taken.fetch(query("audit_sales"), partition)
    items: dict[str, list[asyncpg.Record]] = {row["sale_id"]: [] for row in rows}
    for item in await taken.fetch(query("audit_items"), list(items)):
        if item["position"] is not None:
            items[item["sale_id"]].append(item)
    return [_sale_of(row, items[row["sale_id"]]) for row in rows]


def _sale_of(row: asyncpg.Record, items: Sequence[asyncpg.Record]) -> Sale:
    levels = tuple(
        Levels(item["item_id"], item["available"], item["held"], item["sold"]) for item in items
    )
    return Sale(
        definition=SaleDefinition(
            sale_id=row["sale_id"],
            name=row["name"],
            items=tuple(
                ItemDefinition(
                    item["item_id"],
                    item["name"],
                    level.capacity,
                    item["unit_price"],
                    item["max_per_booking"],
                )
                for item, level in zip(items, levels, strict=True)
            ),
            opens_ms=row["opens_ms"],
            closes_ms=row["closes_ms"],
            hold_ms=row["hold_ms"],
            max_units_per_customer=row["max_units_per_customer"],
            currency=row["currency"],
        ),
        version=row["version"],
        created_ms=row["created_ms"],
        updated_ms=row["updated_ms"],
        levels=levels,
    )
