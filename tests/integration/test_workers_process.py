"""`holdfast worker` as it runs: it drains, sweeps, evicts, and ends in order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import redis.asyncio

from engine.engine import Engine
from engine.outcomes import Outcome
from engine.settings import EngineOptions
from persistence.migrate import migrate
from persistence.pool import create_pool
from persistence.reads import Reads
from tests.helpers.gateways import payment_settings
from tests.helpers.stage import RunningWorker, Stage, eventually, stage, stage_settings
from workers import verify
from workers.main import WorkerProcess


@pytest.fixture
async def on(redis_url: str, database_url: str) -> AsyncIterator[Stage]:
    settings = stage_settings(redis_url, database_url, finished_retention_ms="1000")
    async with stage(settings) as ready:
        yield ready


async def test_a_due_hold_gives_its_unit_back_and_both_books_have_it(
    on: Stage, tmp_path: Path
) -> None:
    await on.put(capacity=3, hold_ms=1_000)
    async with RunningWorker(on.settings, tmp_path / "worker.log"):
        booking = await on.hold("ann", 2)
        await on.is_at((3, 0, 0))
        await on.drained()
        archived = await on.reads.booking(booking.booking_id)
        assert archived
        assert archived.booking.cancel_reason == "expired"
    assert (await verify.compare(on.settings)).differences == []


async def test_a_finished_booking_leaves_redis_and_is_found_and_changed_all_the_same(
    on: Stage, tmp_path: Path
) -> None:
    await on.put()
    booking = await on.confirm(await on.hold("ann"))
    name = on.engine.keys.key("booking", on.partition(), booking.booking_id)
    async with (
        RunningWorker(on.settings, tmp_path / "worker.log"),
        redis.asyncio.Redis.from_url(on.settings.redis_url) as client,
    ):

        async def is_gone() -> bool:
            return not await client.exists(name)

        await eventually(is_gone, "the booking to leave Redis")
        found = await on.engine.bookings.get(booking.booking_id)
        assert found.booking == booking
        done = await on.engine.bookings.complete(booking.booking_id)
        assert done.outcome is Outcome.COMPLETED
        await on.drained()
        await eventually(is_gone, "the booking to leave Redis again")
    assert (await verify.compare(on.settings)).differences == []


async def test_a_worker_that_is_told_to_stop_drains_to_the_end_first(
    on: Stage, tmp_path: Path
) -> None:
    await on.put(capacity=500)
    async with RunningWorker(on.settings, tmp_path / "worker.log") as worker:
        await worker.logs("worker_started")
        await asyncio.gather(*(on.hold(f"c-{number}") for number in range(400)))
        assert await worker.stop() == 0
    cursor = (await on.reads.cursors())[on.partition()]
    # And perhaps a snapshot of the sale, which the worker may have written meanwhile.
    assert cursor.sequence == (await on.engine.journal.status(on.partition())).sequence >= 401
    assert worker.events("drained_to_the_end")
    assert worker.events("worker_ended")


async def test_a_worker_starts_partitions_that_never_were(
    redis_url: str, database_url: str, tmp_path: Path
) -> None:
    settings = stage_settings(redis_url, database_url)
    await migrate(database_url)
    async with (
        RunningWorker(settings, tmp_path / "worker.log") as worker,
        await create_pool(database_url) as pool,
    ):
        await worker.logs("partitions_started")
        assert len(await Reads(pool).cursors()) == settings.partitions


async def test_a_worker_waits_for_its_tables(
    redis_url: str, bare_database_url: str, tmp_path: Path
) -> None:
    settings = stage_settings(redis_url, bare_database_url)
    async with RunningWorker(settings, tmp_path / "worker.log") as worker:
        await worker.logs("waits_for_tables")
        async with stage(settings) as ready:
            await ready.put()
            await ready.drained()
        assert await worker.stop() == 0


async def test_a_worker_that_began_without_postgresql_waits_for_its_tables_too(
    redis_url: str, bare_database_url: str
) -> None:
    settings = stage_settings(redis_url, bare_database_url)
    async with (
        await create_pool(bare_database_url) as pool,
        await Engine.open(EngineOptions.of(settings)) as engine,
    ):
        worker = WorkerProcess(settings, payment_settings())
        starting = asyncio.create_task(worker._first_start(pool, engine))
        await asyncio.sleep(0.2)
        assert not starting.done()
        await migrate(bare_database_url)
        await asyncio.wait_for(starting, 20)
        assert len(await Reads(pool).cursors()) == settings.partitions


async def test_a_fenced_partition_holds_nobody_else_up(on: Stage, tmp_path: Path) -> None:
    await on.put("gig")
    await on.engine.journal.fence(on.partition("gig"), "operator")
    others = [name for name in ("a", "b", "c") if on.partition(name) != on.partition("gig")]
    async with RunningWorker(on.settings, tmp_path / "worker.log") as worker:
        for name in others:
            await on.put(name, hold_ms=1_000)
            await on.hold("ann", sale_id=name)
            await on.is_at((10, 0, 0), name)
        await worker.logs("partitions_wait")
        assert {event["reason"] for event in worker.events("partitions_wait")} == {
            "fenced: operator"
        }
        assert await worker.stop() == 0
    assert worker.events("drained_to_the_end"), "what is fenced is not waited for"


async def test_verify_finds_nothing_on_a_system_that_works(on: Stage, tmp_path: Path) -> None:
    sales = ("gig", "play", "ball")
    for sale_id in sales:
        await on.put(sale_id, capacity=200, hold_ms=1_000)
    working = True

    async def buy(number: int) -> None:
        turn = number
        while working:
            turn += 1
            booking = await on.hold(f"c-{number}", sale_id=sales[turn % 3])
            if turn % 2:
                confirmed = await on.confirm(booking)
                assert confirmed.version == 2
            await asyncio.sleep(0.01)
            if turn % 3 == 0:
                await on.engine.bookings.cancel(booking.booking_id, "customer")  # type: ignore[arg-type]

    async with RunningWorker(on.settings, tmp_path / "worker.log"):
        buyers = [asyncio.create_task(buy(number)) for number in range(8)]
        try:
            reports = [await verify.compare(on.settings) for _ in range(3)]
        finally:
            working = False
            await asyncio.gather(*buyers, return_exceptions=True)
        assert [report.differences for report in reports] == [[], [], []]
        assert 3 < reports[0].journal_entries < reports[2].journal_entries
