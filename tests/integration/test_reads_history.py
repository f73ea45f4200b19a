"""A customer's history, everybody's, and an item's stock history: newest first, page by page."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio

from engine.limits import MAX_INTEGER
from engine.types import CancelReason, Levels, LineRequest, Status
from persistence.queries import query
from persistence.reads import InvalidCursor
from tests.helpers.ledger import (
    NOON_MS,
    Ledger,
    booking_entry,
    booking_id,
    concert,
    open_ledger,
)

PARTITION = 0


@pytest_asyncio.fixture
async def ledger(redis_url: str, database_url: str) -> AsyncIterator[Ledger]:
    async with open_ledger(redis_url, database_url) as opened:
        yield opened


async def made_up(ledger: Ledger, *bookings: dict[str, Any]) -> None:
    """Bookings 1, 2, … as given, drained."""
    entries = [booking_entry("held", number, 1, **fields) for number, fields in enumerate(bookings)]
    await ledger.append(PARTITION, *entries)
    await ledger.drain.run_once(PARTITION)


async def pages(ledger: Ledger, customer_id: str | None, limit: int, **filters: Any) -> list[Any]:
    """Ids of all bookings of a history, read to its end."""
    found: list[str] = []
    cursor = None
    while True:
        page = await ledger.reads.history(customer_id, limit, cursor, **filters)
        assert len(page.bookings) <= limit
        found += [booking.booking_id for booking in page.bookings]
        cursor = page.next_cursor
        if cursor is None:
            return found
        assert len(page.bookings) == limit


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 8])
async def test_a_history_is_newest_first_and_whole_whatever_the_size_of_its_pages(
    ledger: Ledger, limit: int
) -> None:
    # Some in the same millisecond: then the id decides.
    times = [5, 1, 3, 3, 3, 2, 4]
    await made_up(ledger, *({"created_ms": NOON_MS + at} for at in times))
    expected = [booking_id(number) for number in (0, 6, 4, 3, 2, 5, 1)]
    assert await pages(ledger, "ann", limit) == expected


async def test_a_history_shows_only_the_customers_own_bookings(ledger: Ledger) -> None:
    await made_up(ledger, {}, {"customer_id": "bob"}, {})
    assert await pages(ledger, "ann", 1) == [booking_id(2), booking_id(0)]
    assert await pages(ledger, "bob", 1) == [booking_id(1)]
    assert await pages(ledger, "eve", 1) == []
    assert await pages(ledger, None, 1) == [booking_id(2), booking_id(1), booking_id(0)]


async def test_a_history_is_filtered_by_status_and_sale(ledger: Ledger) -> None:
    await made_up(
        ledger,
        {},
        {"sale_id": "play"},
        {"status": "CONFIRMED"},
        {"sale_id": "play", "status": "CONFIRMED"},
        {"sale_id": "play", "status": "CONFIRMED", "customer_id": "bob"},
    )

    async def numbers(customer_id: str | None, **filters: Any) -> list[int]:
        return [int(name[6:]) for name in await pages(ledger, customer_id, 2, **filters)]

    assert await numbers("ann", status=Status.CONFIRMED) == [3, 2]
    assert await numbers("ann", sale_id="play") == [3, 1]
    assert await numbers("ann", sale_id="play", status=Status.PENDING) == [1]
    assert await numbers("ann", status=Status.CANCELLED) == []
    assert await numbers(None, sale_id="play") == [4, 3, 1]
    assert await numbers(None, sale_id="play", status=Status.CONFIRMED) == [4, 3]
    assert await numbers(None, status=Status.PENDING) == [1, 0]


async def test_a_history_is_filtered_by_when_bookings_were_created(ledger: Ledger) -> None:
    await made_up(ledger, *({"created_ms": NOON_MS + at} for at in (10, 20, 20, 30)))

    async def numbers(from_ms: int, to_ms: int, **filters: Any) -> list[int]:
        window = {"from_ms": NOON_MS + from_ms, "to_ms": NOON_MS + to_ms}
        return [int(name[6:]) for name in await pages(ledger, "ann", 1, **window, **filters)]

    assert await numbers(0, 100) == [3, 2, 1, 0]
    assert await numbers(10, 30) == [2, 1, 0], "from the beginning on, and not to the end"
    assert await numbers(11, 31) == [3, 2, 1]
    assert await numbers(20, 21) == [2, 1]
    assert await numbers(21, 30) == []
    assert await numbers(20, 31, sale_id="play") == []


async def test_a_page_is_stable_while_newer_bookings_come(ledger: Ledger) -> None:
    await made_up(ledger, {}, {}, {})
    first = await ledger.reads.history("ann", 2)
    newer = booking_entry("held", 9, 1, created_ms=NOON_MS + 1)
    await ledger.append(PARTITION, newer)
    await ledger.drain.run_once(PARTITION)
    second = await ledger.reads.history("ann", 2, first.next_cursor)
    assert [booking.booking_id for booking in second.bookings] == [booking_id(0)]


async def test_a_booking_in_a_history_is_whole(ledger: Ledger) -> None:
    await ledger.engine.sales.put(concert())
    lines = [LineRequest("stand", 2), LineRequest("seat", 1), LineRequest("stand", 1)]
    answer = await ledger.engine.bookings.reserve("concert", "ann", lines, str(uuid4()))
    await ledger.drain_all()
    page = await ledger.reads.history("ann", 10)
    assert page.bookings == (answer.booking,)


@pytest.mark.parametrize("cursor", ["x", "made-up", "czo1", "é", "A" * 600, "AAAAAGI6MTo="])
async def test_a_cursor_that_no_page_ended_with_is_refused(ledger: Ledger, cursor: str) -> None:
    with pytest.raises(InvalidCursor):
        await ledger.reads.history("ann", 2, cursor)
    with pytest.raises(InvalidCursor):
        await ledger.reads.stock_history("concert", "seat", 2, cursor)


async def test_a_stock_history_has_every_change_with_the_levels_after_it(ledger: Ledger) -> None:
    await ledger.engine.sales.put(concert())
    lines = [LineRequest("seat", 2), LineRequest("stand", 5), LineRequest("seat", 1)]
    answer = await ledger.engine.bookings.reserve("concert", "ann", lines, str(uuid4()))
    assert answer.booking
    name = answer.booking.booking_id
    await ledger.engine.bookings.cancel(name, CancelReason.CUSTOMER)
    await ledger.engine.sales.put(concert(capacity=40))
    await ledger.drain_all()
    page = await ledger.reads.stock_history("concert", "seat", 10)
    assert page.next_cursor is None
    assert [(c.type, c.booking_id, c.delta, c.levels) for c in page.changes] == [
        ("stock_adjusted", None, Levels("seat", -60, 0, 0), Levels("seat", 40, 0, 0)),
        ("cancelled", name, Levels("seat", 3, -3, 0), Levels("seat", 100, 0, 0)),
        ("held", name, Levels("seat", -3, 3, 0), Levels("seat", 97, 3, 0)),
        ("sale_put", None, Levels("seat", 100, 0, 0), Levels("seat", 100, 0, 0)),
    ]
    assert page.changes[2].at_ms == answer.booking.created_ms
    sequences: list[int] = []
    cursor = None
    for _ in range(4):
        one = await ledger.reads.stock_history("concert", "seat", 1, cursor)
        sequences += [change.sequence for change in one.changes]
        cursor = one.next_cursor
    assert (sequences, cursor) == ([4, 3, 2, 1], None)


async def test_a_cursor_of_one_list_is_refused_by_the_other(ledger: Ledger) -> None:
    await ledger.engine.sales.put(concert())
    for _ in range(2):
        lines = [LineRequest("seat", 1)]
        await ledger.engine.bookings.reserve("concert", "ann", lines, str(uuid4()))
    await ledger.drain_all()
    history = await ledger.reads.history("ann", 1)
    stock = await ledger.reads.stock_history("concert", "seat", 1)
    with pytest.raises(InvalidCursor):
        await ledger.reads.history("ann", 1, stock.next_cursor)
    with pytest.raises(InvalidCursor):
        await ledger.reads.stock_history("concert", "seat", 1, history.next_cursor)


async def test_a_history_is_read_from_an_index(ledger: Ledger) -> None:
    entries = [
        booking_entry(
            "held", number, 1, customer_id=f"c{number % 500}", created_ms=NOON_MS + number
        )
        for number in range(5_000)
    ]
    await ledger.append(PARTITION, *entries)
    while await ledger.drain.run_once(PARTITION):
        pass
    async with ledger.pool.acquire() as taken:
        await taken.execute("ANALYZE bookings")
        for name, index, arguments in (
            ("customer_history", "bookings_customer", (None, "c7")),
            ("sale_history", "bookings_sale", ("s7",)),
            ("history", "bookings_created", ()),
        ):
            plan = await explain(taken, name, *arguments)
            assert index in plan, plan
            # The table of payments is empty, and PostgreSQL may know that.
            assert "Seq Scan on bookings" not in plan, plan
            assert "Seq Scan on lines" not in plan, plan


async def explain(taken: Any, name: str, *arguments: str | None) -> str:
    """How PostgreSQL would read the first page."""
    rows = await taken.fetch(f"EXPLAIN {query(name)}", MAX_INTEGER, "", None, 50, 0, *arguments)
    return "\n".join(row[0] for row in rows)
