"""Redis written anew from PostgreSQL holds what it held, and goes on from there."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from engine.errors import Fenced
from engine.outcomes import Outcome
from engine.payments.limits import PAYMENT_GRACE_MS
from engine.types import Status
from tests.helpers.ruins import CAP, CONTACT, HOLD_MS, SALE, Ruins, open_ruins


@pytest.fixture
async def ruins(redis_url: str, database_url: str) -> AsyncIterator[Ruins]:
    async with open_ruins(redis_url, database_url) as opened:
        await opened.furnish()
        await opened.on.drain_all()
        yield opened


def kept(before: dict[str, Any]) -> dict[str, Any]:
    """What of a dump a rebuild brings back: bookings that are over stay in PostgreSQL."""
    over = set()
    for name, fields in before.items():
        if name.startswith("booking:"):
            live = (
                fields[b"status"] == b"PENDING" or fields.get(b"payment_step", b"none") != b"none"
            )
            if not live:
                over.add(name.removeprefix("booking:"))
    return {
        name: value
        for name, value in before.items()
        if not (name.startswith(("booking:", "contact:")) and name.partition(":")[2] in over)
    }


async def test_a_rebuild_writes_what_the_scripts_wrote(ruins: Ruins) -> None:
    before = await ruins.dump()
    await ruins.redis.flushall()
    with pytest.raises(Fenced, match="meta_missing"):
        await ruins.hold("late", "kim")
    result = await ruins.rebuild()
    assert not result.refused
    assert {one.reason for one in result.partitions} == {"meta_missing"}
    assert len(result.partitions) == 4

    after = await ruins.dump()
    looks, expected = after.pop("payments"), kept(before)
    assert looks.keys() == expected.pop("payments").keys()
    assert after == expected
    mine = next(one for one in result.partitions if one.partition == ruins.partition)
    assert (mine.sales, mine.holds, mine.payments) == (1, 5, 4)
    assert (mine.salvaged, mine.dropped, mine.generation) == (0, 0, 2)
    assert mine.records == len([name for name in after if name.startswith("idempotency:")])
    await ruins.check_equal()


async def test_every_process_goes_on_by_itself_after_a_rebuild(ruins: Ruins) -> None:
    await ruins.redis.flushall()
    await ruins.rebuild()
    await ruins.hold("first", "kim")
    entries = await ruins.redis.xrange(ruins.key("journal"))
    assert b'"type":"rebuilt"' in entries[1][1][b"entry"]
    # By a drain that was at work before: it finds out by itself.
    await ruins.on.drain_all()
    await ruins.on.drain_all()
    rows = await ruins.on.pool.fetch(
        "SELECT type, generation FROM journal WHERE partition = $1 ORDER BY sequence DESC LIMIT 3",
        ruins.partition,
    )
    assert [tuple(row) for row in rows] == [("held", 2), ("rebuilt", 2), ("cancelled", 1)]


async def test_the_same_request_gets_its_first_answer_after_a_rebuild(ruins: Ruins) -> None:
    ttl_ms = await ruins.redis.pttl(
        ruins.key("idempotency", "hold", SALE, ruins.keys_of["gone"], "jim")
    )
    await ruins.redis.flushall()
    await ruins.rebuild()
    for name, customer_id in (("held", "ann"), ("paid", "dan"), ("gone", "jim")):
        quantity = 2 if name == "paid" else 1
        contact = CONTACT if name == "held" else None
        again = await ruins.send(name, customer_id, quantity=quantity, contact=contact)
        assert again.outcome is Outcome.REPLAYED
        assert again.booking == ruins.bookings[name]
    other = await ruins.send("gone", "jim", quantity=2)
    assert other.outcome is Outcome.IDEMPOTENCY_KEY_REUSED
    left_ms = await ruins.redis.pttl(
        ruins.key("idempotency", "hold", SALE, ruins.keys_of["gone"], "jim")
    )
    assert 0 < left_ms <= ttl_ms


async def test_caps_count_bookings_that_are_only_in_postgresql(ruins: Ruins) -> None:
    await ruins.redis.flushall()
    await ruins.rebuild()
    ruins.keys_of["more"] = "k1"
    refused = await ruins.send("more", "dan", quantity=CAP - 1)
    assert refused.outcome is Outcome.CUSTOMER_LIMIT
    await ruins.hold("rest", "dan", quantity=CAP - 2)
    await ruins.check_equal()


async def test_holds_expire_and_payments_are_looked_at_after_a_rebuild(ruins: Ruins) -> None:
    await ruins.redis.flushall()
    await ruins.rebuild()
    due = await ruins.on.engine.payments.due(ruins.partition, 10)
    names = ("authorizing", "capturing", "unknown", "refunding")
    assert set(due) == {ruins.bookings[name].booking_id for name in names}
    held = ruins.bookings["held"]
    authorizing = ruins.bookings["authorizing"]
    last_ms = authorizing.hold_expires_ms + PAYMENT_GRACE_MS - 1
    await ruins.redis.hset(ruins.key("meta"), "last_ms", last_ms)
    await ruins.on.engine.bookings.sweep(ruins.partition, 100)
    now = (await ruins.on.engine.bookings.get(held.booking_id)).booking
    assert now
    assert now.status is Status.CANCELLED
    still = (await ruins.on.engine.bookings.get(authorizing.booking_id)).booking
    assert still
    assert still.status is Status.PENDING, "its grace is not over"
    await ruins.redis.hset(ruins.key("meta"), "last_ms", last_ms + 1)
    await ruins.on.engine.bookings.sweep(ruins.partition, 100)
    still = (await ruins.on.engine.bookings.get(authorizing.booking_id)).booking
    assert still
    assert still.status is Status.CANCELLED
    assert HOLD_MS < PAYMENT_GRACE_MS
    claimed = await ruins.purse.claim(ruins.bookings["capturing"])
    await ruins.purse.capture(claimed)
    await ruins.check_equal()
