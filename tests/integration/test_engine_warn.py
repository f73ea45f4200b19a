"""Warnings on a real server: each hold once, however many there are and whoever looks."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from redis.asyncio import Redis

from engine.engine import Engine
from engine.expiring import Places
from engine.limits import MAX_WARNED_PER_CALL
from engine.types import Booking
from tests.helpers.engines import PARTITIONS, SEAT, check_books, gig, move_clock, opened
from workers.warner import Warner

WARNING_MS = 10_000
"""The tests' holds live for 60 seconds."""


async def held(engine: Engine, count: int) -> list[Booking]:
    answers = await asyncio.gather(
        *(engine.bookings.reserve("gig", f"b{at}", SEAT, "key") for at in range(count))
    )
    return [answer.booking for answer in answers if answer.booking]


async def near_the_end(url: str, bookings: list[Booking]) -> None:
    """Move the clock to where all of them end within the warning."""
    await move_clock(url, "gig", max(one.hold_expires_ms for one in bookings) - WARNING_MS)


async def three_sales_near_the_end(engine: Engine, url: str, partitions: int = PARTITIONS) -> None:
    """Three sales with a hold each, and clocks by which all of them end within the warning."""
    ends_ms = {}
    for name in ("one", "two", "three"):
        await engine.sales.put(replace(gig(), sale_id=name))
        answer = await engine.bookings.reserve(name, "ann", SEAT, "key")
        assert answer.booking
        ends_ms[name] = answer.booking.hold_expires_ms
    for name in ends_ms:
        await move_clock(url, name, max(ends_ms.values()) - WARNING_MS, partitions)


async def test_many_holds_are_warned_of_once_in_slices_and_after_a_restart(redis_url: str) -> None:
    many = 2 * MAX_WARNED_PER_CALL + 10
    async with opened(redis_url) as engine:
        await engine.sales.put(gig(many))
        partition = engine.keys.partition_of_sale("gig")
        bookings = await held(engine, many)
        places = Places()
        assert await engine.expiring.warn(partition, WARNING_MS, places) == 0
        assert places.by_sale == {}, "nothing ends soon"
        await near_the_end(redis_url, bookings)
        assert await engine.expiring.warn(partition, WARNING_MS, places) == many
        assert await engine.expiring.warn(partition, WARNING_MS, places) == 0
        assert await engine.expiring.warn(partition, WARNING_MS, Places()) == 0
        state = await check_books(engine)
        assert all(booking.warned for booking in state.bookings.values())
        assert state.sequence == 1 + 2 * many


async def test_holds_that_end_in_one_millisecond_are_all_warned_of(redis_url: str) -> None:
    many = 2 * MAX_WARNED_PER_CALL + 1
    async with opened(redis_url) as engine:
        # A clock that stands still, as after it was set back.
        await move_clock(redis_url, "gig", 4_000_000_000_000)
        await engine.sales.put(gig(many))
        partition = engine.keys.partition_of_sale("gig")
        bookings = await held(engine, many)
        assert len({one.hold_expires_ms for one in bookings}) == 1
        await near_the_end(redis_url, bookings)
        assert await engine.expiring.warn(partition, WARNING_MS, Places()) == many
        await check_books(engine)


async def test_two_that_look_at_once_warn_of_each_hold_once(redis_url: str) -> None:
    async with opened(redis_url) as one, opened(redis_url) as two:
        await one.sales.put(gig(100))
        partition = one.keys.partition_of_sale("gig")
        await near_the_end(redis_url, await held(one, 100))
        counts = await asyncio.gather(
            *(engine.expiring.warn(partition, WARNING_MS, Places()) for engine in (one, two))
        )
        assert sum(counts) == 100
        assert (await check_books(one)).sequence == 201


async def test_a_worker_warns_of_every_sale_and_with_0_of_none(redis_url: str) -> None:
    async with opened(redis_url) as engine:
        await three_sales_near_the_end(engine, redis_url)
        assert await Warner(engine, 0).run_once() == 0
        warner = Warner(engine, WARNING_MS)
        assert await warner.run_once() == 3
        assert await warner.run_once() == 0


async def test_a_sale_that_is_frozen_is_left_alone_and_the_others_are_not(redis_url: str) -> None:
    async with opened(redis_url, partitions=1) as engine, Redis.from_url(redis_url) as client:
        await three_sales_near_the_end(engine, redis_url, partitions=1)
        meta = engine.keys.meta(0).decode()
        await client.hset(meta, "frozen", "one")
        warner = Warner(engine, WARNING_MS)
        assert await warner.run_once() == 2
        await client.hdel(meta, "frozen")
        assert await warner.run_once() == 1


async def test_a_hold_whose_keys_are_lost_closes_the_partition(redis_url: str) -> None:
    async with opened(redis_url) as engine, Redis.from_url(redis_url) as client:
        await engine.sales.put(gig())
        partition = engine.keys.partition_of_sale("gig")
        (booking,) = await held(engine, 1)
        await client.delete(engine.keys.key("booking", partition, booking.booking_id))
        await near_the_end(redis_url, [booking])
        warner = Warner(engine, WARNING_MS)
        assert await warner.run_once() == 0
        assert (await engine.journal.status(partition)).fenced == "keys_missing"
