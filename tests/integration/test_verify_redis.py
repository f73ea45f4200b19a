"""What was changed in Redis behind the engine's back is found by `holdfast verify`."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.helpers.planted import SALE, Books, Plant, planted_books


@pytest.fixture
async def books(redis_url: str, database_url: str) -> AsyncIterator[Books]:
    async with planted_books(redis_url, database_url) as filled:
        yield filled


async def level_in_redis(books: Books) -> str:
    await books.redis.hincrby(books.key("stock", SALE), "seat:available", 1)
    return f"sale {SALE} at 8, item seat: 15 available, 4 held, 2 sold in Redis"


async def unit_moved_in_redis(books: Books) -> str:
    await books.redis.hincrby(books.key("stock", SALE), "seat:held", -1)
    await books.redis.hincrby(books.key("stock", SALE), "seat:sold", 1)
    return "14 available, 3 held, 3 sold in Redis, 14 available, 4 held, 2 sold in the journal"


async def price_in_redis(books: Books) -> str:
    await books.redis.hset(books.key("stock", SALE), "seat:unit_price", "1")
    return "item seat: unit_price is not 0 in Redis"


async def item_in_redis(books: Books) -> str:
    await books.redis.hset(books.key("stock", SALE), "box:available", "9")
    return "item box: only Redis has it"


async def sale_in_redis(books: Books) -> str:
    await books.redis.hset(books.key("sale", SALE), "closes_ms", "1")
    return "closes_ms is 1 in Redis, 0 in the journal"


async def sale_unlisted(books: Books) -> str:
    await books.redis.zrem(books.key("sales"), SALE)
    return f"sale {SALE} is not in Redis's list of sales"


async def sale_lost(books: Books) -> str:
    await books.redis.delete(books.key("sale", SALE))
    return "only the journal has it"


async def customer_in_redis(books: Books) -> str:
    await books.redis.hincrby(books.key("customers", SALE), "bob", 1)
    return "customer bob: 3 units in Redis, 2 in the journal"


async def customer_lost(books: Books) -> str:
    await books.redis.hdel(books.key("customers", SALE), "ann")
    return "customer ann: 0 units in Redis, 2 in the journal"


async def customer_invented(books: Books) -> str:
    await books.redis.hset(books.key("customers", SALE), "eve", "5")
    return "Redis counts 4 customers with units, the journal 3"


async def deadline_moved(books: Books) -> str:
    booking = books.bookings["ann"]
    await books.redis.zincrby(books.key("deadlines", SALE), 1, booking.booking_id)
    return f"deadline {booking.hold_expires_ms + 1} in Redis"


async def deadline_lost(books: Books) -> str:
    await books.redis.zrem(books.key("deadlines", SALE), books.bookings["ann"].booking_id)
    return "deadline None in Redis"


async def deadline_of_nothing(books: Books) -> str:
    await books.redis.zadd(books.key("deadlines", SALE), {"000made-up": 9e12})
    return "Redis has deadlines of 3 holds, the journal 2 holds"


async def sale_never_swept(books: Books) -> str:
    await books.redis.zrem(books.key("due"), SALE)
    return "the sweeper would look at None"


async def hold_lost(books: Books) -> str:
    await books.redis.delete(books.booking_key("ann"))
    return "None of version None in Redis, PENDING of version 1 in the journal"


async def booking_in_redis(books: Books) -> str:
    await books.redis.hset(books.booking_key("bob"), "lines", "seat:3:0")
    return "version 2 in Redis is not what entry 6 made it"


async def booking_unreadable(books: Books) -> str:
    await books.redis.hdel(books.booking_key("bob"), "amount")
    return "its fields in Redis do not make a booking"


async def booking_gone_back(books: Books) -> str:
    """As it was before it was confirmed, consistent in itself."""
    name = books.booking_key("bob")
    await books.redis.hset(
        name,
        mapping={
            "status": "PENDING",
            "version": "1",
            "sequence": "3",
            "updated_ms": str(books.bookings["bob"].created_ms),
        },
    )
    return "entry 6 changed it and Redis does not know"


async def booking_from_the_future(books: Books) -> str:
    await books.redis.hset(books.booking_key("bob"), "sequence", "77")
    return "its last entry would be 77, not written"


async def booking_invented(books: Books) -> str:
    partition = books.stage.partition(SALE)
    name = f"{partition:03x}00000000000000000000000000"
    fields: dict[bytes, bytes] = await books.redis.hgetall(books.booking_key("bob"))
    await books.redis.hset(books.key("booking", name), mapping=fields)
    return f"booking {name}: version 2 in Redis is not what entry 6 made it"


async def entry_in_redis(books: Books) -> str:
    journal = books.key("journal")
    entries = await books.redis.xrange(journal)
    await books.redis.delete(journal)
    for sequence, fields in entries:
        text = fields[b"entry"]
        if sequence == b"8-0":
            text = text.replace(b'"trace":""', b'"trace":"0"')
        await books.redis.xadd(journal, {"entry": text}, id=sequence)
    return "entry 8 is not the same in Redis and PostgreSQL"


async def entry_lost_in_redis(books: Books) -> str:
    await books.redis.xdel(books.key("journal"), "5-0")
    return "Redis's journal lacks 5 to 5"


async def fence(books: Books) -> str:
    await books.stage.engine.journal.fence(books.stage.partition(SALE), "operator")
    return "is fenced: operator"


async def meta_lost(books: Books) -> str:
    await books.redis.delete(books.key("meta"))
    return "is fenced: meta_missing"


async def older_redis(books: Books) -> str:
    await books.redis.hset(books.key("meta"), "sequence", "3")
    return "is fenced: sequence"


PLANTS: tuple[Plant, ...] = (
    level_in_redis,
    unit_moved_in_redis,
    price_in_redis,
    item_in_redis,
    sale_in_redis,
    sale_unlisted,
    sale_lost,
    customer_in_redis,
    customer_lost,
    customer_invented,
    deadline_moved,
    deadline_lost,
    deadline_of_nothing,
    sale_never_swept,
    hold_lost,
    booking_in_redis,
    booking_unreadable,
    booking_gone_back,
    booking_from_the_future,
    booking_invented,
    entry_in_redis,
    entry_lost_in_redis,
    fence,
    meta_lost,
    older_redis,
)


@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: plant.__name__)
async def test_a_planted_difference_is_named(books: Books, plant: Plant) -> None:
    expected = await plant(books)
    report = await books.verify()
    assert any(expected in line for line in report.differences), report.differences
