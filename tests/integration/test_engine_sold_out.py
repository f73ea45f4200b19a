"""What is sold out is refused in one run a tick, and never a moment longer than it is sold out."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from engine import limits
from engine.calls import Caller, Reply
from engine.outcomes import Outcome
from engine.types import CancelReason, ItemDefinition, LineRequest, RateLimit, SaleDefinition
from tests.helpers.engines import SEAT, check_books, gig, opened


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The scripts that were run, by name. What is remembered is so for the whole test."""
    names: list[str] = []
    run = Caller.run

    async def noting(caller: Caller, name: str, *args: Any) -> Reply:
        names.append(name)
        return await run(caller, name, *args)

    monkeypatch.setattr(Caller, "run", noting)
    monkeypatch.setattr("engine.sold_out.SOLD_OUT_REMEMBERED_MS", 60_000)
    return names


def test_what_is_remembered_is_remembered_for_a_moment() -> None:
    assert limits.SOLD_OUT_REMEMBERED_MS <= 50


async def test_the_refusals_of_one_tick_are_one_run(redis_url: str, ran: list[str]) -> None:
    async with opened(redis_url) as engine:
        await engine.sales.put(gig(1))
        await engine.bookings.reserve("gig", "ann", SEAT, "key")
        first = await engine.bookings.reserve("gig", "bob", SEAT, "key")
        ran.clear()
        others = await asyncio.gather(
            *(engine.bookings.reserve("gig", f"buyer-{at}", SEAT, "key") for at in range(300))
        )
    assert first.outcome is Outcome.SOLD_OUT
    assert set(others) == {first}
    assert ran == ["refuse", "refuse"], "256 calls at the most in each"


async def test_who_was_sold_something_hears_that_again(redis_url: str, ran: list[str]) -> None:
    async with opened(redis_url) as engine:
        await engine.sales.put(gig(1))
        held = await engine.bookings.reserve("gig", "ann", SEAT, "key")
        await engine.bookings.reserve("gig", "bob", SEAT, "key")
        ran.clear()
        again = await engine.bookings.reserve("gig", "ann", SEAT, "key")
        other = await engine.bookings.reserve("gig", "ann", [LineRequest("seat", 2)], "key")
        fresh = await engine.bookings.reserve("gig", "ann", SEAT, "another-key")
    assert (again.outcome, again.booking) == (Outcome.REPLAYED, held.booking)
    assert other.outcome is Outcome.IDEMPOTENCY_KEY_REUSED
    assert fresh.outcome is Outcome.SOLD_OUT
    assert ran == ["refuse", "reserve", "reserve", "refuse"]


@pytest.mark.parametrize("same_process", [True, False])
async def test_a_unit_that_comes_back_is_sold_to_the_next(
    redis_url: str, ran: list[str], same_process: bool
) -> None:
    async with opened(redis_url) as one, opened(redis_url) as two:
        await one.sales.put(gig(1))
        held = await one.bookings.reserve("gig", "ann", SEAT, "key")
        assert held.booking
        await one.bookings.reserve("gig", "bob", SEAT, "key")
        canceller = one if same_process else two
        await canceller.bookings.cancel(held.booking.booking_id, CancelReason.CUSTOMER)
        ran.clear()
        sold = await one.bookings.reserve("gig", "carl", SEAT, "key")
        assert ran == (["reserve"] if same_process else ["refuse", "reserve"])
        await check_books(one)
    assert sold.outcome is Outcome.HELD


async def test_a_hold_that_is_due_is_taken_back_though_it_was_remembered(
    redis_url: str, ran: list[str]
) -> None:
    async with opened(redis_url) as engine:
        await engine.sales.put(gig(1, hold_ms=1_000))
        await engine.bookings.reserve("gig", "ann", SEAT, "key")
        assert (await engine.bookings.reserve("gig", "bob", SEAT, "key")).outcome is (
            Outcome.SOLD_OUT
        )
        await asyncio.sleep(1.1)
        ran.clear()
        assert (await engine.bookings.reserve("gig", "carl", SEAT, "key")).outcome is Outcome.HELD
    assert ran == ["reserve"]


async def test_the_rate_is_spent_by_these_refusals_too(redis_url: str, ran: list[str]) -> None:
    rate = RateLimit(interval_us=3_600_000_000, burst=3)
    async with opened(redis_url, rate_limit=rate) as engine:
        await engine.sales.put(gig(1))
        await engine.bookings.reserve("gig", "ann", SEAT, "key")
        answers = [await engine.bookings.reserve("gig", "bob", SEAT, f"k{at}") for at in range(4)]
        trusted = await engine.bookings.reserve("gig", "bob", SEAT, "k9", limited=False)
    assert [answer.outcome for answer in answers] == [Outcome.SOLD_OUT] * 3 + [Outcome.RATE_LIMITED]
    assert (answers[3].retry_after_ms or 0) > 3_000_000
    assert trusted.outcome is Outcome.SOLD_OUT
    assert ran.count("refuse") == 4


async def test_nothing_is_remembered_where_the_answer_is_one_customers_own(
    redis_url: str, ran: list[str]
) -> None:
    items = (ItemDefinition("seat", "A seat", capacity=1, unit_price=0),)
    capped = SaleDefinition("gig", "A gig", items, max_units_per_customer=1)
    async with opened(redis_url) as engine:
        await engine.sales.put(capped)
        await engine.bookings.reserve("gig", "ann", SEAT, "key")
        bob = await engine.bookings.reserve("gig", "bob", SEAT, "key")
        ann = await engine.bookings.reserve("gig", "ann", SEAT, "another")
    assert (bob.outcome, ann.outcome) == (Outcome.SOLD_OUT, Outcome.CUSTOMER_LIMIT)
    assert "refuse" not in ran


async def test_other_lines_are_looked_at_by_themselves(redis_url: str, ran: list[str]) -> None:
    async with opened(redis_url) as engine:
        await engine.sales.put(gig(2))
        two = [LineRequest("seat", 2)]
        await engine.bookings.reserve("gig", "ann", SEAT, "key")
        assert (await engine.bookings.reserve("gig", "bob", two, "key")).outcome is (
            Outcome.SOLD_OUT
        )
        assert (await engine.bookings.reserve("gig", "carl", SEAT, "key")).outcome is Outcome.HELD
    assert "refuse" not in ran
