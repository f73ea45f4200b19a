"""The reports counted again, slowly, by somebody who does not know what entries count for.

From bookings and levels as they are after each entry, and as they were before: what became of a
booking is seen in its state, not in the entry's type. So a fault in `persistence.rollups` shows.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Collection
from typing import Final

from engine.journal import Entry
from engine.payments.types import PaymentStatus, Step
from engine.types import Booking, CancelReason, Levels, Status
from persistence.reports import Summary

DAY_MS: Final = 24 * 60 * 60 * 1000
Key = tuple[int, str, str]
"""Day, sale, currency."""


def _status(booking: Booking | None) -> PaymentStatus | None:
    return booking.payment.status if booking and booking.payment else None


def _step(booking: Booking | None) -> Step | None:
    return booking.payment.step if booking and booking.payment else None


def _is_paid(booking: Booking | None) -> bool:
    return (
        booking is not None
        and booking.status is Status.CONFIRMED
        and (booking.amount == 0 or _status(booking) is PaymentStatus.CAPTURED)
    )


class Recount:
    """Goes through a journal entry by entry.

    Args:
        courses_of: the sales whose course is kept; None is all of them.
    """

    def __init__(self, courses_of: Collection[str] | None = None) -> None:
        self._courses_of = courses_of
        self.days: defaultdict[Key, Counter[str]] = defaultdict(Counter)
        self._bookings: dict[str, Booking] = {}
        self._levels: defaultdict[str, dict[str, Levels]] = defaultdict(dict)
        self.course: defaultdict[str, list[tuple[int, ...]]] = defaultdict(list)
        """Of each sale, after each entry that moved units: time, units sold, capacity."""

    def add(self, entry: Entry) -> None:
        """Look at the next entry."""
        if entry.booking:
            before = self._bookings.get(entry.booking.booking_id)
            self._bookings[entry.booking.booking_id] = entry.booking
            day = entry.at_ms // DAY_MS * DAY_MS
            counts = self.days[day, entry.sale_id, entry.booking.currency]
            counts.update(_became(before, entry.booking))
        if entry.levels and (self._courses_of is None or entry.sale_id in self._courses_of):
            items = self._levels[entry.sale_id]
            items |= {levels.item_id: levels for levels in entry.levels}
            sold = sum(levels.sold for levels in items.values())
            capacity = sum(levels.capacity for levels in items.values())
            self.course[entry.sale_id].append((entry.at_ms, sold, capacity))

    def take(self, other: Recount) -> None:
        """Take over what was counted of other sales."""
        self.days.update(other.days)
        self.course.update(other.course)

    def revenue(self) -> int:
        """What bookings cost whose payment is captured as it stands, in whatever currency."""
        return sum(
            booking.amount
            for booking in self._bookings.values()
            if _status(booking) is PaymentStatus.CAPTURED
        )

    def forget_bookings(self) -> None:
        """Of a journal that is at its end: the next one is another partition's."""
        self._bookings.clear()

    def stood_at(self, sale_id: str, at_ms: int) -> tuple[int, ...]:
        """Units sold and capacity before a time."""
        course = self.course[sale_id]
        before = bisect_left(course, (at_ms,))
        return course[before - 1][1:] if before else (0, 0)

    def summary(
        self,
        *,
        by_day: bool = False,
        by_sale: bool = False,
        first_ms: int = 0,
        last_ms: int = 2**53,
        sale_id: str | None = None,
    ) -> list[Summary]:
        """The rows of a summary, in its order.

        Args:
            first_ms, last_ms: days from the one to the other, by their beginnings.
        """
        sums: defaultdict[tuple[int | None, str | None, str], Counter[str]] = defaultdict(Counter)
        for (day, sale, currency), counts in self.days.items():
            if first_ms <= day <= last_ms and sale_id in {None, sale}:
                named = sale if by_sale or sale_id else None
                # Not `+`, which drops what is 0.
                sums[day if by_day else None, named, currency].update(counts)
        rows = [_summary(*key, counts) for key, counts in sums.items() if any(counts.values())]
        return sorted(rows, key=lambda row: (row.day_ms or 0, row.sale_id or "", row.currency))


def _became(before: Booking | None, after: Booking) -> dict[str, int]:
    """What a booking has become that it was not before."""
    now, was = _status(after), _status(before)
    ended = after.status is Status.CANCELLED and before and before.status is not Status.CANCELLED
    expired = after.cancel_reason is CancelReason.EXPIRED
    captured = now is PaymentStatus.CAPTURED and was is not PaymentStatus.CAPTURED
    given_back = was is PaymentStatus.CAPTURED and now is not PaymentStatus.CAPTURED
    authorized = _step(before) is Step.AUTHORIZE and _step(after) in {Step.CAPTURE, Step.VOID}
    used = after.status is Status.COMPLETED and before and before.status is not Status.COMPLETED
    return {
        "created": int(before is None),
        "confirmed": int(_is_paid(after) and not _is_paid(before)),
        "cancelled": int(bool(ended and not expired)),
        "expired": int(bool(ended and expired)),
        "completed": int(bool(used)),
        "authorized": int(authorized),
        "captured": int(captured),
        "declined": int(now is PaymentStatus.DECLINED and was is not PaymentStatus.DECLINED),
        "refunded": int(now is PaymentStatus.REFUNDED and was is not PaymentStatus.REFUNDED),
        "captured_amount": after.amount if captured else 0,
        "returned_amount": after.amount if given_back else 0,
        "pay_ms": after.updated_ms - after.created_ms if captured else 0,
    }


def _summary(day: int | None, sale: str | None, currency: str, counts: Counter[str]) -> Summary:
    return Summary(day_ms=day, sale_id=sale, currency=currency, **counts)
