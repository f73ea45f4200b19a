"""Whether journal entries that a drain never saw follow from what PostgreSQL has: by the model.

A drain believes its Redis. A rebuild does not: what lies in the journal of a Redis that lost keys
may have been decided on half a picture, and is taken over only where the fold accepts it.
"""

from __future__ import annotations

from collections.abc import Sequence

import orjson

from engine.journal import Entry
from engine.model import Disagreement, PartitionState, SaleState, advance
from engine.types import definition_json
from persistence.pool import Pool, connection
from persistence.queries import query
from persistence.reads import booking_of
from persistence.sales import read_sales
from persistence.steps import Step


class Salvage:
    """A partition's fold from PostgreSQL's cursor on, with so much of the state as entries name."""

    def __init__(self, pool: Pool, partition: int, sequence: int, last_ms: int) -> None:
        self._pool = pool
        self._partition = partition
        self._state = PartitionState(sequence=sequence, last_ms=last_ms)
        self._known: set[str] = set()
        self._counted: set[tuple[str, str]] = set()

    async def take(self, steps: Sequence[Step]) -> tuple[int, str]:
        """Fold steps in order; answers how many follow, and why the next one does not."""
        await self._learn([step.entry for step in steps if step.entry])
        for at, step in enumerate(steps):
            if step.entry is None:
                return at, f"entry {step.raw.sequence}: {step.detail}"
            try:
                advance(self._state, step.entry)
            except Disagreement as disagreement:
                return at, str(disagreement)
        return len(steps), ""

    def forget(self) -> None:
        """Drop what is known: PostgreSQL has everything that was folded so far."""
        self._state = PartitionState(sequence=self._state.sequence, last_ms=self._state.last_ms)
        self._known.clear()
        self._counted.clear()

    async def _learn(self, entries: Sequence[Entry]) -> None:
        """Read what entries are about and what was not read before."""
        state = self._state
        bookings = [entry.booking for entry in entries if entry.booking]
        names = {one.booking_id for one in bookings if one.version > 1} - self._known
        names -= state.bookings.keys()
        pairs = {(one.sale_id, one.customer_id) for one in bookings} - self._counted
        async with connection(self._pool) as taken:
            if not state.sales:
                for sale in await read_sales(taken, self._partition):
                    definition = sale.definition
                    state.sales[definition.sale_id] = SaleState(
                        definition=definition,
                        fields=orjson.loads(definition_json(definition)),
                        version=sale.version,
                        created_ms=sale.created_ms,
                        updated_ms=sale.updated_ms,
                        levels={level.item_id: level for level in sale.levels},
                    )
            for row in await taken.fetch(query("salvage_bookings"), list(names)):
                state.bookings[row["booking_id"]] = booking_of(row)
            for row in await taken.fetch(
                query("salvage_customers"),
                [sale_id for sale_id, _ in pairs],
                [customer_id for _, customer_id in pairs],
            ):
                state.sales[row["sale_id"]].customers[row["customer_id"]] = row["units"]
        self._known |= names
        self._counted |= pairs
