"""Where a fold begins whose first entries were dropped: at the partition's base.

The state there is believed, each part from where it is told best: sales from their last dropped
definitions, levels from the stock history up to the base, bookings and payments that no kept entry
is about as they are in their tables, and the reports' sums of days that reach below the base as
what they have now without the kept entries. A booking whose first kept entry is a change is only
known by that entry (`engine.model.booking_before`). From the base on nothing is believed.
"""

from __future__ import annotations

from collections.abc import Mapping

from engine.journal import Entry, UnknownEntry, parse_entry
from engine.model import SaleState, booking_before, is_paying
from engine.types import Booking, Levels, Status, definition_of
from persistence.audit import Audit, Snapshot
from persistence.rollups import Rollups
from workers.replay import Replay
from workers.verify_rollups import counted_before


async def begin(audit: Audit, replay: Replay) -> int:
    """Put a replay at its partition's base; answers how far it has to go before it is compared.

    Until there the bookings known by their first kept entry alone are not what they were. Raises
    `Unavailable`.
    """
    async with audit.snapshot(replay.partition) as snapshot:
        position = snapshot.position
        if position is None or position.base.sequence == 0:
            return 0
        base, state = position.base, replay.state
        replay.chain, replay.bytes = base.chain, base.bytes
        state.sequence, state.last_ms = base.sequence, base.at_ms
        first, kept = await _kept(snapshot)
        await _begin_sales(snapshot, replay)
        await _begin_bookings(snapshot, replay, first)
        await _begin_payments(snapshot, replay, first)
        await _begin_days(audit, snapshot, replay, kept)
        return position.sequence


async def _kept(snapshot: Snapshot) -> tuple[dict[str, Entry], Rollups]:
    """The first kept entry of each booking, and what all kept entries count for in the reports."""
    first: dict[str, Entry] = {}
    rollups = Rollups()
    async for sequence, text in snapshot.kept_entries():
        try:
            entry = parse_entry(sequence, text)
            rollups.add(entry)
        except (UnknownEntry, ValueError, KeyError, TypeError, AttributeError):
            # The fold will say so.
            continue
        if entry.booking:
            first.setdefault(entry.booking.booking_id, entry)
    return first, rollups


async def _begin_sales(snapshot: Snapshot, replay: Replay) -> None:
    created = {row.sale_id: row.created_ms for row in await snapshot.sales()}
    entries = await _definitions(snapshot, replay)
    levels: dict[str, dict[str, Levels]] = {}
    for row in await snapshot.base_stock([entry.sale_id for entry in entries]):
        levels.setdefault(row.sale_id, {})[row.sums.item_id] = row.sums
        replay.changes[row.sale_id, row.sums.item_id] = row.changes
    for entry in entries:
        sale_id, fields = entry.sale_id, entry.definition
        assert fields, "only such entries are answered"
        of_sale = {
            item["item_id"]: levels.get(sale_id, {}).get(
                item["item_id"], Levels(item["item_id"], 0, 0, 0)
            )
            for item in fields["items"]
        }
        replay.state.sales[sale_id] = SaleState(
            definition=definition_of(fields, {name: at.capacity for name, at in of_sale.items()}),
            fields=fields,
            version=entry.version,
            created_ms=created.get(sale_id, entry.at_ms),
            updated_ms=entry.at_ms,
            levels=of_sale,
        )


async def _definitions(snapshot: Snapshot, replay: Replay) -> list[Entry]:
    """The entries that defined the sales at the base; one that does not is a difference."""
    found = []
    for sequence, text in await snapshot.base_definitions():
        try:
            entry = parse_entry(sequence, text)
        except (UnknownEntry, ValueError, KeyError, TypeError) as fault:
            replay.differ(f"entry {sequence}, kept for its sale, cannot be read: {fault!r}")
            continue
        if entry.definition:
            found.append(entry)
        else:
            replay.differ(f"entry {sequence}, kept for its sale, defines none")
    return found


async def _begin_bookings(snapshot: Snapshot, replay: Replay, first: Mapping[str, Entry]) -> None:
    assert snapshot.position
    base = snapshot.position.base.sequence
    async for row in snapshot.bookings():
        # One that was changed since, and no entry tells of it: the comparison will say so.
        if row.booking and row.booking_id not in first and row.sequence <= base:
            replay.last[row.booking_id] = row.sequence
            _begin_booking(replay, row.booking)
            if is_paying(row.booking):
                replay.paying.add(row.booking_id)
    for booking_id, entry in first.items():
        if entry.booking and entry.type != "held":
            replay.state.believed.add(booking_id)
            _begin_booking(replay, booking_before(entry, entry.booking))


def _begin_booking(replay: Replay, booking: Booking) -> None:
    sale_id = booking.sale_id
    replay.state.bookings[booking.booking_id] = booking
    sale = replay.state.sales.get(sale_id)
    if sale is None:
        replay.differ(f"booking {booking.booking_id}: at the base there is no sale {sale_id}")
        return
    if booking.status is not Status.CANCELLED:
        units = sum(line.quantity for line in booking.lines)
        sale.customers[booking.customer_id] = sale.customers.get(booking.customer_id, 0) + units
    replay.holds[sale_id] += booking.status is Status.PENDING


async def _begin_payments(snapshot: Snapshot, replay: Replay, first: Mapping[str, Entry]) -> None:
    """Of a booking with kept entries, the attempts before the one that its first tells of."""
    async for row in snapshot.payments():
        attempt = row.payment.attempt
        entry = first.get(row.booking_id)
        if entry is None:
            rests_below = row.booking_id in replay.state.bookings
        else:
            payment = entry.booking.payment if entry.booking else None
            rests_below = payment is not None and attempt < payment.attempt
            rests_below = rests_below and entry.type != "held"
        if rests_below:
            replay.payments[row.booking_id, attempt] = row


async def _begin_days(audit: Audit, snapshot: Snapshot, replay: Replay, kept: Rollups) -> None:
    assert snapshot.position
    set_aside = [row.sequence for row in await snapshot.quarantine()]
    days = await counted_before(audit, snapshot, replay.partition, set_aside, kept)
    for key, numbers in days.items():
        if any(number < 0 for number in numbers):
            replay.differ(f"sale {key[0]}: the reports have less in {key[2]} than the kept entries")
        if key[1] <= snapshot.position.base.at_ms:
            replay.rollups.begin(key, numbers)
