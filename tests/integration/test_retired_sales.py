"""Closed sales leave Redis whole, can be read as before, and come back to be changed."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from redis.asyncio import Redis

from engine.errors import Unavailable
from engine.outcomes import Outcome
from engine.retired import RetiredSales
from engine.types import Booking, CancelReason, ItemDefinition, LineRequest, SaleDefinition
from persistence.reads import Reads
from persistence.retiring import Retiring
from tests.helpers.engines import move_clock
from tests.helpers.scripted import START_MS
from tests.helpers.stage import Stage, stage, stage_settings
from workers import verify
from workers.retirer import Retirer

PARTITIONS = 4
CLOSED_MS = START_MS + 60_000
DEFINITION = SaleDefinition(
    "gig",
    "A gig",
    (ItemDefinition("seat", "Seat", 10, 0, 3), ItemDefinition("stand", "Stand", 5, 0)),
    closes_ms=CLOSED_MS,
    hold_ms=30_000,
    max_units_per_customer=4,
)
DAY_MS = 86_400_000


@pytest.fixture
async def on(redis_url: str, database_url: str) -> AsyncIterator[Stage]:
    settings = stage_settings(redis_url, database_url, partitions=str(PARTITIONS))
    async with stage(settings) as ready:
        await move_clock(redis_url, "gig", START_MS, PARTITIONS)
        assert (await ready.engine.sales.put(DEFINITION)).sale
        yield ready


def retirer(on: Stage) -> Retirer:
    """One for which every booking is old enough: the tests' clock is ahead of PostgreSQL's."""
    return Retirer(on.engine, Retiring(on.pool), 1_000, -100 * 365 * DAY_MS, clock=lambda: 0.0)


async def sold(on: Stage, customer_id: str = "ann", quantity: int = 2) -> Booking:
    answer = await on.engine.bookings.reserve(
        "gig", customer_id, [LineRequest("seat", quantity)], str(uuid.uuid4())
    )
    assert answer.booking, answer
    return await on.confirm(answer.booking)


async def close(on: Stage) -> None:
    """A day after the end of the sale."""
    await move_clock(on.settings.redis_url, "gig", CLOSED_MS + DAY_MS, PARTITIONS)


async def names_left(on: Stage) -> list[str]:
    """The keys that Redis has of the sale."""
    async with Redis.from_url(on.settings.redis_url) as client:
        families = ("sale", "stock", "customers", "deadlines")
        keys = [on.engine.keys.key(family, on.partition(), "gig") for family in families]
        return [key for key in keys if await client.exists(key)]


async def is_equal(on: Stage) -> list[str]:
    return (await verify.compare(on.settings)).differences


async def retired(on: Stage, *customers: str) -> list[Booking]:
    """Sell to some customers, close, drain, evict, retire."""
    bookings = [await sold(on, name) for name in customers]
    await close(on)
    await on.drain_all()
    cursor = (await on.reads.cursors())[on.partition()].sequence
    assert await on.engine.bookings.evict(on.partition(), cursor, 0, 99) == len(bookings)
    assert await retirer(on).run_once() == 1
    assert await names_left(on) == []
    return bookings


async def test_a_sale_that_left_reads_as_before_and_says_that_it_is_closed(on: Stage) -> None:
    before = await on.engine.sales.get("gig")
    levels = await on.engine.sales.availability("gig")
    assert before
    assert levels
    await retired(on)
    assert await on.engine.sales.get("gig") == before
    after = await on.engine.sales.availability("gig")
    assert after
    assert after.items == levels.items
    assert [sale.definition.sale_id for sale in await on.engine.sales.list()] == ["gig"]
    answer = await on.engine.bookings.reserve("gig", "ann", [LineRequest("seat", 1)], "k")
    assert answer.outcome is Outcome.SALE_CLOSED
    assert await on.engine.sales.snapshot("gig") is Outcome.UNKNOWN_SALE
    assert await retirer(on).run_once() == 0, "once"
    assert await names_left(on) == [], "nobody who reads brings it back"
    assert await is_equal(on) == []


async def test_a_booking_of_a_sale_that_left_is_cancelled_and_its_units_go_back(on: Stage) -> None:
    ann, bob = await retired(on, "ann", "bob")
    answer = await on.engine.bookings.cancel(ann.booking_id, CancelReason.OPERATOR)
    assert answer.outcome is Outcome.CANCELLED
    assert await on.levels() == (8, 0, 2)
    assert await names_left(on) != []
    await on.drain_all()
    assert await is_equal(on) == [], "levels and what customers have came back right"
    cursor = (await on.reads.cursors())[on.partition()].sequence
    await on.engine.bookings.evict(on.partition(), cursor, 0, 99)
    assert await retirer(on).run_once() == 1, "and it leaves again"
    answer = await on.engine.bookings.cancel(bob.booking_id, CancelReason.OPERATOR)
    assert answer.outcome is Outcome.CANCELLED
    await on.drain_all()
    assert await on.levels() == (10, 0, 0)
    assert await is_equal(on) == []


async def test_a_sale_that_left_can_be_opened_again_with_what_customers_had(on: Stage) -> None:
    await retired(on, "ann")
    reopened = replace(DEFINITION, closes_ms=CLOSED_MS + 10 * DAY_MS)
    answer = await on.engine.sales.put(reopened)
    assert answer.outcome is Outcome.UPDATED
    assert answer.sale
    assert answer.sale.version == 2
    over = await on.engine.bookings.reserve("gig", "ann", [LineRequest("seat", 3)], "k")
    assert over.outcome is Outcome.CUSTOMER_LIMIT
    await sold(on, "ann", 2)
    assert await on.levels() == (6, 0, 4)
    await on.drain_all()
    assert await is_equal(on) == []


async def test_many_who_touch_it_at_once_bring_it_back_once(on: Stage) -> None:
    bookings = await retired(on, "ann", "bob", "cat", "dan")
    answers = await asyncio.gather(
        *(on.engine.bookings.cancel(one.booking_id, CancelReason.OPERATOR) for one in bookings)
    )
    assert {answer.outcome for answer in answers} == {Outcome.CANCELLED}
    assert await on.levels() == (10, 0, 0)
    await on.drain_all()
    assert await is_equal(on) == []


async def test_one_that_leaves_again_before_it_is_changed_is_unavailable(
    on: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    (booking,) = await retired(on, "ann")
    bring_back = RetiredSales.bring_back

    async def for_a_moment(sales: RetiredSales, sale_id: str, left_at: int) -> None:
        await bring_back(sales, sale_id, left_at)
        assert await retirer(on).run_once() == 1

    with monkeypatch.context() as patched:
        patched.setattr(RetiredSales, "bring_back", for_a_moment)
        with pytest.raises(Unavailable, match="left Redis again"):
            await on.engine.bookings.cancel(booking.booking_id, CancelReason.OPERATOR)
    again = await on.engine.bookings.cancel(booking.booking_id, CancelReason.OPERATOR)
    assert again.outcome is Outcome.CANCELLED


async def test_what_is_open_or_held_or_not_there_keeps_a_sale_in_redis(on: Stage) -> None:
    answer = await on.engine.bookings.reserve("gig", "ann", [LineRequest("seat", 1)], "k")
    assert answer.booking
    leave = on.engine.sales.retired.retire
    assert await leave("gig", 1_000) is Outcome.INVALID_STATE, "it is open"
    await close(on)
    assert await leave("gig", 1_000) is Outcome.INVALID_STATE, "a hold is due and not yet ended"
    assert await leave("gig", 2 * DAY_MS) is Outcome.INVALID_STATE, "not for so long"
    assert await leave("nothing", 1_000) is Outcome.UNKNOWN_SALE
    await on.drain_all()
    assert await retirer(on).run_once() == 0
    await on.engine.bookings.expire("gig")
    await on.drain_all()
    assert await retirer(on).run_once() == 1
    assert await leave("gig", 1_000) is Outcome.UNCHANGED


async def test_a_postgresql_that_is_behind_or_away_is_never_absence(
    on: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    (booking,) = await retired(on, "ann")
    where = "WHERE partition = $1"
    tip = await on.pool.fetchval(f"SELECT sequence FROM partitions {where}", on.partition())
    move = f"UPDATE partitions SET sequence = $2 {where}"
    await on.pool.execute(move, on.partition(), tip - 1)
    for call in (
        on.engine.sales.get("gig"),
        on.engine.sales.availability("gig"),
        on.engine.bookings.cancel(booking.booking_id, CancelReason.OPERATOR),
        on.engine.sales.put(replace(DEFINITION, name="other")),
    ):
        with pytest.raises(Unavailable):
            await call
    await on.pool.execute(move, on.partition(), tip)
    assert await names_left(on) == []

    async def away(*_: object) -> None:
        raise Unavailable("PostgreSQL is away")

    monkeypatch.setattr(Reads, "sale", away)
    with pytest.raises(Unavailable):
        await on.engine.sales.get("gig")
    for name in ("before", "later"):
        await on.put(name)
    listed = [sale.definition.sale_id for sale in await on.engine.sales.list(limit=2)]
    assert listed == ["before", "later"], "what is on sale is listed all the same"


async def test_a_sale_that_is_there_all_the_same_is_never_overwritten(on: Stage) -> None:
    (booking,) = await retired(on, "ann")
    await on.engine.sales.put(replace(DEFINITION, closes_ms=CLOSED_MS + 10 * DAY_MS))
    await sold(on, "bob")
    async with Redis.from_url(on.settings.redis_url) as client:
        key = on.engine.keys.key("retired", on.partition())
        await client.execute_command("HSET", key, "gig", "1")
    answer = await on.engine.bookings.cancel(booking.booking_id, CancelReason.OPERATOR)
    assert answer.outcome is Outcome.CANCELLED
    assert await on.levels() == (8, 0, 2), "bob's units are as they were"
    await on.drain_all()
    assert await is_equal(on) == []


async def test_a_load_that_was_given_up_half_way_leaves_nothing_wrong(on: Stage) -> None:
    (booking,) = await retired(on, "ann")
    async with Redis.from_url(on.settings.redis_url) as client:
        key = on.engine.keys.key("customers", on.partition(), "gig")
        await client.execute_command("HSET", key, "ghost", "3")
    with pytest.raises(Unavailable):
        await on.engine.bookings.cancel(booking.booking_id, CancelReason.OPERATOR)
    answer = await on.engine.bookings.cancel(booking.booking_id, CancelReason.OPERATOR)
    assert answer.outcome is Outcome.CANCELLED
    await on.drain_all()
    assert await is_equal(on) == []
