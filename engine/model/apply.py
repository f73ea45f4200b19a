"""The fold: a partition's state after one more journal entry.

`apply` is pure. `advance` is the same on a state that the caller owns, in place, because a replay
of a million entries cannot copy the state a million times. Both believe nothing: an entry that
does not follow from the state is a `Disagreement`, and then nothing has changed. So a replay is an
audit of the scripts as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from engine.journal import MARK_TYPES, Entry
from engine.model.changes import HOLD, NO_MOVE, check_change, check_first, move_of
from engine.model.state import Disagreement, PartitionState, Record, RecordName, SaleState
from engine.types import Booking, Levels, Status, definition_of

_FINAL: Final = ("captured", "payment_failed", "voided")
"""Entries after which a payment's answer is kept for whoever sends its key again."""


def apply(state: PartitionState, entry: Entry) -> PartitionState:
    """The state after an entry; `state` stays as it was. Raises `Disagreement`."""
    after = state.copy()
    advance(after, entry)
    return after


def fold(entries: Iterable[Entry], state: PartitionState | None = None) -> PartitionState:
    """The state after entries in order, from nothing or from `state`. Raises `Disagreement`."""
    after = state.copy() if state else PartitionState()
    for entry in entries:
        advance(after, entry)
    return after


def advance(state: PartitionState, entry: Entry) -> None:
    """Bring a state that the caller owns one entry further, in place.

    Raises:
        Disagreement: the entry does not follow from the state; the state is as it was.
    """
    sequence = entry.sequence
    if sequence != state.sequence + 1:
        raise Disagreement(sequence, f"follows {state.sequence}, the journal is not dense")
    if entry.at_ms < state.last_ms:
        raise Disagreement(sequence, f"at {entry.at_ms} ms, before {state.last_ms} ms")
    if entry.booking is not None:
        _advance_booking(state, entry, entry.booking)
    elif entry.type in MARK_TYPES:
        _check_mark(state, entry)
    else:
        _advance_sale(state, entry)
    state.sequence = sequence
    state.last_ms = entry.at_ms


def units_of(booking: Booking) -> dict[str, int]:
    """Units by item, in order of first mention: two lines on one item are one demand."""
    units: dict[str, int] = {}
    for line in booking.lines:
        units[line.item_id] = units.get(line.item_id, 0) + line.quantity
    return units


def _advance_booking(state: PartitionState, entry: Entry, booking: Booking) -> None:
    sequence = entry.sequence
    sale = state.sales.get(booking.sale_id)
    if sale is None:
        raise Disagreement(sequence, f"there is no sale {booking.sale_id}")
    before = state.bookings.get(booking.booking_id)
    if entry.type == "held":
        if before is not None:
            raise Disagreement(sequence, f"booking {booking.booking_id} is held twice")
        _check_held(entry, sale, booking)
        move = HOLD
    else:
        if before is None:
            raise Disagreement(sequence, f"there is no booking {booking.booking_id}")
        if booking.booking_id in state.believed:
            check_first(entry, before, booking)
        else:
            again = entry.type == "late_money" and may_take_again(sale, before, entry.at_ms)
            check_change(entry, before, booking, may_take_again=again)
        move = move_of(entry.type, before, booking)
    record = record_of(entry, booking)
    units = units_of(booking) if move is not NO_MOVE else {}
    after = _levels_after(
        entry, sale, {item: tuple(n * m for m in move) for item, n in units.items()}
    )
    total = sum(units.values())
    counted = _customer_after(sequence, sale, booking.customer_id, -move[0] * total)

    # All is checked: from here on nothing fails.
    sale.levels.update(after)
    if counted > 0:
        sale.customers[booking.customer_id] = counted
    else:
        sale.customers.pop(booking.customer_id, None)
    state.bookings[booking.booking_id] = booking
    state.believed.discard(booking.booking_id)
    if record is not None:
        state.records[record[0]] = record[1]


def may_take_again(sale: SaleState, booking: Booking, now_ms: int) -> bool:
    """Whether an expired booking may take its units again: if a reserve of now got them at once."""
    definition, units = sale.definition, units_of(booking)
    cap = definition.max_units_per_customer
    if now_ms < definition.opens_ms or 0 < definition.closes_ms <= now_ms:
        return False
    if 0 < cap < sale.customers.get(booking.customer_id, 0) + sum(units.values()):
        return False
    most = {item.item_id: item.max_per_booking for item in definition.items}
    return all(
        item_id in sale.levels
        and sale.levels[item_id].available >= quantity
        and not 0 < most[item_id] < quantity
        for item_id, quantity in units.items()
    )


def _check_held(entry: Entry, sale: SaleState, booking: Booking) -> None:
    prices = {item.item_id: item.unit_price for item in sale.definition.items}
    fresh = (
        booking.version == 1
        and booking.status is Status.PENDING
        and booking.payment is None
        and booking.cancel_reason is None
        and not booking.extended
        and not booking.warned
        and booking.created_ms == booking.updated_ms == entry.at_ms
        and booking.hold_expires_ms == booking.created_ms + sale.definition.hold_ms
        and booking.currency == sale.definition.currency
        and booking.amount == sum(line.amount for line in booking.lines)
        and all(prices.get(line.item_id) == line.unit_price for line in booking.lines)
    )
    if not fresh:
        raise Disagreement(
            entry.sequence, f"booking {booking.booking_id} is not a new hold of its sale"
        )


def record_of(entry: Entry, booking: Booking) -> tuple[RecordName, Record] | None:
    """The idempotency record that an entry leaves: of a hold, or of a payment's final answer.

    Raises `Disagreement` where the entry lacks its key.
    """
    kind, payment = entry.type, booking.payment
    if kind in _FINAL and payment:
        operation, key, fingerprint = "pay", payment.key, payment.fingerprint
    elif kind == "held" or (kind == "confirmed" and not payment):
        if entry.key is None or entry.fingerprint is None:
            raise Disagreement(entry.sequence, f"{kind} without its idempotency key")
        operation, key, fingerprint = (
            "hold" if kind == "held" else "pay",
            entry.key,
            entry.fingerprint,
        )
    else:
        return None
    scope_id = booking.sale_id if operation == "hold" else booking.booking_id
    name = (operation, scope_id, key, booking.customer_id)
    return name, Record(fingerprint, booking, entry.at_ms)


def _customer_after(sequence: int, sale: SaleState, customer_id: str, more: int) -> int:
    """Units that the customer has after the entry."""
    counted = sale.customers.get(customer_id, 0)
    if counted + more < 0:
        raise Disagreement(sequence, f"{customer_id} gives back {-more} units and has {counted}")
    return counted + more


def _levels_after(
    entry: Entry, sale: SaleState | None, moves: Mapping[str, tuple[int, ...]]
) -> dict[str, Levels]:
    """Check the entry's deltas against `moves`, and its levels against the state plus them."""
    sequence = entry.sequence
    deltas = {d.item_id: (d.available, d.held, d.sold) for d in entry.deltas}
    if len(deltas) != len(entry.deltas) or deltas != moves:
        raise Disagreement(sequence, f"deltas {deltas} do not agree with what moves, {moves}")
    after: dict[str, Levels] = {}
    for delta, told in zip(entry.deltas, entry.levels, strict=False):
        was = sale.levels.get(delta.item_id) if sale else None
        available, held, sold = (was.available, was.held, was.sold) if was else NO_MOVE
        if (
            told.item_id != delta.item_id
            or told.available != available + delta.available
            or told.held != held + delta.held
            or told.sold != sold + delta.sold
        ):
            raise Disagreement(
                sequence, f"{told} does not follow from {(available, held, sold)} and {delta}"
            )
        if told.available < 0 or told.held < 0 or told.sold < 0:
            raise Disagreement(sequence, f"{told} is below zero")
        after[told.item_id] = told
    if len(entry.levels) != len(entry.deltas):
        raise Disagreement(sequence, "as many levels as deltas are expected")
    return after


def _advance_sale(state: PartitionState, entry: Entry) -> None:
    sequence, fields = entry.sequence, entry.definition
    sale = state.sales.get(entry.sale_id)
    if fields is None or fields["sale_id"] != entry.sale_id:
        raise Disagreement(sequence, f"the definition is not that of sale {entry.sale_id}")
    if entry.version != (sale.version if sale else 0) + 1:
        raise Disagreement(sequence, f"version {entry.version} of sale {entry.sale_id}")
    if entry.type == "stock_adjusted" and (sale is None or sale.fields != fields):
        raise Disagreement(sequence, "an adjustment of stock changes the definition")
    if any(delta.held or delta.sold for delta in entry.deltas):
        raise Disagreement(sequence, "a sale's definition moves no holds and sells nothing")
    moves = {d.item_id: (d.available, 0, 0) for d in entry.deltas}
    levels = (sale.levels if sale else {}) | _levels_after(entry, sale, moves)
    named = [item["item_id"] for item in fields["items"]]
    if missing := [item_id for item_id in named if item_id not in levels]:
        raise Disagreement(sequence, f"items without levels: {missing}")
    if left := [item for item in levels.keys() - set(named) if levels[item].capacity]:
        raise Disagreement(sequence, f"items removed with stock: {left}")
    state.sales[entry.sale_id] = SaleState(
        definition=definition_of(fields, {item: levels[item].capacity for item in named}),
        fields=fields,
        version=entry.version,
        created_ms=sale.created_ms if sale else entry.at_ms,
        updated_ms=entry.at_ms,
        levels={item_id: levels[item_id] for item_id in named},
        customers=sale.customers if sale else {},
        snapshot=sale.snapshot if sale else (),
    )


def _check_mark(state: PartitionState, entry: Entry) -> None:
    """A mark moves nothing; the levels that it tells of a sale are those of all its items."""
    sale = state.sales.get(entry.sale_id)
    expected = tuple(sale.levels.values()) if sale else ()
    if entry.deltas or (entry.sale_id and sale is None):
        raise Disagreement(entry.sequence, f"{entry.type} moves units, or there is no such sale")
    if sorted(entry.levels, key=_by_item) != sorted(expected, key=_by_item):
        raise Disagreement(
            entry.sequence, f"{entry.type} tells {entry.levels}, the entries before it {expected}"
        )
    if sale and entry.type == "snapshot":
        sale.snapshot = entry.levels


def _by_item(levels: Levels) -> str:
    return levels.item_id
