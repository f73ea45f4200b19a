"""What managers read: sums that the drain keeps, never scans of bookings or journal.

Every read raises `Unavailable` where PostgreSQL is away; nothing here writes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import asyncpg

from engine.limits import MAX_EPOCH_MS, MAX_SERIES_STEPS
from persistence.pool import Connection, Pool, connection
from persistence.queries import query
from persistence.rollups import COARSE_MS, COUNTERS, DAY_MS, FINE_MS, SUMS

__all__ = ["DAY_MS", "GroupBy", "Reports", "Series", "SeriesPoint", "Summary", "interval_of"]

_MINUTE_MS: Final = 60_000
_FINE_INTERVALS_MS: Final = (
    FINE_MS,
    30_000,
    _MINUTE_MS,
    5 * _MINUTE_MS,
    10 * _MINUTE_MS,
    30 * _MINUTE_MS,
)
_COARSE_INTERVALS_MS: Final = (COARSE_MS, 3 * COARSE_MS, 6 * COARSE_MS, DAY_MS, 7 * DAY_MS)


class GroupBy(StrEnum):
    """What a row of a summary is about."""

    DAY = "day"
    SALE = "sale"


@dataclass(frozen=True, slots=True)
class Summary:
    """What happened in sales on UTC days, in one currency.

    `day_ms` and `sale_id` are None where the row is about all of them.
    """

    day_ms: int | None
    sale_id: str | None
    currency: str
    created: int
    confirmed: int
    cancelled: int
    expired: int
    completed: int
    authorized: int
    captured: int
    declined: int
    refunded: int
    captured_amount: int
    returned_amount: int
    pay_ms: int
    """From hold to capture, summed over the captured."""

    @property
    def booking_success_rate(self) -> float | None:
        """Confirmed by created."""
        return self.confirmed / self.created if self.created else None

    @property
    def payment_success_rate(self) -> float | None:
        """Captured by those that the gateway decided."""
        decided = self.authorized + self.declined
        return self.captured / decided if decided else None

    @property
    def revenue(self) -> int:
        """Net: captured, and not to be given back."""
        return self.captured_amount - self.returned_amount

    @property
    def average_time_to_pay_ms(self) -> float | None:
        """From hold to capture."""
        return self.pay_ms / self.captured if self.captured else None


@dataclass(frozen=True, slots=True)
class SeriesPoint:
    """Units sold and capacity of a sale, all items together, at a time."""

    at_ms: int
    sold: int
    capacity: int

    @property
    def sell_through(self) -> float | None:
        """The share that is sold."""
        return self.sold / self.capacity if self.capacity else None


@dataclass(frozen=True, slots=True)
class Series:
    """The course of a sale in steps of one length; no points where nothing was sold."""

    interval_ms: int
    points: tuple[SeriesPoint, ...]


class Reports:
    """Reads over a pool."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def summary(
        self,
        from_ms: int | None,
        to_ms: int | None,
        sale_id: str | None,
        group_by: GroupBy | None,
        limit: int,
    ) -> tuple[Summary, ...]:
        """What happened, by day or by sale or altogether, and by currency; in that order.

        Args:
            from_ms: a time on the first day; None is from the beginning.
            to_ms: a time on the last day; None is to the end.
            sale_id: of this sale alone.
            limit: most rows.
        """
        first = 0 if from_ms is None else from_ms - from_ms % DAY_MS
        last = MAX_EPOCH_MS if to_ms is None else to_ms
        async with connection(self._pool) as taken:
            rows = await taken.fetch(query("summary"), first, last, sale_id, group_by, limit)
        return tuple(_summary(row, sale_id) for row in rows)

    async def series(self, sale_id: str, from_ms: int | None, to_ms: int | None) -> Series | None:
        """How a sale went, as of one instant; None where there is no such sale.

        From the first unit sold to the last change, or to what lies of that within `from_ms` and
        `to_ms`; in as many steps as a chart can show, of which each ends with a point. The first
        point is what was before.
        """
        async with (
            connection(self._pool) as taken,
            taken.transaction(isolation="repeatable_read", readonly=True),
        ):
            return await _series(taken, sale_id, from_ms, to_ms)

    async def drained_ms(self) -> int:
        """When PostgreSQL last took entries over from any partition."""
        async with connection(self._pool) as taken:
            found: int = await taken.fetchval(query("drained_ms"))
        return found


def interval_of(span_ms: int) -> int:
    """The shortest readable step of which `MAX_SERIES_STEPS` cover a span, wherever it begins."""
    for interval_ms in (*_FINE_INTERVALS_MS, *_COARSE_INTERVALS_MS):
        if span_ms <= (MAX_SERIES_STEPS - 1) * interval_ms:
            return interval_ms
    return DAY_MS * -(-span_ms // (DAY_MS * (MAX_SERIES_STEPS - 1)))


async def _series(
    taken: Connection, sale_id: str, from_ms: int | None, to_ms: int | None
) -> Series | None:
    span = await taken.fetchrow(query("sale_span"), sale_id, FINE_MS)
    if span is None:
        return None
    first_ms, first_sold_ms, last_ms = span
    if first_sold_ms is None:
        return Series(FINE_MS, ())
    begin_ms = max(first_sold_ms if from_ms is None else max(from_ms, first_ms), 0)
    end_ms = min(last_ms + FINE_MS, MAX_EPOCH_MS if to_ms is None else to_ms)
    interval_ms = interval_of(max(end_ms - begin_ms, 0))
    # Whole steps: the last point is as of its own end, as are all others.
    begin_ms -= begin_ms % interval_ms
    end_ms += -(end_ms - begin_ms) % interval_ms
    grain_ms = COARSE_MS if interval_ms >= COARSE_MS else FINE_MS
    hour_ms = begin_ms - begin_ms % COARSE_MS
    (before,) = await taken.fetch(
        query("sale_steps_before"), sale_id, COARSE_MS, hour_ms, FINE_MS, begin_ms
    )
    sold, capacity = int(before["sold"]), int(before["capacity"])
    rows = await taken.fetch(query("sale_steps"), sale_id, grain_ms, begin_ms, end_ms, interval_ms)
    changes = {row["begin_ms"]: row for row in rows}
    points = [SeriesPoint(begin_ms, sold, capacity)]
    for at_ms in range(begin_ms, end_ms, interval_ms):
        if row := changes.get(at_ms):
            sold, capacity = sold + int(row["sold"]), capacity + int(row["capacity"])
        points.append(SeriesPoint(at_ms + interval_ms, sold, capacity))
    return Series(interval_ms, tuple(points))


def _summary(row: asyncpg.Record, sale_id: str | None) -> Summary:
    counters: Sequence[int] = [int(row[name]) for name in (*COUNTERS, *SUMS)]
    return Summary(row["row_day_ms"], row["row_sale_id"] or sale_id, row["currency"], *counters)
