"""The drain's one transaction: entries, projections and the cursor that covers them, or nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import asyncpg
import structlog

from engine.journal import unpack_levels
from engine.types import Levels
from persistence import metrics
from persistence.pool import Connection, Pool, connection
from persistence.projections import Batch, ItemKey, plan
from persistence.queries import query
from persistence.rows import QUARANTINE, look_up, write_rows
from persistence.steps import REFUSED, Position, Step, advance

_log = structlog.stdlib.get_logger("holdfast.drain")

POISON: Final = ("21", "22", "23", "54")
"""SQLSTATE classes that are about what is written: a row twice, data, constraints, sizes."""


async def commit(
    pool: Pool,
    partition: int,
    position: Position,
    steps: Sequence[Step],
    contacts: Mapping[str, bytes],
) -> Position | None:
    """Take steps that follow a position over into PostgreSQL.

    Where PostgreSQL refuses what an entry says, halves are tried, each in a transaction of its
    own, until that entry is alone: it goes into quarantine and the others are applied.

    Returns:
        The new position; None where somebody else has moved the cursor, or moves it now.

    Raises:
        Unavailable: PostgreSQL is away; whether the transaction was committed is not known.
    """
    try:
        return await _transact(pool, partition, position, steps, contacts)
    except asyncpg.PostgresError as error:
        if not (error.sqlstate or "").startswith(POISON):
            raise
        if len(steps) == 1:
            if steps[0].reason is not None:
                raise
            refused = steps[0].quarantined(REFUSED, f"{type(error).__name__}: {error}")
            return await _transact(pool, partition, position, [refused], contacts)
    middle = len(steps) // 2
    reached = await commit(pool, partition, position, steps[:middle], contacts)
    if reached is None:
        return None
    return await commit(pool, partition, reached, steps[middle:], contacts)


async def _transact(
    pool: Pool,
    partition: int,
    position: Position,
    steps: Sequence[Step],
    contacts: Mapping[str, bytes],
) -> Position | None:
    reached, links = advance(position, [step.raw for step in steps])
    async with connection(pool) as taken, taken.transaction():
        # First, because it takes the row's lock: whoever comes second finds out before it
        # has written anything.
        moved = await taken.fetchval(
            query("advance"),
            partition,
            position.generation,
            position.sequence,
            position.chain,
            reached.sequence,
            reached.chain,
            reached.bytes,
        )
        if moved is None:
            return None
        known = await look_up(taken, steps)
        batch = plan(
            partition,
            position.generation,
            steps,
            links,
            known.versions,
            known.events,
            known.absent,
        )
        disagreeing = await _write(taken, batch, contacts)
    # Counted and told only now: what was rolled back has not happened.
    _tell(partition, batch, disagreeing)
    return reached


async def _write(
    taken: Connection, batch: Batch, contacts: Mapping[str, bytes]
) -> dict[ItemKey, tuple[Levels, Levels]]:
    """Write a batch; answers the items whose levels are not what the journal says: both."""
    differing = {}
    for row in await write_rows(taken, batch, contacts):
        sale_id, *levels = row
        is_now, should_be = Levels(*levels), batch.levels[sale_id, levels[0]]
        if is_now != should_be:
            differing[sale_id, is_now.item_id] = (is_now, should_be)
    if differing:
        differing = await _without_quarantine(taken, differing)
    return differing


async def _without_quarantine(
    taken: Connection, differing: dict[ItemKey, tuple[Levels, Levels]]
) -> dict[ItemKey, tuple[Levels, Levels]]:
    """Leave out the items that differ by just what lies in quarantine."""
    lacking: dict[ItemKey, list[int]] = {}
    sales = list({sale_id for sale_id, _ in differing})
    for row in await taken.fetch(query("quarantined_deltas"), sales):
        for delta in unpack_levels(row["deltas"]):
            sums = lacking.setdefault((row["sale_id"], delta.item_id), [0, 0, 0])
            for at, units in enumerate((delta.available, delta.held, delta.sold)):
                sums[at] += units
    left = {}
    for key, (is_now, should_be) in differing.items():
        available, held, sold = lacking.get(key, (0, 0, 0))
        healed = Levels(
            is_now.item_id, is_now.available + available, is_now.held + held, is_now.sold + sold
        )
        if healed != should_be:
            left[key] = (is_now, should_be)
    return left


def _tell(partition: int, batch: Batch, disagreeing: dict[ItemKey, tuple[Levels, Levels]]) -> None:
    metrics.ENTRIES.inc(len(batch.journal))
    for row in batch.quarantine:
        entry = dict(zip(QUARANTINE, row, strict=True))
        metrics.QUARANTINED.labels(entry["reason"]).inc()
        _log.error(
            "entry_quarantined",
            partition=partition,
            sequence=entry["sequence"],
            reason=entry["reason"],
            detail=entry["detail"],
            booking_id=entry["booking_id"],
        )
    for (sale_id, item_id), (is_now, should_be) in disagreeing.items():
        metrics.LEVEL_MISMATCHES.inc()
        _log.error(
            "levels_disagree",
            partition=partition,
            sale_id=sale_id,
            item_id=item_id,
            postgres=(is_now.available, is_now.held, is_now.sold),
            journal=(should_be.available, should_be.held, should_be.sold),
        )
