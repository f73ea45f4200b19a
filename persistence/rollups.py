"""What journal entries count for in the reports. Pure, so that tests can drive it.

`COUNTS` is the one place that says how an entry counts. Each is looked at by itself, with nothing
remembered of those before it: so batches of any size, a batch tried again in halves, and an entry
that comes out of quarantine later all add up to the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Any, Final

from engine.journal import Entry
from engine.payments.types import PaymentStatus
from engine.types import Booking, Levels, Status

Row = tuple[Any, ...]
DAY_MS: Final = 86_400_000
FINE_MS: Final = 10_000
COARSE_MS: Final = 3_600_000
GRAINS_MS: Final = (FINE_MS, COARSE_MS)
"""The course of a sale is kept twice: fine for days, coarse for years."""

COUNTERS: Final = (
    "created",
    "confirmed",
    "cancelled",
    "expired",
    "completed",
    "authorized",
    "captured",
    "declined",
    "refunded",
)
SUMS: Final = ("captured_amount", "returned_amount", "pay_ms")
"""Above what a `bigint` holds: a total may be 2^53 - 1, and there are many."""
COLUMNS: Final = (*COUNTERS, *SUMS)

Counts = Mapping[str, Callable[[Entry, Booking], int]]


def _one(_entry: Entry, _booking: Booking) -> int:
    return 1


def _if_free(_entry: Entry, booking: Booking) -> int:
    return int(booking.amount == 0)


def _if_paid_for(_entry: Entry, booking: Booking) -> int:
    return int(booking.amount > 0)


def _amount(_entry: Entry, booking: Booking) -> int:
    return booking.amount


def _since_held(entry: Entry, booking: Booking) -> int:
    return entry.at_ms - booking.created_ms


def _amount_given_back(_entry: Entry, booking: Booking) -> int:
    """Of a cancel: only a payment that was captured is refunded by it."""
    payment = booking.payment
    return booking.amount if payment and payment.status is PaymentStatus.REFUNDING else 0


def _if_units_return(entry: Entry, _booking: Booking) -> int:
    """Of a refund: that of a booking not used up cancels it.

    Of a cancel: what had expired before is counted as that.
    """
    return int(bool(entry.deltas))


def _amount_refunded(entry: Entry, booking: Booking) -> int:
    """Of a refund: an operator's takes the units back, unless they are used up.

    One that does neither is of money that the gateway took after a cancel: never captured by our
    books, so nothing is taken from what was.
    """
    return booking.amount if entry.deltas or booking.status is Status.COMPLETED else 0


COUNTS: Final[Mapping[str, Counts]] = {
    "held": {"created": _one},
    "confirmed": {"confirmed": _if_free, "authorized": _if_paid_for},
    "late_money": {"authorized": _one},
    "captured": {
        "confirmed": _one,
        "captured": _one,
        "captured_amount": _amount,
        "pay_ms": _since_held,
    },
    "payment_failed": {"declined": _one},
    "completed": {"completed": _one},
    "cancelled": {"cancelled": _if_units_return, "returned_amount": _amount_given_back},
    "expired": {"expired": _one},
    "refund_begun": {"cancelled": _if_units_return, "returned_amount": _amount_refunded},
    "refunded": {"refunded": _one},
}
"""By type of entry, what it adds to which column; types that are not here count for nothing.

A booking is confirmed once it is paid, or at once where it costs nothing.
"""

_COUNTS: Final = {
    kind: tuple((COLUMNS.index(name), value) for name, value in counts.items())
    for kind, counts in COUNTS.items()
}
_FIRST_SUM: Final = len(COUNTERS)


class Rollups:
    """The sums of some entries: by sale, UTC day and currency, and by sale and step of time."""

    def __init__(self) -> None:
        self._days: dict[tuple[str, int, str], list[int]] = {}
        self._steps: dict[tuple[str, int, int], list[int]] = {}

    def begin(self, key: tuple[str, int, str], numbers: Iterable[int]) -> None:
        """Begin a day of a sale with what was counted before; `numbers` in the order of columns."""
        self._days[key] = list(numbers)

    def add(self, entry: Entry) -> None:
        """Take an entry that was applied."""
        self._count(entry)
        if entry.deltas:
            self.move(entry.sale_id, entry.at_ms, entry.deltas)

    def _count(self, entry: Entry) -> None:
        booking = entry.booking
        if booking is not None and (counts := _COUNTS.get(entry.type)):
            key = (entry.sale_id, entry.at_ms - entry.at_ms % DAY_MS, booking.currency)
            day = self._days.get(key)
            for column, value in counts:
                # Most are `_one`: the call would cost more than all the rest.
                number = 1 if value is _one else value(entry, booking)
                if number:
                    if day is None:
                        day = self._days[key] = [0] * len(COLUMNS)
                    day[column] += number

    def move(self, sale_id: str, at_ms: int, deltas: Iterable[Levels]) -> None:
        """Take what units did, whatever else the entry says: levels and courses go together."""
        sold = capacity = 0
        for delta in deltas:
            sold += delta.sold
            capacity += delta.available + delta.held + delta.sold
        if sold or capacity:
            for grain_ms in GRAINS_MS:
                at = (sale_id, grain_ms, at_ms - at_ms % grain_ms)
                step = self._steps.get(at)
                if step is None:
                    step = self._steps[at] = [0, 0]
                step[0] += sold
                step[1] += capacity

    def days(self) -> Iterator[Row]:
        """What `add_sale_days` takes: key, counters, sums."""
        for key, day in self._days.items():
            yield (*key, *day[:_FIRST_SUM], *(Decimal(number) for number in day[_FIRST_SUM:]))

    def steps(self) -> Iterator[Row]:
        """What `add_sale_steps` takes: sale, grain, begin, units sold, capacity added."""
        for key, step in self._steps.items():
            yield (*key, *step)
