"""PostgreSQL's side of a rebuild: one at a time, a new generation, and what Redis is to have.

The state is that of the projections at the cursor. Idempotency records are in no table: they are
made by the model of the entries that left them.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import asyncpg
import orjson

from engine.errors import HoldfastError
from engine.journal import RawEntry
from engine.limits import IDEMPOTENCY_TTL_MS, TOMBSTONE_TTL_MS
from engine.model import Record, RecordName, is_paying, record_of
from engine.types import ArchivedBooking, Levels, Sale, Status
from persistence.audit import SLICE_ROWS, booking_ids
from persistence.given_up import GivenUp, read_given_up
from persistence.pool import Connection, Pool, connection
from persistence.queries import query
from persistence.reads import booking_of
from persistence.sales import read_sales
from persistence.steps import Position, understand

PATIENCE_MS: Final = 10 * 60 * 1000
_LOCK: Final = 0x52454255
"""The first half of the advisory lock; the second is the partition."""


class AlreadyRebuilding(HoldfastError):
    """Another rebuild of the partition is at work; this one has changed nothing."""


@dataclass(frozen=True, slots=True)
class Expected:
    """What PostgreSQL says must lie in Redis: levels and holds by sale, and open payments.

    `unowned` is units in the levels that no booking accounts for (`persistence.given_up`).
    """

    levels: Mapping[str, Mapping[str, Levels]]
    holds: Mapping[str, int]
    payments: frozenset[str]
    unowned: Mapping[str, int]

    def units(self, sale_id: str) -> int:
        """Units that the customers of a sale have, all together."""
        taken = sum(level.held + level.sold for level in self.levels[sale_id].values())
        return taken - self.unowned.get(sale_id, 0)


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
    ) -> int | None:
        """Take a partition to a new generation; answers the rebuild's number.

        None where the partition is not at the position any more.

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
                return None
            return await _insert(taken, partition, generation, position.sequence, None, started_by)

    async def begin_sale(
        self, partition: int, position: Position, sale_id: str, started_by: str
    ) -> int:
        """Note that a rebuild of one sale has begun; answers its number."""
        async with connection(self._pool) as taken:
            return await _insert(
                taken, partition, position.generation, position.sequence, sale_id, started_by
            )

    async def finish(self, number: int, counts: Mapping[str, object]) -> None:
        """Note that a rebuild has ended."""
        async with connection(self._pool) as taken:
            await taken.execute(query("finish_rebuild"), number, orjson.dumps(counts).decode())

    async def booking_ids(self, sale_id: str) -> AsyncIterator[str]:
        """The ids of a sale's bookings, in constant memory."""
        async with connection(self._pool) as taken, taken.transaction(readonly=True):
            async for row in taken.cursor(query("restore_names"), sale_id, prefetch=SLICE_ROWS):
                yield row["booking_id"]

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
    async def state(self, partition: int, sale_id: str | None = None) -> AsyncIterator[State]:
        """A partition's state, or that of one sale in it, all as of one instant."""
        async with (
            connection(self._pool) as taken,
            taken.transaction(isolation="repeatable_read", readonly=True),
        ):
            # Not a drain's lease: it locks nothing, and waits for Redis between its rows.
            await taken.execute(query("be_patient"), str(PATIENCE_MS))
            given_up = await read_given_up(taken, partition, sale_id)
            yield State(taken, partition, sale_id, given_up)


async def _insert(
    taken: Connection,
    partition: int,
    generation: int,
    sequence: int,
    sale_id: str | None,
    started_by: str,
) -> int:
    number: int = await taken.fetchval(
        query("insert_rebuild"), partition, generation, sequence, sale_id, started_by
    )
    return number


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
        with contextlib.suppress(OSError, asyncpg.InterfaceError, asyncpg.PostgresError):
            while self._held:
                await self._taken.fetchval(query("unlock_session"), _LOCK, self._held.pop())


class State:
    """What `Rebuilding.state` opens. Rows come in constant memory."""

    def __init__(
        self, taken: Connection, partition: int, sale_id: str | None, given_up: GivenUp
    ) -> None:
        self._taken = taken
        self._given_up = given_up
        self._partition = partition
        self._sale_id = sale_id
        self._which = (*booking_ids(partition), sale_id)

    async def sales(self) -> list[Sale]:
        """The sales with their levels."""
        found = await read_sales(self._taken, self._partition)
        return [sale for sale in found if self._sale_id in (None, sale.definition.sale_id)]

    async def customers(self) -> AsyncIterator[tuple[str, str, int]]:
        """Sale, customer, units: of all bookings that are not cancelled."""
        more = self._given_up.units()
        async for row in self._rows(query("restore_customers"), *self._which):
            key = (row["sale_id"], row["customer_id"])
            if units := row["units"] + more.pop(key, 0):
                yield *key, units
        for key, units in more.items():
            if units:
                yield *key, units

    async def bookings(self) -> AsyncIterator[ArchivedBooking]:
        """The bookings that are not over: holds, and those whose payment is open."""
        for sql in (query("restore_holds"), query("restore_paying")):
            async for row in self._rows(sql, *self._which):
                if row["booking_id"] not in self._given_up.bookings:
                    yield ArchivedBooking(booking_of(row), row["ciphertext"], row["sequence"])
        for archived in self._given_up.bookings.values():
            if archived.booking.status is Status.PENDING or is_paying(archived.booking):
                yield archived

    async def tombstones(self, now_ms: int) -> AsyncIterator[tuple[str, int]]:
        """Ids and versions of bookings that are no holds and changed lately."""
        since_ms = now_ms - TOMBSTONE_TTL_MS
        async for row in self._rows(query("restore_tombstones"), *self._which, since_ms):
            if row["booking_id"] not in self._given_up.bookings:
                yield row["booking_id"], row["version"]

    async def records(self, now_ms: int) -> AsyncIterator[tuple[RecordName, Record]]:
        """The idempotency records that have not run out at `now_ms`."""
        async for row in self._rows(query("restore_records"), self._partition, self._sale_id):
            if row["at_ms"] + IDEMPOTENCY_TTL_MS <= now_ms:
                return
            steps, _ = understand([RawEntry(row["sequence"], row["entry"])])
            entry = steps[0].entry if steps else None
            # One that nobody can read was given up, and has left no record.
            if entry and entry.booking and (found := record_of(entry, entry.booking)):
                yield found

    async def expected(self) -> Expected:
        """The totals to compare Redis with before it is opened."""
        holds = await self._taken.fetch(query("restore_hold_counts"), *self._which)
        payments = await self._taken.fetch(query("restore_open_payments"), *self._which)
        sales = await self.sales()
        given_up = self._given_up
        held = Counter({row["sale_id"]: row["holds"] for row in holds})
        held.update(given_up.holds())
        open_now = {row["booking_id"] for row in payments} - given_up.bookings.keys()
        open_now |= {name for name, one in given_up.bookings.items() if is_paying(one.booking)}
        return Expected(
            levels={
                sale.definition.sale_id: {level.item_id: level for level in sale.levels}
                for sale in sales
            },
            holds=held,
            payments=frozenset(open_now),
            unowned=given_up.unowned,
        )

    async def _rows(self, sql: str, *args: Any) -> AsyncIterator[asyncpg.Record]:
        async for row in self._taken.cursor(sql, *args, prefetch=SLICE_ROWS):
            yield row
