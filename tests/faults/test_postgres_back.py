"""PostgreSQL dies during a commit, is slow, or comes back without its last commits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest
from redis.asyncio import Redis

from engine.errors import Fenced, Unavailable
from tests.helpers.hanging_commit import a_commit_hangs, hang_commits, let_commits_go
from tests.helpers.put_back import copy_data, data_of, put_data_back
from tests.helpers.servers import Postgres
from tests.helpers.stage import RunningWorker, Stage, eventually, stage, stage_settings
from tests.helpers.wire_proxy import Cut, WireProxy
from workers import verify

COMMIT = b"COMMIT;"


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    """One to kill, and to take back."""
    server = Postgres(tmp_path_factory.mktemp("postgres"))
    yield server
    server.close()


@asynccontextmanager
async def opened(redis_url: str, database_url: str) -> AsyncIterator[Stage]:
    async with stage(stage_settings(redis_url, database_url, partitions="4")) as on:
        await on.put(capacity=500, hold_ms=600_000)
        yield on


async def drain_what_there_is(on: Stage) -> int:
    """Drain as a process does: until all is drained, since a drain that finds the cursor moved, or
    its server away, leaves the rest to its next call. Answers how many entries."""
    total = 0

    async def is_drained() -> bool:
        nonlocal total
        try:
            total += await on.drain.run_once(on.partition())
            return await on.is_drained()
        except Unavailable:
            return False

    await eventually(is_drained, "everything to be drained")
    return total


async def check(on: Stage, holds: int) -> None:
    """Everybody's books are equal, and have so many holds of one seat."""
    assert await on.levels() == (500 - holds, holds, 0)
    # Its own connections, and from the journal's first entry on.
    report = await verify.compare(on.settings)
    assert report.differences == []
    assert (report.bookings, report.journal_entries) == (holds, 1 + holds)


@pytest.mark.parametrize("reached", [False, True], ids=["before", "after"])
async def test_a_server_killed_during_a_commit_has_all_of_it_or_nothing(
    redis_url: str, postgres: Postgres, *, reached: bool
) -> None:
    async with (
        WireProxy(postgres.fresh_database()) as proxy,
        opened(redis_url, proxy.url) as on,
    ):
        await on.drain_all()
        for number in range(5):
            await on.hold(f"c{number}")
        fault = proxy.plan(Cut.HOLD_REQUEST, COMMIT)
        draining = asyncio.create_task(on.drain.run_once(on.partition()))
        await fault.fired.wait()
        if reached:
            # It is on the disk, and nobody is told of it yet.
            connection = await asyncpg.connect(postgres.url)
            await hang_commits(connection)
            fault.release()
            await a_commit_hangs(connection)
            connection.terminate()
        await asyncio.to_thread(postgres.kill)
        fault.release()
        with pytest.raises(Unavailable):
            await draining
        await on.hold("late")
        let_commits_go(data_of(postgres))
        postgres.start()
        assert await drain_what_there_is(on) == (1 if reached else 6)
        await check(on, 6)


async def test_holds_go_on_while_every_statement_is_slow_and_all_is_applied_in_order(
    redis_url: str, database_url: str, tmp_path: Path
) -> None:
    async with WireProxy(database_url) as proxy, opened(redis_url, database_url) as on:
        slow = on.settings.model_copy(update={"database_url": proxy.url})
        proxy.delay_s = 0.05
        async with RunningWorker(slow, tmp_path / "worker.log") as worker:
            await worker.logs("worker_started")
            before = proxy.delayed
            for number in range(200):
                booking = await on.hold(f"c{number}")
                await on.engine.bookings.extend(booking.booking_id)
            assert proxy.delayed > before, "the worker was at it all the while"
            await on.drained()
            assert await worker.stop() == 0
        report = await verify.compare(on.settings)
        assert report.differences == []
        # And what a worker writes by itself, a snapshot of the levels.
        assert report.bookings == 200
        assert report.journal_entries >= 401


async def lose_commits(on: Stage, postgres: Postgres, scratch: Path) -> None:
    """Five holds that PostgreSQL has, five that it had, and five that it never had."""
    for number in range(5):
        await on.hold(f"kept-{number}")
    await on.drain_all()
    await copy_data(postgres, scratch / "copy")
    for number in range(5):
        await on.hold(f"lost-{number}")
    assert await drain_what_there_is(on) == 5


async def test_a_server_without_its_last_commits_is_drained_again_from_what_redis_kept(
    redis_url: str, postgres: Postgres, tmp_path: Path
) -> None:
    async with opened(redis_url, postgres.fresh_database()) as on:
        await lose_commits(on, postgres, tmp_path)
        await asyncio.to_thread(postgres.stop)
        for number in range(5):
            await on.hold(f"new-{number}")
        await put_data_back(postgres, tmp_path / "copy")
        assert (await on.reads.cursors())[on.partition()].sequence == 6, "it has lost them"
        assert await drain_what_there_is(on) == 10
        await check(on, 15)


async def test_a_server_without_more_than_redis_kept_is_fenced_and_never_has_a_gap(
    redis_url: str, postgres: Postgres, tmp_path: Path
) -> None:
    async with opened(redis_url, postgres.fresh_database()) as on:
        await lose_commits(on, postgres, tmp_path)
        partition = on.partition()
        journal = on.engine.keys.key("journal", partition)
        async with Redis.from_url(redis_url) as client:
            # What the drain has dropped some minutes later: all below its cursor's entry.
            assert await client.xtrim(journal, minid="11-0", approximate=False) == 10
        await asyncio.to_thread(postgres.stop)
        await put_data_back(postgres, tmp_path / "copy")
        with pytest.raises(Fenced, match="journal_gap"):
            await drain_what_there_is(on)
        with pytest.raises(Fenced, match="journal_gap"):
            await on.hold("nobody")
        async with Redis.from_url(redis_url) as client:
            assert (
                await client.hget(on.engine.keys.key("stock", partition, "gig"), "seat:held")
                == b"10"
            )
        cursor = (await on.reads.cursors())[partition].sequence
        assert await on.pool.fetchval("SELECT count(*) FROM journal") == cursor == 6
