"""What was changed of payments behind the books' backs is found by `holdfast verify`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from engine.types import Booking, ItemDefinition, SaleDefinition
from tests.helpers.planted import Books, planted_books
from tests.helpers.purse import Purse
from workers import verify

PAID = "paid"


class PaidBooks(Books):
    """Books with payments: an open one, one to capture, a captured one and a refunded one."""

    payers: dict[str, Booking]

    async def pay(self) -> None:
        engine, purse = self.stage.engine, Purse(self.stage.engine)
        item = ItemDefinition("seat", "Seat", 20, unit_price=2_500)
        await engine.sales.put(SaleDefinition(PAID, "Paid", (item,), hold_ms=60_000))
        self.payers = {name: await self.stage.hold(name, 1, PAID) for name in "abcd"}
        self.payers["a"] = await purse.begin(self.payers["a"])
        self.payers["b"] = await purse.authorize(await purse.begin(self.payers["b"]))
        declined = await purse.decline(await purse.begin(self.payers["c"]))
        self.payers["c"] = await purse.pay(declined)
        self.payers["d"] = await purse.refund(await purse.pay(self.payers["d"]))
        await self.stage.drain_all()

    def paid_key(self, family: str, *parts: str) -> str:
        partition = self.stage.partition(PAID)
        return self.stage.engine.keys.key(family, partition, *parts)

    def hash_of(self, name: str) -> str:
        return self.paid_key("booking", self.payers[name].booking_id)


PaidPlant = Callable[[PaidBooks], Awaitable[str]]
"""Makes a difference; answers words of the line that must name it."""


@pytest.fixture
async def books(redis_url: str, database_url: str) -> AsyncIterator[PaidBooks]:
    async with planted_books(redis_url, database_url) as filled:
        paid = PaidBooks(filled.stage, filled.redis, filled.database)
        await paid.pay()
        yield paid


async def test_equal_books_say_how_many_payments_were_compared(books: PaidBooks) -> None:
    report = await books.verify()
    assert report.differences == []
    assert verify.summary(report)["payments"] == 5


async def status_in_redis(books: PaidBooks) -> str:
    await books.redis.hset(books.hash_of("b"), "payment_status", "CAPTURED")
    return "in Redis is not what entry"


async def capture_in_redis(books: PaidBooks) -> str:
    await books.redis.hset(books.hash_of("c"), "payment_capture_id", "ch_other")
    return "in Redis is not what entry"


async def payment_lost_in_redis(books: PaidBooks) -> str:
    await books.redis.hdel(books.hash_of("c"), "payment_status")
    return "in Redis is not what entry"


async def payment_unreadable_in_redis(books: PaidBooks) -> str:
    await books.redis.hset(books.hash_of("c"), "payment_attempt", "many")
    return "its fields in Redis do not make a booking"


async def look_lost(books: PaidBooks) -> str:
    await books.redis.zrem(books.paid_key("payments"), books.payers["a"].booking_id)
    return "its payment is open, and no worker will look at it"


async def look_lost_after_its_hold(books: PaidBooks) -> str:
    await books.redis.zrem(books.paid_key("payments"), books.payers["b"].booking_id)
    return "has 1 open payments, the journal 2"


async def look_invented(books: PaidBooks) -> str:
    await books.redis.zadd(books.paid_key("payments"), {books.payers["c"].booking_id: 1})
    return "has 3 open payments, the journal 2"


async def deadline_before_its_own(books: PaidBooks) -> str:
    booking = books.payers["a"]
    deadlines = books.paid_key("deadlines", PAID)
    await books.redis.zadd(deadlines, {booking.booking_id: booking.hold_expires_ms - 1})
    return f"deadline {booking.hold_expires_ms - 1} in Redis, {booking.hold_expires_ms} in the"


async def deadline_not_that_of_the_hash(books: PaidBooks) -> str:
    await books.redis.hincrby(books.hash_of("a"), "deadline_ms", 7)
    return "in its own hash"


async def status_in_postgres(books: PaidBooks) -> str:
    await books.sql("UPDATE payments SET status = 'VOIDED' WHERE status = 'CAPTURED'")
    return f"booking {books.payers['c'].booking_id}, payment 2"


async def earlier_attempt_in_postgres(books: PaidBooks) -> str:
    await books.sql("UPDATE payments SET decline_code = 'x' WHERE status = 'DECLINED'")
    return f"booking {books.payers['c'].booking_id}, payment 1"


async def amount_in_postgres(books: PaidBooks) -> str:
    await books.sql("UPDATE payments SET amount = 1 WHERE attempt = 2")
    return "amount is 1 in PostgreSQL, 2500 in the journal"


async def step_time_in_postgres(books: PaidBooks) -> str:
    await books.sql("UPDATE payments SET step_ms = 1 WHERE step = 'capture'")
    return "step_ms is 1 in PostgreSQL"


async def payment_lost_in_postgres(books: PaidBooks) -> str:
    await books.sql("DELETE FROM payments WHERE status = 'DECLINED'")
    return f"booking {books.payers['c'].booking_id}, payment 1 at"


async def payment_invented_in_postgres(books: PaidBooks) -> str:
    await books.sql("UPDATE payments SET attempt = 9 WHERE status = 'REFUNDED'")
    return f"booking {books.payers['d'].booking_id}, payment 9 at"


PLANTS: tuple[PaidPlant, ...] = (
    status_in_redis,
    capture_in_redis,
    payment_lost_in_redis,
    payment_unreadable_in_redis,
    look_lost,
    look_lost_after_its_hold,
    look_invented,
    deadline_before_its_own,
    deadline_not_that_of_the_hash,
    status_in_postgres,
    earlier_attempt_in_postgres,
    amount_in_postgres,
    step_time_in_postgres,
    payment_lost_in_postgres,
    payment_invented_in_postgres,
)


@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: plant.__name__)
async def test_a_planted_difference_is_named(books: PaidBooks, plant: PaidPlant) -> None:
    expected = await plant(books)
    report = await books.verify()
    assert any(expected in line for line in report.differences), report.differences
