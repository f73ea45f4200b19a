"""What the reconciler keeps in PostgreSQL, and what it reads there."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final

from engine.journal import parse_entry
from engine.types import Booking
from persistence.pool import Pool, connection
from persistence.queries import query

PAGE_ROWS: Final = 500


@dataclass(frozen=True, slots=True)
class Position:
    """Charges made before `checked_until_ms` have settled; none is from before `installed_ms`."""

    checked_until_ms: int
    installed_ms: int


class Reconciling:
    """Reads and the one write of the reconciler. All raise `Unavailable`."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def position(self, gateway: str) -> Position | None:
        """How far a gateway's charges are settled; None before the installation's first start."""
        async with connection(self._pool) as taken:
            row = await taken.fetchrow(query("reconciler_position"), gateway)
        if row is None:
            return None
        checked_until_ms, installed_ms = row
        return Position(checked_until_ms or installed_ms, installed_ms)

    async def note_checked_until_ms(self, gateway: str, checked_until_ms: int) -> None:
        """Note it; a lower time than is known changes nothing."""
        async with connection(self._pool) as taken:
            await taken.execute(query("set_checked_until"), gateway, checked_until_ms)

    async def captures(self, since_ms: int, until_ms: int) -> AsyncIterator[list[Booking]]:
        """Bookings as they were when their capture was recorded in [since_ms, until_ms), paged."""
        after = (since_ms, -1, -1)
        while True:
            async with connection(self._pool) as taken:
                rows = await taken.fetch(query("captures"), since_ms, until_ms, *after, PAGE_ROWS)
            if rows:
                entries = [parse_entry(row["sequence"], row["entry"]) for row in rows]
                yield [entry.booking for entry in entries if entry.booking]
            if len(rows) < PAGE_ROWS:
                return
            after = (rows[-1]["at_ms"], rows[-1]["partition"], rows[-1]["sequence"])
