"""Compares PostgreSQL's projections, as of one instant, with the journal's fold at its cursor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from engine.types import Levels
from persistence.audit import Audit, ItemRow, QuarantineRow, SaleRow, Snapshot
from workers.replay import Replay
from workers.verify_redis import slices
from workers.verify_rollups import compare_rollups

SALES_PER_SLICE = 100


async def compare_partition(audit: Audit, replay: Replay) -> None:
    """Compare a partition's sales, items, bookings, payments and stock history.

    Raises `Unavailable`.
    """
    async with audit.snapshot(replay.partition) as snapshot:
        position = snapshot.position
        if position is None:
            replay.differ("PostgreSQL never had it")
            return
        await replay.fold(position.sequence)
        if position.sequence != replay.state.sequence:
            # Folded before, further than the cursor says now: it went back.
            replay.differ(
                f"PostgreSQL's cursor went back to {position.sequence}, "
                f"from {replay.state.sequence}"
            )
            return
        if position.chain != replay.chain:
            replay.differ(f"the chain at the cursor, {position.sequence}, is not the journal's")
        if (stray := await snapshot.stray_entry()) is not None:
            replay.differ(
                f"the journal has entry {stray}, and the cursor is at {position.sequence}"
            )
        if position.bytes != replay.bytes:
            replay.differ(
                f"PostgreSQL counts {position.bytes} bytes up to the cursor, {position.sequence}, "
                f"the journal has {replay.bytes}"
            )
        set_aside = await snapshot.quarantine()
        for row in set_aside:
            if not row.discarded:
                replay.differ(f"entry {row.sequence} is in quarantine, {row.reason}: {row.detail}")
        given_up = _given_up(replay, set_aside)
        await _compare_sales(snapshot, replay, given_up)
        await _compare_bookings(snapshot, replay, given_up)
        await _compare_payments(snapshot, replay, given_up)
        await compare_rollups(audit, snapshot, replay, [row.sequence for row in set_aside])


@dataclass(frozen=True, slots=True)
class GivenUp:
    """What an operator has given up by discarding entries: PostgreSQL need not have it.

    A booking or a definition only until its next entry, which carries it whole; attempts to pay,
    of which each entry carries only the latest, for ever. Levels never: they have the deltas.
    """

    bookings: frozenset[str]
    payments: frozenset[str]
    sales: frozenset[str]


def _given_up(replay: Replay, set_aside: list[QuarantineRow]) -> GivenUp:
    discarded = [row for row in set_aside if row.discarded]
    of_bookings = [(row.booking_id, row.sequence) for row in discarded if row.booking_id]
    of_sales = [
        row.sale_id
        for row in discarded
        if row.sale_id in replay.state.sales
        and not row.booking_id
        and replay.state.sales[row.sale_id].version == row.version
    ]
    return GivenUp(
        bookings=frozenset(name for name, at in of_bookings if replay.last.get(name) == at),
        payments=frozenset(name for name, _ in of_bookings),
        sales=frozenset(of_sales),
    )


async def _compare_sales(snapshot: Snapshot, replay: Replay, given_up: GivenUp) -> None:
    rows = {row.sale_id: row for row in await snapshot.sales()}
    for sale_id in sorted((rows.keys() | replay.state.sales.keys()) - given_up.sales):
        expected = _sale_row(replay, sale_id)
        _compare(replay, f"sale {sale_id}", rows.get(sale_id), expected)
    for sale_ids in slices(sorted(rows.keys() & replay.state.sales.keys()), SALES_PER_SLICE):
        await _compare_items(snapshot, replay, [at for at in sale_ids if at not in given_up.sales])
        await _compare_history(snapshot, replay, list(sale_ids))


def _compare(replay: Replay, what: str, found: object, expected: object) -> None:
    """Note where a row is not what the fold makes it; fields are named where both have it."""
    if found == expected:
        return
    if found is None or expected is None:
        place = "the journal" if found is None else "PostgreSQL"
        replay.differ(f"{what} at {replay.state.sequence}: only {place} has it")
        return
    # What named tuples and dataclasses both have: the names of their fields.
    for field in type(expected).__match_args__:  # type: ignore[attr-defined]
        is_now, should_be = getattr(found, field), getattr(expected, field)
        if is_now != should_be:
            replay.differ(
                f"{what} at {replay.state.sequence}: {field} is {_spelled(is_now)} in PostgreSQL, "
                f"{_spelled(should_be)} in the journal"
            )


def _spelled(value: Any) -> str:
    if isinstance(value, Levels):
        return f"{value.available} available, {value.held} held, {value.sold} sold"
    return str(value)


def _sale_row(replay: Replay, sale_id: str) -> SaleRow | None:
    sale = replay.state.sales.get(sale_id)
    if sale is None:
        return None
    definition = sale.definition
    return SaleRow(
        sale_id=sale_id,
        partition=replay.partition,
        version=sale.version,
        name=definition.name,
        opens_ms=definition.opens_ms,
        closes_ms=definition.closes_ms,
        hold_ms=definition.hold_ms,
        max_units_per_customer=definition.max_units_per_customer,
        currency=definition.currency,
        created_ms=sale.created_ms,
        updated_ms=sale.updated_ms,
    )


async def _compare_items(snapshot: Snapshot, replay: Replay, sale_ids: list[str]) -> None:
    rows = {(row.sale_id, row.levels.item_id): row for row in await snapshot.items(sale_ids)}
    expected = {}
    for sale_id in sale_ids:
        sale = replay.state.sales[sale_id]
        for position, item in enumerate(sale.definition.items):
            expected[sale_id, item.item_id] = ItemRow(
                sale_id=sale_id,
                position=position,
                name=item.name,
                unit_price=item.unit_price,
                max_per_booking=item.max_per_booking,
                levels=sale.levels[item.item_id],
            )
    for key in sorted(rows.keys() | expected.keys()):
        row, what = rows.get(key), f"sale {key[0]}, item {key[1]}"
        if row and key not in expected and row.position is None:
            # The sale had it once. What is left of it must be nothing.
            _compare(replay, what, row.levels, Levels(key[1], 0, 0, 0))
        else:
            _compare(replay, what, row, expected.get(key))


async def _compare_history(snapshot: Snapshot, replay: Replay, sale_ids: list[str]) -> None:
    found = {}
    for row in await snapshot.stock_history(sale_ids):
        key = (row.sale_id, row.sums.item_id)
        found[key] = row.changes
        what = f"sale {key[0]}, item {key[1]}: the stock history at {replay.state.sequence}"
        if not row.follows:
            replay.differ(f"{what} has levels that do not follow from its changes")
        levels = replay.state.sales[key[0]].levels.get(key[1], Levels(key[1], 0, 0, 0))
        if row.sums != levels:
            replay.differ(
                f"{what} sums up to {_spelled(row.sums)}, the journal to {_spelled(levels)}"
            )
    for key in sorted(key for key in found.keys() | replay.changes.keys() if key[0] in sale_ids):
        if found.get(key, 0) != replay.changes[key]:
            replay.differ(
                f"sale {key[0]}, item {key[1]}: the stock history at {replay.state.sequence} has "
                f"{found.get(key, 0)} changes, the journal {replay.changes[key]}"
            )


async def _compare_bookings(snapshot: Snapshot, replay: Replay, given_up: GivenUp) -> None:
    """Walk through both in the order of ids, so that neither has to be held twice."""
    expected = iter(sorted(replay.state.bookings.keys() - given_up.bookings))
    due = next(expected, None)
    async for row in snapshot.bookings():
        if row.booking_id in given_up.bookings:
            continue
        while due is not None and due < row.booking_id:
            replay.differ(f"booking {due} at {replay.state.sequence}: only the journal has it")
            due = next(expected, None)
        what = f"booking {row.booking_id}"
        if due != row.booking_id:
            replay.differ(f"{what} at {replay.state.sequence}: only PostgreSQL has it")
            continue
        if row.booking is None:
            replay.differ(f"{what} at {replay.state.sequence}: PostgreSQL lacks its lines")
        else:
            _compare(replay, what, row.booking, replay.state.bookings[due])
        if (row.partition, row.sequence) != (replay.partition, replay.last[due]):
            replay.differ(
                f"{what}: entry {row.sequence} of partition {row.partition} is its last by "
                f"PostgreSQL, {replay.last[due]} by the journal"
            )
        due = next(expected, None)
    while due is not None:
        replay.differ(f"booking {due} at {replay.state.sequence}: only the journal has it")
        due = next(expected, None)


async def _compare_payments(snapshot: Snapshot, replay: Replay, given_up: GivenUp) -> None:
    missing = {key for key in replay.payments if key[0] not in given_up.payments}
    async for row in snapshot.payments():
        if row.booking_id in given_up.payments:
            continue
        key = (row.booking_id, row.payment.attempt)
        missing.discard(key)
        _compare(replay, _named(key), row, replay.payments.get(key))
    for key in sorted(missing):
        _compare(replay, _named(key), None, replay.payments[key])


def _named(key: tuple[str, int]) -> str:
    return f"booking {key[0]}, payment {key[1]}"
