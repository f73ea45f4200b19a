"""From the journal to the outbox, and from there on: every event once, in order, whoever dies."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence

import orjson
import pytest
import pytest_asyncio
from redis.asyncio import Redis

from engine.errors import Unavailable
from engine.types import CancelReason, Contact
from persistence import outbox as outbox_module
from persistence.outbox import Outbox, Outgoing, Poisoned
from tests.helpers.ledger import Ledger, booking_entry, booking_id, concert, open_ledger, sale_entry
from tests.helpers.purse import Purse
from workers.settings import queue_pool
from workers.stream import KEY, Streamer

HELD = {"deltas": "seat:-2:2:0", "levels": "seat:98:2:0"}


@pytest_asyncio.fixture
async def ledger(redis_url: str, database_url: str) -> AsyncIterator[Ledger]:
    async with open_ledger(redis_url, database_url) as opened:
        yield opened


@pytest_asyncio.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    async with queue_pool(redis_url) as opened:
        yield opened


def streamer_of(ledger: Ledger, redis: Redis, entries: int = 10_000) -> Streamer:
    return Streamer(Outbox(ledger.pool, streams=True), redis, entries, "/tests")


async def streamed(ledger: Ledger, redis: Redis) -> list[dict[str, object]]:
    """Deal out and publish until nothing is left; what is on the stream."""
    while await Outbox(ledger.pool, streams=True).deal_out(limit=3):
        pass
    while await streamer_of(ledger, redis).run_once():
        pass
    return await on_the_stream(redis)


async def on_the_stream(redis: Redis) -> list[dict[str, object]]:
    return [orjson.loads(fields[b"event"]) for _, fields in await redis.xrange(KEY)]


async def test_a_bookings_life_is_told_in_order_without_gaps_and_without_its_contact(
    ledger: Ledger, redis: Redis
) -> None:
    await ledger.engine.sales.put(concert())
    held = await ledger.hold(contact=Contact("ann@example.com", "+4312345"))
    purse = Purse(ledger.engine)
    paid = await purse.pay(held)
    await ledger.drain_all()
    await purse.refund(paid)
    await ledger.drain_all()
    told = [one for one in await streamed(ledger, redis) if one["subject"] == held.booking_id]
    assert [(one["sequence"], one["type"]) for one in told] == list(
        enumerate(
            (
                "booking.held",
                "payment.begun",
                "payment.authorized",
                "payment.captured",
                "booking.confirmed",
                "booking.cancelled",
                "payment.refund_begun",
                "payment.refunded",
            ),
            1,
        )
    )
    assert len({one["id"] for one in told}) == len(told)
    assert b"ann@example.com" not in orjson.dumps(told)
    assert b"+4312345" not in orjson.dumps(told)
    assert await ledger.rows("SELECT 1 FROM outbox UNION ALL SELECT 1 FROM stream_queue") == []
    assert await ledger.rows(
        "SELECT events FROM bookings WHERE booking_id = $1", held.booking_id
    ) == [(len(told),)]


async def test_many_workers_tell_every_event_once_in_order(ledger: Ledger, redis: Redis) -> None:
    await ledger.engine.sales.put(concert(capacity=1_000))
    for _ in range(30):
        booking = await ledger.hold()
        await ledger.engine.bookings.extend(booking.booking_id, "ann")
        await ledger.engine.bookings.cancel(booking.booking_id, CancelReason.CUSTOMER)
    await ledger.drain_all()
    outboxes = [Outbox(ledger.pool, streams=True) for _ in range(4)]
    streamers = [streamer_of(ledger, redis) for _ in range(4)]
    taken = 0
    while await ledger.rows("SELECT 1 FROM outbox UNION ALL SELECT 1 FROM stream_queue LIMIT 1"):
        counts = await asyncio.gather(
            *(one.deal_out(limit=7) for one in outboxes), *(one.run_once() for one in streamers)
        )
        taken += sum(counts[:4])
    assert taken == 91
    sequences: dict[object, list[object]] = defaultdict(list)
    for event in await on_the_stream(redis):
        sequences[event["subject"]].append(event["sequence"])
    assert len(sequences) == 31
    assert all(found in ([1], [1, 2, 3]) for found in sequences.values())


async def test_a_worker_that_dies_after_publishing_publishes_the_same_again(
    ledger: Ledger, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ledger.engine.sales.put(concert())
    await ledger.hold()
    await ledger.drain_all()
    outbox = Outbox(ledger.pool, streams=True)
    assert await outbox.deal_out() == 2
    park = outbox_module._park

    async def die(*_args: object) -> None:
        raise asyncio.CancelledError

    monkeypatch.setattr(outbox_module, "_park", die)
    with pytest.raises(asyncio.CancelledError):
        await streamer_of(ledger, redis).run_once()
    once = await on_the_stream(redis)
    assert len(once) == 2, "the worker died after it had published"
    monkeypatch.setattr(outbox_module, "_park", park)
    assert await streamer_of(ledger, redis).run_once() == 2
    assert await on_the_stream(redis) == once * 2


async def test_while_the_streams_redis_is_away_its_events_wait(
    ledger: Ledger, redis: Redis
) -> None:
    await ledger.engine.sales.put(concert())
    await ledger.drain_all()
    assert await Outbox(ledger.pool, streams=True).deal_out() == 1
    async with queue_pool("redis://127.0.0.1:1") as nowhere:
        with pytest.raises(Unavailable):
            await streamer_of(ledger, nowhere).run_once()
    assert len(await streamed(ledger, redis)) == 1


async def test_an_event_that_cannot_be_said_is_parked_and_the_rest_flows(
    ledger: Ledger, redis: Redis
) -> None:
    for number in (1, 2, 3):
        await ledger.append(0, booking_entry("held", number, 1, **HELD))
    await ledger.drain_all()
    await ledger.pool.execute("UPDATE journal SET entry = '{}' WHERE sequence = 2")
    assert [one["subject"] for one in await streamed(ledger, redis)] == [
        booking_id(1),
        booking_id(3),
    ]
    parked = await ledger.rows(
        "SELECT destination, event_id, subject, state, detail FROM deliveries"
    )
    assert parked == [("stream", "000-1-2", booking_id(2), "parked", "KeyError: 'type'")]


async def test_the_stream_is_bounded(ledger: Ledger, redis: Redis) -> None:
    await ledger.append(0, sale_entry(), *(sale_entry(n) for n in range(2, 502)))
    await ledger.drain_all()
    await Outbox(ledger.pool, streams=True).deal_out()
    assert await streamer_of(ledger, redis, entries=100).run_once() == 501
    assert 100 <= await redis.xlen(KEY) < 300


async def test_without_a_stream_events_leave_the_outbox_and_go_nowhere(
    ledger: Ledger, redis: Redis
) -> None:
    await ledger.engine.sales.put(concert())
    await ledger.drain_all()
    assert await Outbox(ledger.pool, streams=False).deal_out() == 1
    assert await streamer_of(ledger, redis, entries=0).run_once() == 0
    assert await ledger.rows("SELECT 1 FROM outbox UNION ALL SELECT 1 FROM stream_queue") == []
    assert await redis.exists(KEY) == 0


async def test_an_entry_in_quarantine_is_no_event(ledger: Ledger) -> None:
    await ledger.append(0, booking_entry("held", 1, 1, **HELD))
    await ledger.append(0, booking_entry("extended", 1, 3))
    await ledger.drain_all()
    assert await ledger.rows("SELECT event_id FROM outbox") == [("000-1-1",)]


async def test_events_of_a_batch_that_is_rolled_back_are_told_once_when_it_is_made_up_for(
    ledger: Ledger,
) -> None:
    # The second says a price that PostgreSQL refuses: the batch is halved until it is alone.
    big = str(2**70)
    await ledger.append(0, booking_entry("held", 1, 1, **HELD))
    await ledger.append(0, booking_entry("held", 2, 1, **HELD | {"lines": f"seat:2:{big}"}))
    await ledger.append(0, booking_entry("held", 3, 1, **HELD))
    await ledger.drain_all()
    assert await ledger.rows("SELECT event_id FROM outbox ORDER BY position") == [
        ("000-1-1",),
        ("000-1-3",),
    ]


async def test_nobody_publishes_beside_another(ledger: Ledger) -> None:
    await ledger.engine.sales.put(concert())
    await ledger.drain_all()
    outbox = Outbox(ledger.pool, streams=True)
    await outbox.deal_out()
    inside, go_on = asyncio.Event(), asyncio.Event()

    async def slowly(events: Sequence[Outgoing]) -> list[Poisoned]:
        assert len(events) == 1
        inside.set()
        await go_on.wait()
        return []

    publishing = asyncio.create_task(outbox.stream(slowly))
    await inside.wait()
    assert await outbox.stream(slowly) == 0
    go_on.set()
    assert await publishing == 1
