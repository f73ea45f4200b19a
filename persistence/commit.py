"""The drain's one transaction: entries, projections and the cursor that covers them, or nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import asyncpg
import structlog

from persistence import metrics
from persistence.levels import Disagreeing, disagreeing_levels
from persistence.pool import Connection, Pool, connection
from persistence.projections import Batch, plan
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
) -> list[Disagreeing]:
    """Write a batch; answers where its levels are not what the journal says."""
    levels = await write_rows(taken, batch, contacts)
    return await disagreeing_levels(taken, batch, levels)


def _tell(partition: int, batch: Batch, disagreeing: Sequence[Disagreeing]) -> None:
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
    for one in disagreeing:
        metrics.LEVEL_MISMATCHES.inc()
        _log.error(
            "levels_disagree",
            partition=partition,
            sequence=one.sequence,
            sale_id=one.sale_id,
            item_id=one.item_id,
            postgres=one.is_now,
            journal=one.should_be,
        )
