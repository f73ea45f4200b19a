"""Bookings whose last entries an operator has discarded: the tables lack them, Redis had them.

Discarding gives the levels what an entry moved and leaves its booking as it was. Redis never hears
of it: there the booking goes on, and its next entry applies. So a rebuild takes such a booking from
its entry, like the fold, or the units that it holds would be nobody's for ever.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from engine.journal import RawEntry, unpack_levels
from engine.types import ArchivedBooking, Booking, Status
from persistence.pool import Connection
from persistence.queries import query
from persistence.reads import booking_of
from persistence.steps import understand


@dataclass(frozen=True, slots=True)
class GivenUp:
    """Bookings as their discarded entries have them, beside what the tables say of them.

    `unowned` counts, by sale, units in the levels of entries that nobody can read.
    """

    bookings: Mapping[str, ArchivedBooking]
    before: Mapping[str, Booking]
    unowned: Mapping[str, int]

    def units(self) -> Counter[tuple[str, str]]:
        """How many more units customers have of sales than the tables say."""
        more: Counter[tuple[str, str]] = Counter()
        for archived in self.bookings.values():
            _count(more, archived.booking, 1)
        for booking in self.before.values():
            _count(more, booking, -1)
        return more

    def holds(self) -> Counter[str]:
        """How many more holds sales have than the tables say."""
        more: Counter[str] = Counter()
        for archived in self.bookings.values():
            more[archived.booking.sale_id] += archived.booking.status is Status.PENDING
        for booking in self.before.values():
            more[booking.sale_id] -= booking.status is Status.PENDING
        return more


def _count(more: Counter[tuple[str, str]], booking: Booking, sign: int) -> None:
    if booking.status is not Status.CANCELLED:
        units = sum(line.quantity for line in booking.lines)
        more[booking.sale_id, booking.customer_id] += sign * units


async def read_given_up(taken: Connection, partition: int, sale_id: str | None) -> GivenUp:
    """What was given up of a partition, or of one sale in it."""
    found: dict[str, ArchivedBooking] = {}
    unowned: Counter[str] = Counter()
    for row in await taken.fetch(query("restore_discarded"), partition, sale_id):
        steps, _ = understand([RawEntry(row["sequence"], row["entry"])])
        entry = steps[0].entry if steps else None
        if entry and entry.booking:
            booking = entry.booking
            found[booking.booking_id] = ArchivedBooking(booking, None, row["sequence"])
        elif row["sale_id"]:
            deltas = unpack_levels(row["deltas"])
            unowned[row["sale_id"]] += sum(delta.held + delta.sold for delta in deltas)
    rows = await taken.fetch(query("salvage_bookings"), list(found))
    before = {row["booking_id"]: booking_of(row) for row in rows}
    newer = {
        name: archived
        for name, archived in found.items()
        if name not in before or before[name].version < archived.booking.version
    }
    return GivenUp(newer, {name: before[name] for name in newer if name in before}, unowned)
