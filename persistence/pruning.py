"""Old rows of the journal are dropped, and the base goes up with them.

A transaction drops the oldest rows of one partition that nothing needs any more, some thousands,
and moves the base to the last of them by compare-and-set: base and rows agree always, and whoever
is interrupted goes on from there. Before a row goes, it has to follow by its chain.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import asyncpg

from engine.errors import HoldfastError
from engine.journal import SALE_TYPES
from engine.limits import MAX_PRUNED_ENTRIES
from persistence.audit import JOURNAL_LOCK, booking_ids
from persistence.pool import Connection, Pool, connection
from persistence.queries import query
from persistence.steps import chain_of

_BY_SEQUENCE: Final = ("quarantine", "outbox", "stream", "deliveries")


class JournalInUse(HoldfastError):
    """A `verify` reads the journal, or another prune is at it. What was dropped so far is whole."""


class JournalAltered(HoldfastError):
    """A row does not follow from the one before. It stays, for `verify` to tell of."""


@dataclass(frozen=True, slots=True)
class Droppable:
    """What of a partition's journal may go: the rows after `base` and before `until`.

    `kept_for` says what needs the row at `until`: `age` where it is only too young, `cursor` where
    it is the last one.
    """

    partition: int
    base: int
    until: int
    entries: int
    bytes: int
    kept_for: str


class Pruning:
    """Over a pool. All raise `Unavailable` where PostgreSQL is away."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def partitions(self) -> list[int]:
        """The partitions that PostgreSQL has."""
        async with connection(self._pool) as taken:
            rows = await taken.fetch(query("prune_partitions"))
        return [row["partition"] for row in rows]

    async def droppable(self, partition: int, before_ms: int, look_back_ms: int) -> Droppable:
        """What was written before a time and is needed by nothing.

        Once true this stays so: what needs an old entry comes of what needs it already.

        Args:
            look_back_ms: by how much the reconciler may look at captures from before its position.
        """
        async with (
            connection(self._pool) as taken,
            taken.transaction(isolation="repeatable_read", readonly=True),
        ):
            needs = await taken.fetchrow(query("prune_needs"), partition, *booking_ids(partition))
            assert needs, "its number is from the same table"
            times = {"age": before_ms}
            if needs["paying_ms"] is not None:
                times["payment"] = needs["paying_ms"]
            if needs["reconciled_ms"] is not None:
                times["reconciler"] = needs["reconciled_ms"] - look_back_ms
            first = min(times, key=lambda name: times[name])
            base = needs["base_sequence"]
            young = await taken.fetchval(query("prune_until"), partition, base, times[first])
            places = {"cursor": needs["sequence"]}
            if young is not None:
                places[first] = young
            places |= {name: needs[name] for name in _BY_SEQUENCE if needs[name] is not None}
            kept_for = min(places, key=lambda name: places[name])
            until = max(places[kept_for], base + 1)
            sizes = await taken.fetchrow(query("prune_sizes"), partition, base, until)
            assert sizes, "sums have one row"
        return Droppable(partition, base, until, sizes["entries"], sizes["bytes"], kept_for)

    async def drop(self, partition: int, until: int, limit: int = MAX_PRUNED_ENTRIES) -> int:
        """Drop the oldest rows before a sequence, at most so many; answers how many.

        Raises `JournalInUse`, `JournalAltered`.
        """
        async with connection(self._pool) as taken, taken.transaction():
            if not await taken.fetchval(query("prune_lock"), *JOURNAL_LOCK):
                raise JournalInUse(
                    f"partition {partition}: a verify, or another prune, reads the journal; "
                    "run it again after"
                )
            base = await taken.fetchrow(query("prune_base"), partition)
            assert base, "its number is from the same table"
            rows = await taken.fetch(
                query("prune_rows"), partition, base["base_sequence"], until, limit
            )
            if not rows:
                return 0
            await _move_base(taken, partition, base, rows)
            return len(rows)


async def _move_base(
    taken: Connection, partition: int, base: asyncpg.Record, rows: Sequence[asyncpg.Record]
) -> None:
    sequence, chain, size = base["base_sequence"], base["base_chain"], base["base_bytes"]
    definitions: dict[str, asyncpg.Record] = {}
    for row in rows:
        sequence += 1
        chain = chain_of(chain, row["entry"])
        size += len(row["entry"])
        if row["sequence"] != sequence or row["chain"] != chain or row["at_ms"] is None:
            raise JournalAltered(
                f"partition {partition}: entry {sequence} does not follow from what is before it; "
                "nothing is dropped from there on"
            )
        if row["type"] in SALE_TYPES:
            definitions[row["sale_id"]] = row
    if definitions:
        kept = definitions.values()
        await taken.execute(
            query("keep_base_definitions"),
            partition,
            list(definitions),
            [row["sequence"] for row in kept],
            [row["entry"] for row in kept],
        )
    await taken.execute(query("drop_rows"), partition, base["base_sequence"], sequence)
    # Last, because it takes the row that the drain moves: that waits no longer than for a commit.
    moved = await taken.fetchval(
        query("move_base"),
        partition,
        base["base_sequence"],
        base["base_chain"],
        sequence,
        chain,
        size,
        rows[-1]["at_ms"],
    )
    if moved is None:
        raise JournalInUse(f"partition {partition}: somebody else moved its base")
