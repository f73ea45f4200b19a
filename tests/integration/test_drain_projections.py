"""What PostgreSQL says of sales, items, bookings, lines and contacts is what the scripts did."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from uuid import uuid4

import pytest_asyncio
from prometheus_client import REGISTRY

from engine.limits import MAX_INTEGER
from engine.outcomes import Outcome
from engine.types import CancelReason, Contact, ItemDefinition, Levels, LineRequest, Status
from tests.helpers.ledger import Ledger, concert, open_ledger


@pytest_asyncio.fixture
async def ledger(redis_url: str, database_url: str) -> AsyncIterator[Ledger]:
    async with open_ledger(redis_url, database_url) as opened:
        yield opened


def mismatches() -> float:
    return REGISTRY.get_sample_value("holdfast_level_mismatches_total") or 0.0


async def test_every_status_of_a_booking_reaches_postgresql(ledger: Ledger) -> None:
    await ledger.engine.sales.put(concert())
    bookings = ledger.engine.bookings
    pending = await ledger.hold(("seat", 1), ("stand", 2))
    confirmed = await ledger.hold(("stand", 1))
    await bookings.confirm(confirmed.booking_id, "ann", str(uuid4()))
    completed = await ledger.hold(("stand", 1))
    await bookings.confirm(completed.booking_id, "ann", str(uuid4()))
    await ledger.drain_all()
    await bookings.complete(completed.booking_id)
    cancelled = await ledger.hold(("seat", 1))
    await bookings.extend(cancelled.booking_id)
    await ledger.drain_all()
    await bookings.cancel(cancelled.booking_id, CancelReason.OPERATOR)
    await ledger.drain_all()
    for booking_id, status in (
        (pending.booking_id, Status.PENDING),
        (confirmed.booking_id, Status.CONFIRMED),
        (completed.booking_id, Status.COMPLETED),
        (cancelled.booking_id, Status.CANCELLED),
    ):
        in_redis = await bookings.get(booking_id)
        archived = await ledger.reads.booking(booking_id)
        assert archived
        assert archived.booking == in_redis.booking
        assert archived.booking.status is status
        assert archived.contact is None


async def test_an_expired_hold_is_cancelled_in_postgresql_too(ledger: Ledger) -> None:
    await ledger.engine.sales.put(concert(hold_ms=1_000))
    booking = await ledger.hold(("seat", 3))
    await asyncio.sleep(1.01)
    assert await ledger.engine.bookings.expire("concert") == 1
    await ledger.drain_all()
    archived = await ledger.reads.booking(booking.booking_id)
    assert archived
    assert archived.booking.cancel_reason is CancelReason.EXPIRED
    assert (await ledger.levels())["concert"][0] == Levels("seat", 100, 0, 0)


async def test_a_booking_that_left_redis_is_brought_back_by_what_postgresql_has(
    ledger: Ledger,
) -> None:
    await ledger.engine.sales.put(concert())
    booking = await ledger.hold(("stand", 1), contact=Contact("ann@example.com", "+4912345"))
    await ledger.engine.bookings.confirm(booking.booking_id, "ann", str(uuid4()))
    await ledger.drain_all()
    partition = ledger.engine.keys.partition_of_sale("concert")
    assert await ledger.engine.bookings.evict(partition, 3, 0, 10) == 1
    found = await ledger.engine.bookings.get(booking.booking_id)
    assert found.booking
    assert found.booking.status is Status.CONFIRMED
    ended = await ledger.engine.bookings.cancel(booking.booking_id, CancelReason.CUSTOMER)
    assert ended.outcome is Outcome.CANCELLED
    await ledger.drain_all()
    archived = await ledger.reads.booking(booking.booking_id)
    assert archived
    assert archived.booking == ended.booking
    assert archived.sequence == 4
    assert archived.contact
    contact = ledger.engine.vault.decrypt(archived.contact)
    assert contact == Contact("ann@example.com", "+4912345")


async def test_no_contact_is_anywhere_in_postgresql_in_the_clear(ledger: Ledger) -> None:
    await ledger.engine.sales.put(concert())
    await ledger.hold(("seat", 1), contact=Contact("ann@example.com", "+4912345"))
    await ledger.drain_all()
    for table in ("journal", "bookings", "lines", "stock_history", "contacts"):
        text = str(await ledger.rows(f"SELECT * FROM {table}"))
        assert "example.com" not in text
        assert "4912345" not in text


async def test_levels_are_sums_of_deltas_through_every_change_of_a_sale(ledger: Ledger) -> None:
    sale = concert(capacity=10)
    await ledger.engine.sales.put(sale)
    booking = await ledger.hold(("seat", 4))
    more = replace(sale.items[0], capacity=25)
    table = ItemDefinition("table", "Table", 7, 100)
    await ledger.engine.sales.put(replace(sale, items=(table, more), name="Concert, seated"))
    await ledger.hold(("table", 2), ("seat", 1))
    await ledger.engine.bookings.cancel(booking.booking_id, CancelReason.CUSTOMER)
    await ledger.drain_all()
    stock = await ledger.engine.sales.get("concert")
    assert stock
    assert await ledger.levels() == {"concert": stock.levels}
    assert stock.levels == (Levels("table", 5, 2, 0), Levels("seat", 24, 1, 0))
    rows = await ledger.rows("SELECT item_id, position, available FROM items ORDER BY item_id")
    assert rows == [("seat", 1, 24), ("stand", None, 0), ("table", 0, 5)]
    assert await ledger.rows("SELECT name, version FROM sales") == [("Concert, seated", 2)]


async def test_a_sale_keeps_when_it_was_created(ledger: Ledger) -> None:
    await ledger.engine.sales.put(concert())
    await ledger.engine.sales.put(concert(capacity=5))
    await ledger.drain_all()
    await ledger.engine.sales.put(concert(capacity=6))
    await ledger.drain_all()
    sale = await ledger.engine.sales.get("concert")
    assert sale
    rows = await ledger.rows("SELECT version, created_ms, updated_ms FROM sales")
    assert rows == [(3, sale.created_ms, sale.updated_ms)]


async def test_the_greatest_quantities_and_totals_come_back_to_the_unit(ledger: Ledger) -> None:
    before = mismatches()
    sale = concert(max_units_per_customer=MAX_INTEGER, opens_ms=1, closes_ms=253_402_300_799_999)
    items = (
        ItemDefinition("seat", "Seat", MAX_INTEGER, MAX_INTEGER),
        ItemDefinition("stand", "Stand", MAX_INTEGER, 0),
    )
    await ledger.engine.sales.put(replace(sale, items=items))
    booking = await ledger.hold(("seat", 1), ("stand", 1000))
    await ledger.drain_all()
    archived = await ledger.reads.booking(booking.booking_id)
    assert archived
    assert archived.booking.amount == MAX_INTEGER
    assert archived.booking.lines[0].unit_price == MAX_INTEGER
    assert await ledger.levels() == {
        "concert": (
            Levels("seat", MAX_INTEGER - 1, 1, 0),
            Levels("stand", MAX_INTEGER - 1000, 1000, 0),
        )
    }
    await ledger.engine.bookings.cancel(booking.booking_id, CancelReason.CUSTOMER)
    await ledger.engine.sales.put(
        replace(sale, items=tuple(replace(item, capacity=0) for item in items))
    )
    await ledger.engine.sales.put(replace(sale, items=items))
    await ledger.drain_all()
    assert await ledger.levels() == {
        "concert": (Levels("seat", MAX_INTEGER, 0, 0), Levels("stand", MAX_INTEGER, 0, 0))
    }
    assert mismatches() == before


async def test_the_two_books_agree_after_much_coming_and_going(ledger: Ledger) -> None:
    before = mismatches()
    sales = [concert(f"concert-{number}", capacity=20) for number in range(8)]
    for sale in sales:
        await ledger.engine.sales.put(sale)

    async def buyer(number: int) -> None:
        sale_id = sales[number % 8].sale_id
        lines = [LineRequest("stand", 1 + number % 3), LineRequest("seat", 1)]
        answer = await ledger.engine.bookings.reserve(sale_id, f"c{number}", lines, str(uuid4()))
        if answer.booking and number % 3 == 0:
            await ledger.engine.bookings.cancel(answer.booking.booking_id, CancelReason.CUSTOMER)

    async def drain() -> None:
        for _ in range(20):
            for partition in range(4):
                await ledger.drain.run_once(partition)

    await asyncio.gather(drain(), *(buyer(number) for number in range(300)))
    await ledger.drain_all()
    levels = await ledger.levels()
    for sale in sales:
        stock = await ledger.engine.sales.get(sale.sale_id)
        assert stock
        assert levels[sale.sale_id] == stock.levels
    assert mismatches() == before
