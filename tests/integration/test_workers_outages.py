"""A worker outlives PostgreSQL, Redis and arq's Redis, and starts while they are away.

Servers are started from the main thread: they end with the thread that started them.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis.asyncio

from tests.helpers.servers import Postgres, Valkey
from tests.helpers.stage import RunningWorker, eventually, stage, stage_settings
from workers import verify
from workers.hands import NOTE
from workers.settings import LOOPS


@pytest.fixture(scope="module")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    """One to kill."""
    server = Valkey(tmp_path_factory.mktemp("valkey"))
    yield server
    server.close()


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    """One to kill."""
    server = Postgres(tmp_path_factory.mktemp("postgres"))
    yield server
    server.close()


async def test_holds_go_on_without_postgresql_and_are_drained_when_it_is_back(
    valkey: Valkey, postgres: Postgres, tmp_path: Path
) -> None:
    valkey.flush()
    settings = stage_settings(valkey.url, postgres.fresh_database())
    async with stage(settings) as on, RunningWorker(settings, tmp_path / "worker.log") as worker:
        await on.put(capacity=50, hold_ms=1_000)
        await on.drained()
        await asyncio.to_thread(postgres.stop)
        await on.hold("ann", 20)
        await worker.logs("partitions_wait")
        await on.is_at((50, 0, 0))
        await asyncio.gather(*(on.hold(f"c-{number}") for number in range(20)))
        postgres.start()
        await on.drained()
        await on.is_at((50, 0, 0))
        assert (await verify.compare(settings)).differences == []
        assert await worker.stop() == 0


async def test_a_redis_that_was_killed_is_drained_and_swept_again(
    valkey: Valkey, postgres: Postgres, tmp_path: Path
) -> None:
    valkey.flush()
    settings = stage_settings(valkey.url, postgres.fresh_database())
    async with stage(settings) as on, RunningWorker(settings, tmp_path / "worker.log") as worker:
        await on.put(hold_ms=1_000)
        await worker.logs("worker_started")
        await on.hold("ann", 3)
        await asyncio.to_thread(valkey.kill)
        await worker.logs("arq_ended")
        await worker.logs("partitions_wait")
        valkey.start()
        await on.is_at((10, 0, 0))
        await on.drained()
        assert (await verify.compare(settings)).differences == []
        assert await worker.stop() == 0


async def test_a_worker_that_starts_while_both_are_away_works_when_they_come(
    valkey: Valkey, postgres: Postgres, tmp_path: Path
) -> None:
    valkey.flush()
    settings = stage_settings(valkey.url, postgres.fresh_database())
    async with stage(settings) as on:
        await on.put(hold_ms=1_000)
        await on.hold("ann", 3)
    await asyncio.gather(asyncio.to_thread(valkey.stop), asyncio.to_thread(postgres.stop))
    async with RunningWorker(settings, tmp_path / "worker.log") as worker:
        await worker.logs("waits_for_redis")
        valkey.start()
        await worker.logs("worker_started")
        postgres.start()
        async with stage(settings) as on:
            await on.is_at((10, 0, 0))
            await on.drained()
        assert await worker.stop() == 0


async def test_a_worker_that_waits_for_redis_can_be_stopped(
    valkey: Valkey, postgres: Postgres, tmp_path: Path
) -> None:
    settings = stage_settings("redis://127.0.0.1:1", "postgresql://nobody@127.0.0.1:1/nothing")
    async with RunningWorker(settings, tmp_path / "worker.log") as worker:
        await worker.logs("waits_for_redis")
        assert await worker.stop() == 0


@pytest.mark.parametrize("how", ["killed", "frozen"])
async def test_the_loops_go_on_while_arqs_redis_is_away_and_hand_over_when_it_is_back(
    valkey: Valkey, postgres: Postgres, tmp_path: Path, how: str
) -> None:
    valkey.flush()
    queue = Valkey(tmp_path / "queue")
    try:
        settings = stage_settings(valkey.url, postgres.fresh_database(), arq_redis_url=queue.url)
        async with (
            stage(settings) as on,
            RunningWorker(settings, tmp_path / "worker.log") as worker,
        ):
            await on.put(hold_ms=1_000)
            async with redis.asyncio.Redis.from_url(queue.url) as client:

                async def has_notes() -> bool:
                    return len(await client.keys(NOTE + "*")) == len(LOOPS)

                await eventually(has_notes, "arq's jobs to work at every loop")
            with_arq = len(worker.events("works_with_arq_again"))
            if how == "killed":
                await asyncio.to_thread(queue.kill)
            else:
                queue.pause()

            async def all_alone() -> bool:
                begun, ended = (
                    Counter(event["loop"] for event in worker.events(name))
                    for name in ("works_without_arq", "works_with_arq_again")
                )
                return set(begun - ended) == set(LOOPS)

            await eventually(all_alone, "every loop to be worked at without arq")
            await on.hold("ann", 3)
            await on.is_at((10, 0, 0))
            await on.drained()
            if how == "killed":
                queue.start()
            else:
                queue.resume()
            await worker.logs("works_with_arq_again", after=with_arq)
            await on.hold("bob", 3)
            await on.is_at((10, 0, 0))
            await on.drained()
            assert await worker.stop() == 0
    finally:
        queue.close()


async def test_two_workers_share_the_work_and_each_entry_is_drained_once(
    valkey: Valkey, postgres: Postgres, tmp_path: Path
) -> None:
    valkey.flush()
    settings = stage_settings(valkey.url, postgres.fresh_database())
    async with (
        stage(settings) as on,
        RunningWorker(settings, tmp_path / "one.log") as one,
        RunningWorker(settings, tmp_path / "two.log") as two,
    ):
        await on.put(capacity=2_000, hold_ms=1_000)
        for _ in range(5):
            await asyncio.gather(*(on.hold(f"c-{number}") for number in range(100)))
        await one.logs("worker_started")
        one.child.kill()
        await asyncio.gather(*(on.hold(f"c-{number}") for number in range(100)))
        await on.is_at((2_000, 0, 0))
        await on.drained()
        report = await verify.compare(settings)
        assert report.differences == []
        assert report.bookings == 600
        rows = await on.pool.fetch("SELECT type, count(*) AS entries FROM journal GROUP BY type")
        entries = {row["type"]: row["entries"] for row in rows if row["type"] != "snapshot"}
        assert entries == {"sale_put": 1, "held": 600, "expired": 600}
        assert await two.stop() == 0
