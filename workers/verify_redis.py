"""Compares what Redis has with the journal's fold at the same sequence, slice by slice.

Each slice is read whole at one sequence, and the fold then goes on to it. What is read is named by
the fold (its sales, its customers, its holds), and that there is nothing else is told by counts
read with them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from functools import partial
from typing import Final, Protocol, TypeVar

import orjson

from engine.audit import CustomersReading, HoldsReading, PaymentsReading, SaleReading
from engine.engine import Engine
from engine.model import SaleState, is_paying
from engine.types import Levels, Status
from persistence.audit import Audit
from workers.replay import Replay

AT_ONCE: Final = 16
"""Slices read before the fold goes on."""
SALES_PAGE: Final = 500
CUSTOMERS_PER_SLICE: Final = 500
HOLDS_PER_SLICE: Final = 250
PAYMENTS_PER_SLICE: Final = 500
ENTRIES_PER_SLICE: Final = 1_000

Item = TypeVar("Item")


class Reading(Protocol):
    """What was read at one sequence."""

    @property
    def sequence(self) -> int:
        """The partition's last entry then."""


Found = TypeVar("Found", bound=Reading)


def slices(items: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    """Cut a sequence into pieces."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


async def compare_partition(engine: Engine, audit: Audit, replay: Replay) -> None:
    """Compare a partition's sales, customers, holds, open payments and journal.

    Raises `Fenced` where Redis refuses, `Unavailable`.
    """
    for sale_ids in slices(await _sale_ids(engine, replay), AT_ONCE):
        reads = [partial(engine.audit.sale, replay.partition, name) for name in sale_ids]
        async for reading in _in_order(replay, reads):
            _compare_sale(replay, reading)
    async for customers in _in_order(replay, _customer_slices(engine, replay)):
        _compare_customers(replay, customers)
    async for holds in _in_order(replay, _hold_slices(engine, replay)):
        _compare_holds(replay, holds)
    async for payments in _in_order(replay, _payment_slices(engine, replay)):
        _compare_payments(replay, payments)
    await _compare_journal(engine, audit, replay)


async def _in_order(
    replay: Replay, reads: Sequence[Callable[[], Awaitable[Found]]]
) -> AsyncIterator[Found]:
    """Read some slices at once, and yield each when the fold is where it was read."""
    for some in slices(reads, AT_ONCE):
        found = await asyncio.gather(*(read() for read in some))
        for reading in sorted(found, key=lambda one: one.sequence):
            if not await replay.follow(reading.sequence):
                return
            yield reading


async def _sale_ids(engine: Engine, replay: Replay) -> list[str]:
    """The sales that the fold has or Redis lists; one that Redis does not list is a difference."""
    known = set(replay.state.sales)
    listed: list[str] = []
    while True:
        page = await engine.audit.sale_ids(
            replay.partition, listed[-1] if listed else "", SALES_PAGE
        )
        listed += page
        if len(page) < SALES_PAGE:
            break
    for sale_id in sorted(known.difference(listed)):
        replay.differ(f"sale {sale_id} is not in Redis's list of sales")
    return sorted(known.union(listed))


def _spelled(levels: Levels) -> str:
    return f"{levels.available} available, {levels.held} held, {levels.sold} sold"


def _compare_sale(replay: Replay, reading: SaleReading) -> None:
    where = f"sale {reading.sale_id} at {reading.sequence}"
    expected = replay.state.sales.get(reading.sale_id)
    if reading.retired and expected and not replay.holds[reading.sale_id]:
        return
    if expected is None or not reading.sale:
        if expected is not None or reading.sale or reading.stock:
            place = "Redis" if expected is None else "the journal"
            replay.differ(f"{where}: only {place} has it")
        return
    for field, value in _sale_fields(expected).items():
        if reading.sale.get(field) != value:
            replay.differ(
                f"{where}: {field} is {reading.sale.get(field)} in Redis, {value} in the journal"
            )
    try:
        same = orjson.loads(reading.sale.get("definition", "")) == expected.fields
    except ValueError:
        same = False
    if not same:
        replay.differ(f"{where}: the definition in Redis is not the journal's")
    _compare_stock(replay, where, reading.stock, expected)
    if reading.customers != len(expected.customers):
        replay.differ(
            f"{where}: Redis counts {reading.customers} customers with units, "
            f"the journal {len(expected.customers)}"
        )
    if reading.holds != replay.holds[reading.sale_id]:
        replay.differ(
            f"{where}: Redis has deadlines of {reading.holds} holds, "
            f"the journal {replay.holds[reading.sale_id]} holds"
        )
    first = reading.first_deadline_ms
    if first is not None and (reading.due_ms is None or reading.due_ms > first):
        replay.differ(
            f"{where}: the sweeper would look at {reading.due_ms}, a hold ends at {first}"
        )


def _sale_fields(sale: SaleState) -> dict[str, str]:
    definition = sale.definition
    return {
        "opens_ms": str(definition.opens_ms),
        "closes_ms": str(definition.closes_ms),
        "hold_ms": str(definition.hold_ms),
        "max_units_per_customer": str(definition.max_units_per_customer),
        "currency": definition.currency,
        "version": str(sale.version),
        "created_ms": str(sale.created_ms),
        "updated_ms": str(sale.updated_ms),
    }


def _compare_stock(replay: Replay, where: str, stock: dict[str, str], expected: SaleState) -> None:
    items = {item.item_id: item for item in expected.definition.items}
    for item_id, levels in expected.levels.items():
        found = [stock.get(f"{item_id}:{side}", "none") for side in ("available", "held", "sold")]
        if found != [str(levels.available), str(levels.held), str(levels.sold)]:
            replay.differ(
                f"{where}, item {item_id}: {found[0]} available, {found[1]} held, {found[2]} sold "
                f"in Redis, {_spelled(levels)} in the journal"
            )
        if levels.capacity != items[item_id].capacity:
            replay.differ(f"{where}, item {item_id}: {_spelled(levels)} are not its capacity")
        for field in ("unit_price", "max_per_booking"):
            value = getattr(items[item_id], field)
            if stock.get(f"{item_id}:{field}") != str(value):
                replay.differ(f"{where}, item {item_id}: {field} is not {value} in Redis")
    for item_id in sorted({field.rpartition(":")[0] for field in stock} - items.keys()):
        replay.differ(f"{where}, item {item_id}: only Redis has it")


def _customer_slices(
    engine: Engine, replay: Replay
) -> list[Callable[[], Awaitable[CustomersReading]]]:
    return [
        partial(engine.audit.customers, replay.partition, sale_id, names)
        for sale_id, sale in replay.state.sales.items()
        for names in slices(list(sale.customers), CUSTOMERS_PER_SLICE)
    ]


def _compare_customers(replay: Replay, reading: CustomersReading) -> None:
    expected = replay.state.sales[reading.sale_id].customers
    for customer_id, units in reading.units.items():
        if units != expected.get(customer_id):
            replay.differ(
                f"sale {reading.sale_id} at {reading.sequence}, customer {customer_id}: "
                f"{units or 0} units in Redis, {expected.get(customer_id, 0)} in the journal"
            )


def _hold_slices(engine: Engine, replay: Replay) -> list[Callable[[], Awaitable[HoldsReading]]]:
    holds: dict[str, list[str]] = {}
    for booking in replay.state.bookings.values():
        if booking.status is Status.PENDING:
            holds.setdefault(booking.sale_id, []).append(booking.booking_id)
    return [
        partial(engine.audit.holds, replay.partition, sale_id, names)
        for sale_id, ids in holds.items()
        for names in slices(ids, HOLDS_PER_SLICE)
    ]


def _compare_holds(replay: Replay, reading: HoldsReading) -> None:
    for hold in reading.holds:
        booking = replay.state.bookings[hold.booking_id]
        where = f"booking {hold.booking_id} at {reading.sequence}"
        pending = booking.status is Status.PENDING
        deadline_ms = booking.hold_expires_ms if pending else None
        if pending and is_paying(booking) and hold.deadline_ms is not None:
            # Later by its grace, which the journal does not tell: only not earlier.
            deadline_ms = max(booking.hold_expires_ms, hold.deadline_ms)
        if hold.deadline_ms != deadline_ms:
            replay.differ(
                f"{where}: deadline {hold.deadline_ms} in Redis, {deadline_ms} in the journal"
            )
        # In one from before there were payments there is none.
        if pending and hold.own_deadline_ms not in (None, hold.deadline_ms):
            replay.differ(
                f"{where}: deadline {hold.deadline_ms} in Redis, and {hold.own_deadline_ms} in its "
                "own hash"
            )
        if pending and (hold.status, hold.version) != (booking.status, booking.version):
            replay.differ(
                f"{where}: {hold.status} of version {hold.version} in Redis, "
                f"{booking.status} of version {booking.version} in the journal"
            )


def _payment_slices(
    engine: Engine, replay: Replay
) -> list[Callable[[], Awaitable[PaymentsReading]]]:
    """Open payments; at least one slice, since it also tells how many there are."""
    names = list(slices(sorted(replay.paying), PAYMENTS_PER_SLICE)) or [()]
    return [partial(engine.audit.payments, replay.partition, some) for some in names]


def _compare_payments(replay: Replay, reading: PaymentsReading) -> None:
    for booking_id, look_ms in reading.looks.items():
        if booking_id in replay.paying and look_ms is None:
            replay.differ(
                f"booking {booking_id} at {reading.sequence}: its payment is open, and no worker "
                "will look at it"
            )
    if reading.count != len(replay.paying):
        replay.differ(
            f"at {reading.sequence} Redis has {reading.count} open payments, "
            f"the journal {len(replay.paying)}"
        )


async def _compare_journal(engine: Engine, audit: Audit, replay: Replay) -> None:
    """Compare the entries that Redis still keeps, byte for byte, with those PostgreSQL keeps."""
    base = (await audit.base(replay.partition)).sequence
    expected, tip = 0, None
    while tip is None or expected <= tip:
        found = await engine.journal.read(replay.partition, expected, ENTRIES_PER_SLICE)
        tip = found.sequence if tip is None else tip
        if not found.entries:
            if expected <= tip and tip:
                replay.differ(f"Redis's journal lacks {max(expected, 1)} to {tip}")
            return
        last = found.entries[-1].sequence
        if not await replay.follow(max(last, replay.state.sequence)):
            return
        texts = await audit.texts(replay.partition, [entry.sequence for entry in found.entries])
        for entry in found.entries:
            if expected and entry.sequence != expected:
                replay.differ(f"Redis's journal lacks {expected} to {entry.sequence - 1}")
            dropped = entry.sequence <= base and entry.sequence not in texts
            if not dropped and texts.get(entry.sequence) != entry.text:
                replay.differ(f"entry {entry.sequence} is not the same in Redis and PostgreSQL")
            expected = entry.sequence + 1
