"""The journal goes over into PostgreSQL: every entry once, in order, chained, under its cursor."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from engine.types import CancelReason, Floor
from tests.helpers.ledger import Ledger, concert, open_ledger


@pytest_asyncio.fixture
async def ledger(redis_url: str, database_url: str) -> AsyncIterator[Ledger]:
    async with open_ledger(redis_url, database_url) as opened:
        yield opened


async def test_every_entry_is_in_postgresql_byte_for_byte(ledger: Ledger) -> None:
    await ledger.engine.sales.put(concert())
    booking_id = (await ledger.hold()).booking_id
    await ledger.engine.bookings.cancel(booking_id, CancelReason.CUSTOMER)
    partition = ledger.engine.keys.partition_of_sale("concert")
    written = await ledger.engine.journal.read(partition, 1, 10)

    assert await ledger.drain_all() == 3

    rows = await ledger.rows("SELECT sequence, entry FROM journal WHERE partition = $1", partition)
    assert rows == [(entry.sequence, entry.text) for entry in written.entries]
    kinds = await ledger.rows("SELECT type, booking_id, sale_id FROM journal ORDER BY sequence")
    assert kinds == [
        ("sale_put", None, "concert"),
        ("held", booking_id, "concert"),
        ("cancelled", booking_id, "concert"),
    ]
    texts = await ledger.rows("SELECT entry FROM journal_text ORDER BY sequence")
    assert [text.encode() for (text,) in texts] == [entry.text for entry in written.entries]


async def test_the_cursor_and_the_chain_cover_what_is_there(ledger: Ledger) -> None:
    await ledger.engine.sales.put(concert())
    partition = ledger.engine.keys.partition_of_sale("concert")
    for _ in range(3):
        await ledger.hold()
        await ledger.drain_all()
    assert (await ledger.reads.cursors())[partition] == Floor(1, 4)
    rows = await ledger.rows("SELECT chain FROM partitions WHERE partition = $1", partition)
    assert (4, rows[0][0]) == await ledger.chained(partition)
    assert (await ledger.engine.journal.status(partition)).fenced is None


async def test_a_drain_with_nothing_to_do_says_so(ledger: Ledger) -> None:
    assert [await ledger.drain.run_once(partition) for partition in range(4)] == [0, 0, 0, 0]


async def test_a_drain_works_in_batches_of_its_size(redis_url: str, database_url: str) -> None:
    async with open_ledger(redis_url, database_url, batch_entries=2) as ledger:
        await ledger.engine.sales.put(concert())
        for _ in range(4):
            await ledger.hold()
        partition = ledger.engine.keys.partition_of_sale("concert")
        done = [await ledger.drain.run_once(partition) for _ in range(4)]
    assert done == [2, 2, 1, 0]


async def test_redis_is_told_the_cursor_after_the_commit(ledger: Ledger) -> None:
    await ledger.engine.sales.put(concert())
    partition = ledger.engine.keys.partition_of_sale("concert")
    await ledger.drain.run_once(partition)
    status = await ledger.engine.journal.status(partition)
    assert (status.drained, status.entries, status.oldest_ms) == (1, 1, None)


async def test_redis_keeps_entries_for_some_minutes_behind_the_cursor(
    redis_url: str, database_url: str
) -> None:
    now_s = 1_000.0
    async with open_ledger(redis_url, database_url, clock=lambda: now_s) as ledger:
        await ledger.engine.sales.put(concert(capacity=1_000))
        partition = ledger.engine.keys.partition_of_sale("concert")
        journal = ledger.engine.keys.key("journal", partition)
        # XTRIM ~ removes whole nodes of the stream, of a hundred entries by default.
        for _ in range(300):
            await ledger.hold()
        await ledger.drain.run_once(partition)
        now_s += 299
        await ledger.hold()
        await ledger.drain.run_once(partition)
        assert await ledger.redis.xlen(journal) == 302
        now_s += 2
        await ledger.drain.run_once(partition)
        assert await ledger.redis.xlen(journal) < 110
        assert (await ledger.redis.xrange(journal, "301-0", "301-0"))[0][0] == b"301-0"
        now_s += 600
        await ledger.drain.run_once(partition)
        now_s += 600
        await ledger.drain.run_once(partition)
        assert (await ledger.redis.xrevrange(journal, count=1))[0][0] == b"302-0"
        assert await ledger.drain.run_once(partition) == 0
