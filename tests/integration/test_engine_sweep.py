"""The engine's chores on a real server: sweeping, trimming, statuses, rates."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
import redis

from engine import limits
from engine.errors import Fenced
from engine.outcomes import Outcome
from engine.types import CancelReason, Levels, LineRequest, RateLimit
from tests.helpers.engines import PARTITIONS, SEAT, check_books, gig, move_clock, opened


async def test_a_sweep_ends_what_is_due_in_slices(redis_url: str) -> None:
    many = limits.MAX_EXPIRED_PER_CALL + 10
    async with opened(redis_url) as engine:
        await engine.sales.put(gig(many))
        partition = engine.keys.partition_of_sale("gig")
        answers = await asyncio.gather(
            *(engine.bookings.reserve("gig", f"b{at}", SEAT, "key") for at in range(many))
        )
        assert await engine.bookings.sweep(partition, 1_000) == 0
        last = max(answer.booking.hold_expires_ms for answer in answers if answer.booking)
        await move_clock(redis_url, "gig", last)
        assert await engine.bookings.sweep(partition, 1) == limits.MAX_EXPIRED_PER_CALL
        assert await engine.bookings.sweep(partition, 1_000) == 10
        assert await engine.bookings.sweep(partition, 1_000) == 0
        state = await check_books(engine)
        assert state.sales["gig"].levels["seat"] == Levels("seat", many, 0, 0)
        reasons = {booking.cancel_reason for booking in state.bookings.values()}
        assert reasons == {CancelReason.EXPIRED}


async def test_two_sweepers_at_once_give_each_unit_back_once(redis_url: str) -> None:
    many = 3 * limits.MAX_EXPIRED_PER_CALL
    async with opened(redis_url) as one, opened(redis_url) as two:
        await one.sales.put(gig(many))
        partition = one.keys.partition_of_sale("gig")
        answers = await asyncio.gather(
            *(one.bookings.reserve("gig", f"b{at}", SEAT, "key") for at in range(many))
        )
        last = max(answer.booking.hold_expires_ms for answer in answers if answer.booking)
        await move_clock(redis_url, "gig", last)
        swept = await asyncio.gather(
            *(engine.bookings.sweep(partition, many) for engine in (one, two, one, two))
        )
        assert sum(swept) == many
        assert sum(count > 0 for count in swept) > 1, "one of them found all of it"
        state = await check_books(one)
        assert state.sales["gig"].levels["seat"] == Levels("seat", many, 0, 0)
        assert state.sequence == 1 + 2 * many


async def test_a_sweep_goes_on_to_the_next_sale(redis_url: str) -> None:
    async with opened(redis_url, partitions=1) as engine:
        for name in ("one", "two", "three"):
            await engine.sales.put(replace(gig(), sale_id=name))
            answer = await engine.bookings.reserve(name, "ann", SEAT, "key")
        assert answer.booking
        await move_clock(redis_url, "one", answer.booking.hold_expires_ms, partitions=1)
        assert await engine.bookings.sweep(0, 10) == 3


async def test_what_is_due_counts_as_available(redis_url: str) -> None:
    async with opened(redis_url) as engine:
        await engine.sales.put(gig(5))
        wanted = [LineRequest("seat", 2), LineRequest("seat", 1)]
        held = (await engine.bookings.reserve("gig", "ann", wanted, "key")).booking
        assert held
        live = await engine.sales.availability("gig")
        await move_clock(redis_url, "gig", held.hold_expires_ms)
        due = await engine.sales.availability("gig")
        assert live
        assert due
        assert live.items == (Levels("seat", 2, 3, 0),)
        assert due.items == (Levels("seat", 5, 0, 0),)
        assert due.as_of_ms == held.hold_expires_ms


async def test_a_status_tells_what_postgresql_lacks(redis_url: str) -> None:
    async with opened(redis_url) as engine:
        await engine.sales.put(gig())
        held = (await engine.bookings.reserve("gig", "ann", SEAT, "key")).booking
        assert held
        partition = engine.keys.partition_of_sale("gig")
        before = await engine.journal.status(partition)
        assert (before.generation, before.sequence, before.drained) == (1, 2, 0)
        assert before.entries == 2
        assert before.bytes > 0
        assert before.oldest_ms
        assert before.oldest_ms <= held.created_ms
        await engine.journal.trim(partition, 1, 1)
        after = await engine.journal.status(partition)
        assert (after.drained, after.oldest_ms) == (1, held.created_ms)
        await engine.journal.trim(partition, 2, 2)
        assert (await engine.journal.status(partition)).oldest_ms is None
        everything = await engine.journal.statuses()
        assert [status.partition for status in everything] == list(range(PARTITIONS))
        await engine.journal.fence(partition, "operator")
        fenced = await engine.journal.status(partition)
        assert (fenced.fenced, fenced.sequence) == ("operator", 2)


async def test_a_backlog_at_its_bound_sheds_new_holds_alone(redis_url: str) -> None:
    async with opened(redis_url, max_backlog_entries=2) as engine:
        await engine.sales.put(gig())
        held = (await engine.bookings.reserve("gig", "ann", SEAT, "key")).booking
        assert held
        refused = await engine.bookings.reserve("gig", "bob", SEAT, "key")
        assert refused.outcome is Outcome.BACKLOG_FULL
        cancelled = await engine.bookings.cancel(held.booking_id, CancelReason.CUSTOMER)
        assert cancelled.outcome is Outcome.CANCELLED
        await engine.journal.trim(engine.keys.partition_of_sale("gig"), 3, 1)
        assert (await engine.bookings.reserve("gig", "bob", SEAT, "key")).booking


async def test_a_rate_is_each_customers_own(redis_url: str) -> None:
    slow = RateLimit(interval_us=3_600_000_000, burst=2)
    async with opened(redis_url, rate_limit=slow) as engine:
        await engine.sales.put(gig())
        answers = await asyncio.gather(
            *(engine.bookings.reserve("gig", "ann", SEAT, f"key-{at}") for at in range(5)),
            engine.bookings.reserve("gig", "bob", SEAT, "key"),
        )
        outcomes = [answer.outcome for answer in answers]
        assert outcomes == [Outcome.HELD] * 2 + [Outcome.RATE_LIMITED] * 3 + [Outcome.HELD]
        assert all(answer.retry_after_ms for answer in answers[2:5])


async def test_a_partition_that_was_never_initialised_is_fenced(redis_url: str) -> None:
    async with opened(redis_url) as engine:
        with redis.Redis.from_url(redis_url) as client:
            client.flushall()
        with pytest.raises(Fenced, match="meta_missing"):
            await engine.sales.list()
