"""Many buyers at once, on a real server: never a unit too many, never a booking twice."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from redis.asyncio import Redis

from engine import limits
from engine.engine import Engine
from engine.errors import Overloaded, Unavailable
from engine.outcomes import Outcome
from engine.types import CancelReason, ItemDefinition, Levels, LineRequest
from tests.helpers.engines import SEAT, check_books, gig, move_clock, opened, options


async def test_500_identical_requests_make_one_booking(redis_url: str) -> None:
    async with opened(redis_url) as one, opened(redis_url) as two:
        await one.sales.put(gig())
        answers = await asyncio.gather(
            *(
                engine.bookings.reserve("gig", "ann", SEAT, "key")
                for engine in (one, two)
                for _ in range(250)
            )
        )
        assert len({answer.booking for answer in answers}) == 1
        outcomes = [answer.outcome for answer in answers]
        assert outcomes.count(Outcome.HELD) == 1
        assert outcomes.count(Outcome.REPLAYED) == 499
        state = await check_books(one)
        assert len(state.bookings) == 1
        assert state.sales["gig"].levels["seat"] == Levels("seat", 9, 1, 0)


async def test_400_buyers_for_50_units_make_exactly_50(redis_url: str) -> None:
    async with opened(redis_url) as one, opened(redis_url) as two:
        await one.sales.put(gig(50))
        answers = await asyncio.gather(
            *(
                (one, two)[at % 2].bookings.reserve("gig", f"buyer-{at}", SEAT, "key")
                for at in range(400)
            )
        )
        outcomes = [answer.outcome for answer in answers]
        assert outcomes.count(Outcome.HELD) == 50
        assert outcomes.count(Outcome.SOLD_OUT) == 350
        state = await check_books(one)
        assert state.sales["gig"].levels["seat"] == Levels("seat", 0, 50, 0)
        assert len(state.bookings) == 50


async def test_a_cart_of_three_with_one_short_takes_nothing(redis_url: str) -> None:
    items = tuple(
        ItemDefinition(name, name, capacity=capacity, unit_price=0)
        for name, capacity in (("a", 100), ("b", 100), ("short", 7))
    )
    cart = [LineRequest("a", 1), LineRequest("b", 2), LineRequest("short", 1)]
    async with opened(redis_url) as engine:
        await engine.sales.put(replace(gig(), items=items))
        answers = await asyncio.gather(
            *(engine.bookings.reserve("gig", f"buyer-{at}", cart, "key") for at in range(40))
        )
        assert [answer.outcome for answer in answers].count(Outcome.HELD) == 7
        refused = [answer for answer in answers if answer.outcome is Outcome.SOLD_OUT]
        assert {answer.item_id for answer in refused} == {"short"}
        state = await check_books(engine)
        assert state.sales["gig"].levels == {
            "a": Levels("a", 93, 7, 0),
            "b": Levels("b", 86, 14, 0),
            "short": Levels("short", 0, 7, 0),
        }


async def test_a_hold_of_a_second_goes_to_the_next_buyer_at_once(redis_url: str) -> None:
    async with opened(redis_url) as engine, Redis.from_url(redis_url) as client:
        await engine.sales.put(gig(1, hold_ms=1_000))
        first = (await engine.bookings.reserve("gig", "ann", SEAT, "key")).booking
        assert first
        early = await engine.bookings.reserve("gig", "bob", SEAT, "key")
        assert early.outcome is Outcome.SOLD_OUT
        while True:
            seconds, micros = await client.time()
            left_ms = first.hold_expires_ms - (seconds * 1000 + micros // 1000)
            if left_ms <= 0:
                break
            await asyncio.sleep(left_ms / 1000)
        next_one = await engine.bookings.reserve("gig", "bob", SEAT, "key")
        assert next_one.outcome is Outcome.HELD
        lost = (await engine.bookings.get(first.booking_id)).booking
        assert lost
        assert lost.cancel_reason is CancelReason.EXPIRED
        await check_books(engine)


async def test_buyers_cancellers_and_payers_leave_equal_books(redis_url: str) -> None:
    async def buy(at: int) -> None:
        bookings = engines[at % 2].bookings
        answer = await bookings.reserve("gig", f"buyer-{at % 30}", SEAT, f"key-{at}")
        if answer.booking is None:
            return
        name, customer_id = answer.booking.booking_id, answer.booking.customer_id
        if at % 3 == 0:
            await bookings.confirm(name, customer_id, f"pay-{at}")
        if at % 3 < 2:
            await asyncio.gather(
                bookings.cancel(name, CancelReason.CUSTOMER, customer_id),
                bookings.cancel(name, CancelReason.OPERATOR),
                bookings.confirm(name, customer_id, f"pay-{at}"),
            )

    async with opened(redis_url) as one, opened(redis_url) as two:
        engines = (one, two)
        await one.sales.put(replace(gig(20), max_units_per_customer=3))
        await asyncio.gather(*(buy(at) for at in range(300)))
        state = await check_books(one)
        level = state.sales["gig"].levels["seat"]
        assert level.capacity == 20
        assert level.held + level.sold == sum(state.sales["gig"].customers.values())
        assert max(state.sales["gig"].customers.values(), default=0) <= 3


async def test_more_due_holds_than_one_reserve_may_take_back_are_taken_in_rounds(
    redis_url: str,
) -> None:
    many = 3 * limits.MAX_TAKEN_BACK_PER_RESERVE
    async with opened(redis_url) as engine:
        await engine.sales.put(gig(many))
        answers = await asyncio.gather(
            *(engine.bookings.reserve("gig", f"b{at}", SEAT, "key") for at in range(many))
        )
        last = max(answer.booking.hold_expires_ms for answer in answers if answer.booking)
        await move_clock(redis_url, "gig", last)
        all_of_it = [LineRequest("seat", many)]
        assert (await engine.bookings.reserve("gig", "ann", all_of_it, "key")).booking
        state = await check_books(engine)
        assert state.sales["gig"].levels["seat"] == Levels("seat", 0, many, 0)


async def test_a_due_hold_behind_many_others_reads_as_expired(redis_url: str) -> None:
    many = limits.MAX_EXPIRED_PER_CALL + 2
    async with opened(redis_url) as engine:
        await engine.sales.put(gig(many))
        for at in range(many - 1):
            await engine.bookings.reserve("gig", f"b{at}", SEAT, "key")
        last = (await engine.bookings.reserve("gig", "last", SEAT, "key")).booking
        assert last
        await move_clock(redis_url, "gig", last.hold_expires_ms)
        read = (await engine.bookings.get(last.booking_id)).booking
        assert read
        assert read.cancel_reason is CancelReason.EXPIRED


async def test_a_script_cache_that_is_emptied_under_load_is_noticed_by_nobody(
    redis_url: str,
) -> None:
    async with opened(redis_url) as engine, Redis.from_url(redis_url) as client:
        await engine.sales.put(gig(300))
        buyers = [
            asyncio.create_task(engine.bookings.reserve("gig", f"b{at}", SEAT, "key"))
            for at in range(300)
        ]
        for _ in range(5):
            await client.script_flush("SYNC")
        answers = await asyncio.gather(*buyers)
        assert {answer.outcome for answer in answers} == {Outcome.HELD}
        await check_books(engine)


async def test_connections_that_are_cut_under_load_lose_and_double_nothing(redis_url: str) -> None:
    async with opened(redis_url) as engine, Redis.from_url(redis_url) as client:
        await engine.sales.put(gig(200))
        buyers = [
            asyncio.create_task(engine.bookings.reserve("gig", f"b{at}", SEAT, "key"))
            for at in range(200)
        ]
        cut = 0
        for _ in range(3):
            for found in await client.client_list():
                if found["name"] == "holdfast-engine":
                    cut += int(await client.client_kill_filter(_id=found["id"]))
        await asyncio.gather(*buyers, return_exceptions=True)
        assert cut, "the fault did not fire"
        answers = await asyncio.gather(
            *(engine.bookings.reserve("gig", f"b{at}", SEAT, "key") for at in range(200))
        )
        assert {answer.outcome for answer in answers} <= {Outcome.HELD, Outcome.REPLAYED}
        state = await check_books(engine)
        assert state.sales["gig"].levels["seat"] == Levels("seat", 0, 200, 0)
        assert len(state.bookings) == 200


async def test_an_engine_closes_in_whatever_moment_of_a_call(redis_url: str) -> None:
    async with opened(redis_url) as engine:
        await engine.sales.put(gig())
    answered = cut_off = 0
    for ticks in range(60):
        engine = await Engine.open(options(redis_url))
        under_way = asyncio.create_task(engine.sales.get("gig"))
        for _ in range(ticks):
            await asyncio.sleep(0)
        async with asyncio.timeout(30):
            await engine.close()
        try:
            assert await under_way
            answered += 1
        except (Unavailable, Overloaded):
            cut_off += 1
    assert answered
    assert cut_off
