"""Entries in quarantine: looked at, applied after all, or given up.

Both changes hold the partition's row, so that no drain moves a booking on meanwhile, and are one
transaction each: an entry leaves quarantine together with what it makes, its public events too.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import asyncpg

from engine.errors import HoldfastError
from engine.journal import RawEntry, unpack_levels
from persistence.commit import POISON
from persistence.pool import Connection, Pool, connection
from persistence.projections import Batch, add_stock, plan
from persistence.queries import query
from persistence.rows import look_up, write_rows
from persistence.steps import contacts_to_read, salvage, understand

Contacts = Callable[[Iterable[str]], Awaitable[Mapping[str, bytes]]]
"""Reads the contacts of bookings, as far as they are still beside them in Redis."""

NO_LINK: Final = b""
"""In place of the chain, which the entry has in the journal already."""


class NotInQuarantine(HoldfastError):
    """No entry of that position waits in quarantine."""

    def __init__(self, partition: int, sequence: int) -> None:
        super().__init__(f"entry {sequence} of partition {partition} does not wait in quarantine")


class CannotDiscard(HoldfastError):
    """PostgreSQL refuses the entry's deltas: given up, the levels would lack them for ever."""


@dataclass(frozen=True, slots=True)
class Quarantined:
    """An entry in quarantine, and what can be told of it; `discarded_at` None while it waits."""

    partition: int
    sequence: int
    reason: str
    detail: str
    type: str | None
    booking_id: str | None
    sale_id: str | None
    quarantined_at: datetime
    discarded_at: datetime | None
    discarded_by: str | None
    discarded_because: str | None


@dataclass(frozen=True, slots=True)
class Retried:
    """The entries that were applied, and why the next one was not; None where none is left."""

    applied: tuple[int, ...]
    left: int | None = None
    why: str | None = None


class Quarantine:
    """The quarantine over a pool. All raise `Unavailable` where PostgreSQL is away."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def list(self, partition: int | None = None) -> list[Quarantined]:
        """What is in quarantine, in the order of partitions and sequences."""
        async with connection(self._pool) as taken:
            rows = await taken.fetch(query("list_quarantine"), partition)
        return [Quarantined(*row) for row in rows]

    async def entry(self, partition: int, sequence: int) -> tuple[Quarantined, bytes]:
        """An entry in quarantine with its text, discarded or not. Raises `NotInQuarantine`."""
        async with connection(self._pool) as taken:
            row = await taken.fetchrow(query("quarantined_entry"), partition, sequence)
        if row is None:
            raise NotInQuarantine(partition, sequence)
        fields = {name: row[name] for name in Quarantined.__dataclass_fields__}
        return Quarantined(**fields), row["entry"]

    async def retry(self, partition: int, sequence: int, contacts: Contacts) -> Retried:
        """Apply an entry, and those that wait behind it for the same booking, in order.

        As far as it goes: the first that cannot be applied stays, with those behind it.

        Raises:
            NotInQuarantine: no such entry waits.
        """
        async with connection(self._pool) as taken, taken.transaction():
            await taken.execute(query("lock_partition"), partition)
            found = await taken.fetchrow(query("quarantined_entry"), partition, sequence)
            if found is None or found["discarded_at"]:
                raise NotInQuarantine(partition, sequence)
            rows = await taken.fetch(
                query("quarantined_behind"), partition, sequence, found["booking_id"]
            )
            applied: list[int] = []
            for at, generation, text in rows:
                why = await _apply(taken, partition, generation, RawEntry(at, text), contacts)
                if why is not None:
                    return Retried(tuple(applied), at, why)
                applied.append(at)
            return Retried(tuple(applied))

    async def discard(self, partition: int, sequence: int, by: str, because: str) -> None:
        """Give an entry up. Its deltas go into the levels, as in Redis; nothing else of it does.

        Raises:
            NotInQuarantine: no such entry waits.
            CannotDiscard: PostgreSQL refuses its deltas.
        """
        async with connection(self._pool) as taken, taken.transaction():
            await taken.execute(query("lock_partition"), partition)
            given_up = await taken.fetchval(
                query("discard_from_quarantine"), partition, sequence, by, because
            )
            if given_up is None:
                raise NotInQuarantine(partition, sequence)
            row = await taken.fetchrow(query("quarantined_entry"), partition, sequence)
            assert row
            batch = _stock_of(row)
            try:
                await write_rows(taken, batch, {})
            except asyncpg.PostgresError as error:
                if not (error.sqlstate or "").startswith(POISON):
                    raise
                raise CannotDiscard(f"its deltas are refused: {error}") from error


async def _apply(
    taken: Connection, partition: int, generation: int, raw: RawEntry, contacts: Contacts
) -> str | None:
    """Apply one entry that is in the journal already; why it cannot be, or None."""
    steps, unknown = understand([raw])
    if unknown:
        return str(unknown)
    known = await look_up(taken, steps)
    batch = plan(
        partition, generation, steps, [NO_LINK], known.versions, known.events, known.absent
    )
    if batch.quarantine:
        _, _, _, reason, detail, *_ = batch.quarantine[0]
        return f"{reason}: {detail}"
    batch.journal.clear()
    found = await contacts(contacts_to_read(steps))
    try:
        async with taken.transaction():
            await write_rows(taken, batch, found)
            await taken.execute(query("release_from_quarantine"), partition, raw.sequence)
    except asyncpg.PostgresError as error:
        if not (error.sqlstate or "").startswith(POISON):
            raise
        return f"refused: {error}"
    return None


def _stock_of(row: asyncpg.Record) -> Batch:
    """The changes of stock of an entry, with their levels where it says them."""
    batch = Batch()
    steps, _ = understand([RawEntry(row["sequence"], row["entry"])])
    entry = steps[0].entry if steps else None
    if entry:
        booking_id = entry.booking.booking_id if entry.booking else None
        add_stock(batch, row["partition"], entry, booking_id)
        batch.rollups.move(entry.sale_id, entry.at_ms, entry.deltas)
    elif row["sale_id"]:
        deltas = unpack_levels(row["deltas"])
        for delta in deltas:
            sums = (delta.available, delta.held, delta.sold)
            batch.deltas[row["sale_id"], delta.item_id] = sums
        at_ms = salvage(row["entry"]).at_ms
        if at_ms is None:
            at_ms = int(row["quarantined_at"].timestamp() * 1000)
        batch.rollups.move(row["sale_id"], at_ms, deltas)
    return batch
