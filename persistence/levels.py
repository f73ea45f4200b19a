"""The two books of stock: PostgreSQL's sums of deltas, compared with the levels that entries say.

What lies in quarantine is missing from the sums, and is no disagreement: its deltas are added
before the two are compared.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import asyncpg

from engine.journal import unpack_levels
from engine.types import Levels
from persistence.pool import Connection
from persistence.projections import Batch, ItemKey, Mark
from persistence.queries import query

Counts = tuple[int, int, int]
"""Units available, held and sold; of deltas, signed."""

_NONE: Final[Counts] = (0, 0, 0)


@dataclass(frozen=True, slots=True)
class Disagreeing:
    """An item of which the two books say something else.

    `sequence` is that of the entry that tells it of a whole sale; None where the last entry of the
    batch tells it.
    """

    sale_id: str
    item_id: str
    is_now: Counts
    should_be: Counts
    sequence: int | None = None


async def disagreeing_levels(
    taken: Connection, batch: Batch, written: Iterable[asyncpg.Record]
) -> list[Disagreeing]:
    """Compare the levels that a batch led to with those that its entries say.

    Args:
        written: sale, item and levels of the items whose deltas were added.
    """
    differing = [
        Disagreeing(sale_id, item_id, tuple(is_now), should_be)
        for sale_id, item_id, *is_now in written
        if tuple(is_now) != (should_be := _counts(batch.levels.get((sale_id, item_id))))
    ]
    if batch.marks:
        differing += await _differing_marks(taken, batch)
    if not differing:
        return []
    lacking = await _in_quarantine(taken, {one.sale_id for one in differing})
    return [one for one in differing if _healed(one, lacking) != one.should_be]


async def _differing_marks(taken: Connection, batch: Batch) -> list[Disagreeing]:
    sales = list({mark.sale_id for mark in batch.marks})
    levels: dict[str, dict[str, Counts]] = {sale_id: {} for sale_id in sales}
    for sale_id, item_id, *counts in await taken.fetch(query("sale_levels"), sales):
        levels[sale_id][item_id] = tuple(counts)
    return [
        one
        for mark in batch.marks
        for one in compare_mark(mark, levels[mark.sale_id], batch.deltas)
    ]


def compare_mark(
    mark: Mark, levels: Mapping[str, Counts], deltas: Mapping[ItemKey, Counts]
) -> list[Disagreeing]:
    """The items that had other levels at an entry than it says.

    Args:
        levels: of the sale's items after the whole batch; one that it had once has none left.
        deltas: of the whole batch.
    """
    told = {one.item_id: _counts(one) for one in mark.levels}
    found = []
    for item_id in sorted(told.keys() | levels.keys()):
        # What came after it in the batch is taken off again.
        later = _less(
            deltas.get((mark.sale_id, item_id), _NONE),
            mark.deltas_so_far.get(item_id, _NONE),
        )
        was = _less(levels.get(item_id, _NONE), later)
        if was != told.get(item_id, _NONE):
            found.append(
                Disagreeing(mark.sale_id, item_id, was, told.get(item_id, _NONE), mark.sequence)
            )
    return found


async def _in_quarantine(
    taken: Connection, sales: Iterable[str]
) -> Mapping[ItemKey, Sequence[tuple[int, Counts]]]:
    """What the levels of sales lack: sequence and deltas by item."""
    lacking: dict[ItemKey, list[tuple[int, Counts]]] = {}
    for row in await taken.fetch(query("quarantined_deltas"), list(sales)):
        for delta in unpack_levels(row["deltas"]):
            found = lacking.setdefault((row["sale_id"], delta.item_id), [])
            found.append((row["sequence"], _counts(delta)))
    return lacking


def _healed(one: Disagreeing, lacking: Mapping[ItemKey, Sequence[tuple[int, Counts]]]) -> Counts:
    """What an item would have, had nothing of it been set aside until then."""
    counts = one.is_now
    for sequence, delta in lacking.get((one.sale_id, one.item_id), ()):
        if one.sequence is None or sequence < one.sequence:
            counts = tuple(a + b for a, b in zip(counts, delta, strict=True))  # type: ignore[assignment]
    return counts


def _counts(levels: Levels | None) -> Counts:
    return (levels.available, levels.held, levels.sold) if levels else _NONE


def _less(one: Counts, other: Counts) -> Counts:
    return one[0] - other[0], one[1] - other[1], one[2] - other[2]
