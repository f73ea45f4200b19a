"""What a batch of journal entries means for the tables: pure, so that tests can drive it.

`plan` turns the steps of a batch into rows, set by set: the entries themselves, the last version
of each booking, the sum of the deltas of each item.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from engine.events import event_ids, events_of
from engine.journal import MARK_TYPES, Entry
from engine.types import Booking, Levels, SaleDefinition, definition_of
from persistence.payments import payment_row
from persistence.rollups import Rollups
from persistence.steps import OUT_OF_ORDER, Step, salvage

Row = tuple[Any, ...]
ItemKey = tuple[str, str]
"""Sale and item."""


@dataclass(frozen=True, slots=True)
class Mark:
    """The levels that an entry tells of a whole sale, and the deltas of the batch until then."""

    sequence: int
    sale_id: str
    levels: tuple[Levels, ...]
    deltas_so_far: Mapping[str, tuple[int, int, int]]


@dataclass(slots=True)
class Batch:
    """Rows by table, columns in the order of the statements that take them."""

    journal: list[Row] = field(default_factory=list)
    quarantine: list[Row] = field(default_factory=list)
    bookings: dict[str, Row] = field(default_factory=dict)
    """Whole bookings that begin in this batch, as of their last entry in it."""
    changes: dict[str, Row] = field(default_factory=dict)
    """What changed of bookings that were there before, as of their last entry in this batch."""
    lines: list[Row] = field(default_factory=list)
    payments: dict[tuple[str, int], Row] = field(default_factory=dict)
    """Attempts to pay, by booking and number."""
    sales: dict[str, Row] = field(default_factory=dict)
    items: dict[str, list[Row]] = field(default_factory=dict)
    """Definitions of items by sale."""
    deltas: dict[ItemKey, tuple[int, int, int]] = field(default_factory=dict)
    levels: dict[ItemKey, Levels] = field(default_factory=dict)
    """What the last entry of each item says that its levels are; for comparison only."""
    history: list[Row] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)
    outbox: list[Row] = field(default_factory=list)
    """Public events, of the entries that are applied and of no others."""
    rollups: Rollups = field(default_factory=Rollups)


def plan(
    partition: int,
    generation: int,
    steps: Sequence[Step],
    links: Sequence[bytes],
    versions: Mapping[str, int],
    events: Mapping[str, int],
    absent: Collection[str] = (),
) -> Batch:
    """Turn the steps of a batch, in order, into rows.

    An entry of a booking applies only where its version follows the one before it. So an entry in
    quarantine keeps back the later ones of its booking, even where it could not be told whose it
    was, and a booking's changes are never applied out of order.

    Args:
        links: the chain at each step.
        versions: of the bookings that `bookings_to_look_up` names, those that are there.
        events: how many public events these have had.
        absent: those whose entries were all discarded: they begin with the next one.
    """
    batch = Batch()
    known, told = dict(versions), dict(events)
    for step, link in zip(steps, links, strict=True):
        entry = step.entry
        booking = entry.booking if entry else None
        if step.reason is None and booking:
            before = known.get(booking.booking_id, 0)
            if booking.version == before + 1:
                known[booking.booking_id] = booking.version
            else:
                step = step.quarantined(  # noqa: PLW2901 - the same entry, seen in its place
                    OUT_OF_ORDER, f"version {booking.version} of the booking comes after {before}"
                )
        if step.reason is not None:
            _set_aside(batch, partition, generation, step, link)
            continue
        assert entry is not None
        sequence = entry.sequence
        booking_id = booking.booking_id if booking else None
        batch.journal.append(
            (
                partition,
                sequence,
                generation,
                entry.at_ms,
                entry.type,
                booking_id,
                entry.sale_id or None,
                step.raw.text,
                link,
            )
        )
        if booking:
            count = told.get(booking.booking_id, 0)
            told[booking.booking_id] = count + _add_events(
                batch, partition, generation, entry, booking.booking_id, count
            )
            begins = booking.version == 1 or (
                booking.booking_id in absent and booking.booking_id not in batch.bookings
            )
            _add_booking(batch, partition, sequence, booking, told[booking.booking_id], begins)
        elif entry.definition:
            # Each of a sale's entries is one event, so that its version counts them.
            before_it = entry.version - 1
            _add_events(batch, partition, generation, entry, entry.sale_id, before_it)
            _add_sale(batch, partition, entry, definition_of(entry.definition, {}))
        if entry.type in MARK_TYPES:
            if entry.sale_id:
                _add_mark(batch, entry)
        else:
            add_stock(batch, partition, entry, booking_id)
            batch.rollups.add(entry)
    return batch


def _add_events(
    batch: Batch, partition: int, generation: int, entry: Entry, subject: str, count: int
) -> int:
    """Put an entry's public events into the outbox, after `count`; answers how many they are."""
    types = events_of(entry)
    ids = event_ids(partition, generation, entry.sequence, len(types))
    for number, (event_id, event_type) in enumerate(zip(ids, types, strict=True), count + 1):
        batch.outbox.append((event_id, event_type, subject, number, partition, entry.sequence))
    return len(types)


def _add_booking(
    batch: Batch, partition: int, sequence: int, booking: Booking, events: int, begins: bool
) -> None:
    booking_id = booking.booking_id
    if payment := booking.payment:
        attempt = (booking_id, payment.attempt)
        batch.payments[attempt] = payment_row(booking, payment, batch.payments.get(attempt))
    if begins:
        for position, line in enumerate(booking.lines):
            batch.lines.append((booking_id, position, line.item_id, line.quantity, line.unit_price))
    elif booking_id not in batch.bookings:
        batch.changes[booking_id] = (
            booking_id,
            sequence,
            booking.version,
            booking.status,
            booking.cancel_reason,
            booking.hold_expires_ms,
            booking.updated_ms,
            booking.extended,
            events,
            booking.warned,
        )
        return
    batch.bookings[booking_id] = (
        booking_id,
        partition,
        sequence,
        booking.version,
        booking.sale_id,
        booking.customer_id,
        booking.status,
        booking.cancel_reason,
        booking.amount,
        booking.currency,
        booking.hold_expires_ms,
        booking.created_ms,
        booking.updated_ms,
        booking.extended,
        events,
        booking.warned,
    )


def _add_sale(batch: Batch, partition: int, entry: Entry, definition: SaleDefinition) -> None:
    before = batch.sales.get(entry.sale_id)
    batch.sales[entry.sale_id] = (
        entry.sale_id,
        partition,
        entry.version,
        definition.name,
        definition.opens_ms,
        definition.closes_ms,
        definition.hold_ms,
        definition.max_units_per_customer,
        definition.currency,
        before[-2] if before else entry.at_ms,
        entry.at_ms,
    )
    batch.items[entry.sale_id] = [
        (
            entry.sale_id,
            entry.version,
            item.item_id,
            position,
            item.name,
            item.unit_price,
            item.max_per_booking,
        )
        for position, item in enumerate(definition.items)
    ]


def add_stock(batch: Batch, partition: int, entry: Entry, booking_id: str | None) -> None:
    """Add an entry's changes of stock, and the levels that it says they led to."""
    for delta, level in zip(entry.deltas, entry.levels, strict=True):
        key = (entry.sale_id, delta.item_id)
        available, held, sold = batch.deltas.get(key, (0, 0, 0))
        batch.deltas[key] = (available + delta.available, held + delta.held, sold + delta.sold)
        batch.levels[key] = level
        batch.history.append(
            (
                entry.sale_id,
                delta.item_id,
                entry.sequence,
                partition,
                entry.at_ms,
                entry.type,
                booking_id,
                delta.available,
                delta.held,
                delta.sold,
                level.available,
                level.held,
                level.sold,
            )
        )


def _add_mark(batch: Batch, entry: Entry) -> None:
    """Have the levels that an entry tells of its sale compared with the sums at that point."""
    so_far = {
        item_id: sums
        for (sale_id, item_id), sums in batch.deltas.items()
        if sale_id == entry.sale_id
    }
    batch.marks.append(Mark(entry.sequence, entry.sale_id, entry.levels, so_far))


def _set_aside(batch: Batch, partition: int, generation: int, step: Step, link: bytes) -> None:
    """Into the journal as it is, and into quarantine with what of it can be told."""
    sequence, text = step.raw.sequence, step.raw.text
    told = salvage(text)
    ids = (told.type, told.booking_id, told.sale_id)
    batch.journal.append((partition, sequence, generation, told.at_ms, *ids, text, link))
    batch.quarantine.append(
        (
            *(partition, sequence, generation, step.reason, step.detail),
            *(*ids, told.version, told.deltas, text),
        )
    )
