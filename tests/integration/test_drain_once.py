"""Whatever happens to a drain, and however many there are, each entry has one effect."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

from engine.errors import Unavailable
from engine.types import Contact, Floor
from persistence import commit as commit_module
from persistence.drain import Drain
from tests.helpers.ledger import Ledger, concert, open_ledger


@pytest_asyncio.fixture
async def ledger(redis_url: str, database_url: str) -> AsyncIterator[Ledger]:
    async with open_ledger(redis_url, database_url) as opened:
        yield opened


async def drained_soon(drain: Drain, partition: int) -> int:
    """What a drain takes over once the server has noticed that the one before it is gone."""
    for _ in range(200):
        if done := await drain.run_once(partition):
            return done
        await asyncio.sleep(0.05)
    return 0


async def test_a_drain_killed_before_its_commit_leaves_nothing_and_is_made_up_for(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ledger.engine.sales.put(concert())
    booking_id = (await ledger.hold(contact=Contact("ann@example.com"))).booking_id
    partition = ledger.engine.keys.partition_of_sale("concert")
    wrote = asyncio.Event()
    write = commit_module._write

    async def write_and_hang(*args: Any) -> Any:
        await write(*args)
        wrote.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(commit_module, "_write", write_and_hang)
    killed = asyncio.create_task(ledger.drain.run_once(partition))
    await wrote.wait()
    killed.cancel()
    with pytest.raises(asyncio.CancelledError):
        await killed
    assert await ledger.rows("SELECT 1 FROM journal UNION ALL SELECT 1 FROM bookings") == []
    assert (await ledger.reads.cursors())[partition] == Floor(1, 0)
    assert (await ledger.engine.journal.status(partition)).drained == 0

    monkeypatch.setattr(commit_module, "_write", write)
    assert await ledger.drain.run_once(partition) == 2
    archived = await ledger.reads.booking(booking_id)
    assert archived
    assert archived.contact
    assert ledger.engine.vault.decrypt(archived.contact) == Contact("ann@example.com")


async def test_a_drain_whose_session_dies_before_its_commit_leaves_nothing(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ledger.engine.sales.put(concert())
    await ledger.hold()
    partition = ledger.engine.keys.partition_of_sale("concert")
    write = commit_module._write

    async def write_and_lose_the_session(taken: Any, *args: Any) -> Any:
        answer = await write(taken, *args)
        await ledger.pool.execute("SELECT pg_terminate_backend($1)", taken.get_server_pid())
        return answer

    monkeypatch.setattr(commit_module, "_write", write_and_lose_the_session)
    with pytest.raises(Unavailable):
        await ledger.drain.run_once(partition)
    monkeypatch.setattr(commit_module, "_write", write)
    assert await ledger.rows("SELECT 1 FROM journal") == []
    assert await ledger.drain.run_once(partition) == 2
    assert (await ledger.levels())["concert"][0].held == 2


async def test_a_commit_whose_answer_is_lost_is_found_out_and_not_repeated(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ledger.engine.sales.put(concert())
    await ledger.hold()
    partition = ledger.engine.keys.partition_of_sale("concert")
    told = commit_module._tell

    def lose_the_answer(*args: Any) -> None:
        raise Unavailable("the connection broke during COMMIT")

    monkeypatch.setattr(commit_module, "_tell", lose_the_answer)
    with pytest.raises(Unavailable):
        await ledger.drain.run_once(partition)
    monkeypatch.setattr(commit_module, "_tell", told)
    await ledger.hold()
    assert await ledger.drain_all() == 1
    assert (await ledger.levels())["concert"][0].held == 4
    assert (await ledger.chained(partition))[0] == 3


async def test_many_drains_of_one_partition_have_one_effect(
    redis_url: str, database_url: str
) -> None:
    async with open_ledger(redis_url, database_url) as ledger:
        await ledger.engine.sales.put(concert(capacity=1_000))
        partition = ledger.engine.keys.partition_of_sale("concert")
        drains = [Drain(ledger.pool, ledger.engine, batch_entries=7) for _ in range(4)]
        held = 0
        drained = 0
        for _ in range(20):
            for _ in range(10):
                await ledger.hold()
                held += 1
            drained += sum(await asyncio.gather(*(d.run_once(partition) for d in drains)))
        while done := sum(await asyncio.gather(*(d.run_once(partition) for d in drains))):
            drained += done
        assert drained == held + 1
        assert (await ledger.chained(partition))[0] == held + 1
        assert (await ledger.levels())["concert"][0].held == 2 * held
        assert await ledger.rows("SELECT count(*) FROM stock_history") == [(held + 2,)]


async def test_a_batch_ends_with_the_entry_that_fills_it(redis_url: str, database_url: str) -> None:
    async with open_ledger(redis_url, database_url, batch_bytes=1_500) as ledger:
        await ledger.engine.sales.put(concert())
        for _ in range(9):
            await ledger.hold()
        partition = ledger.engine.keys.partition_of_sale("concert")
        meta = ledger.engine.keys.meta(partition).decode()
        lacking = (await ledger.engine.journal.status(partition)).lacking_bytes
        batches = []
        while done := await ledger.drain.run_once(partition):
            batches.append(done)
        assert sum(batches) == 10
        assert len(batches) > 2
        sizes = [len(row[0]) for row in await ledger.rows("SELECT entry FROM journal")]
        assert max(sizes) < 1_500
        assert lacking == sum(sizes)
        assert await ledger.rows("SELECT bytes FROM partitions WHERE bytes > 0") == [(sum(sizes),)]
        # Only when it is told for the second time: once a second is enough.
        await ledger.engine.journal.trim(partition, 10, 0, sum(sizes))
        assert (await ledger.engine.journal.status(partition)).lacking_bytes == 0
        assert int(await ledger.redis.execute_command("HGET", meta, "bytes")) == sum(sizes)


async def test_an_entry_longer_than_a_batch_is_one(redis_url: str, database_url: str) -> None:
    async with open_ledger(redis_url, database_url, batch_bytes=1) as ledger:
        await ledger.engine.sales.put(concert())
        await ledger.hold()
        partition = ledger.engine.keys.partition_of_sale("concert")
        assert [await ledger.drain.run_once(partition) for _ in range(3)] == [1, 1, 0]


async def test_a_drain_that_finds_another_at_work_does_not_wait_for_it(ledger: Ledger) -> None:
    await ledger.engine.sales.put(concert())
    partition = ledger.engine.keys.partition_of_sale("concert")
    async with ledger.pool.acquire() as taken, taken.transaction():
        await taken.execute("SELECT 1 FROM partitions WHERE partition = $1 FOR UPDATE", partition)
        async with asyncio.timeout(10):
            assert await ledger.drain.run_once(partition) == 0
    assert await ledger.drain.run_once(partition) == 1


async def test_a_drain_that_was_paused_past_its_lease_cannot_commit(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ledger.engine.sales.put(concert())
    partition = ledger.engine.keys.partition_of_sale("concert")
    write = commit_module._write
    paused, woken = asyncio.Event(), asyncio.Event()

    async def write_after_a_pause(taken: Any, *args: Any) -> Any:
        await taken.execute("SET idle_in_transaction_session_timeout = 200")
        paused.set()
        await woken.wait()
        return await write(taken, *args)

    monkeypatch.setattr(commit_module, "_write", write_after_a_pause)
    sleeper = asyncio.create_task(ledger.drain.run_once(partition))
    await paused.wait()
    monkeypatch.setattr(commit_module, "_write", write)
    other = Drain(ledger.pool, ledger.engine)
    assert await drained_soon(other, partition) == 1
    woken.set()
    with pytest.raises(Unavailable):
        await sleeper
    assert (await ledger.chained(partition))[0] == 1
    assert await ledger.drain.run_once(partition) == 0


async def test_postgresql_that_lost_its_last_commits_is_drained_again(
    redis_url: str, database_url: str
) -> None:
    now_s = 1_000.0
    async with open_ledger(redis_url, database_url, clock=lambda: now_s) as ledger:
        await ledger.engine.sales.put(concert())
        await ledger.hold()
        await ledger.drain_all()
        partition = ledger.engine.keys.partition_of_sale("concert")
        tables = ("journal", "items", "sales", "bookings", "lines", "stock_history")
        kept = {table: await ledger.rows(f"SELECT * FROM {table}") for table in tables}
        before = await ledger.rows(
            "SELECT sequence, chain FROM partitions WHERE partition = $1", partition
        )
        await ledger.hold()
        await ledger.drain_all()
        for table in tables:
            await ledger.pool.execute(f"TRUNCATE {table}")
            await ledger.pool.copy_records_to_table(table, records=kept[table])
        await ledger.pool.execute(
            "UPDATE partitions SET sequence = $1, chain = $2 WHERE partition = $3",
            *before[0],
            partition,
        )
        now_s += 2
        await ledger.drain_all()
        assert (await ledger.chained(partition))[0] == 3
        assert (await ledger.levels())["concert"][0].held == 4


async def test_postgresql_away_is_unavailable_and_not_a_fence(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ledger.engine.sales.put(concert())
    partition = ledger.engine.keys.partition_of_sale("concert")

    async def refuse(*_: Any, **__: Any) -> Any:
        raise asyncpg.CannotConnectNowError("the database system is starting up")

    monkeypatch.setattr(asyncpg.Connection, "fetchrow", refuse)
    with pytest.raises(Unavailable):
        await ledger.drain.run_once(partition)
    monkeypatch.undo()
    assert await ledger.drain.run_once(partition) == 1
