"""Cursors, readiness and the journal as others read them, and what they get while it is away."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import psutil
import pytest
import pytest_asyncio

from engine.errors import Unavailable
from engine.types import Floor, LineRequest
from persistence.pool import create_pool
from persistence.reads import Reads
from tests.helpers.ledger import Ledger, booking_id, concert, open_ledger
from tests.helpers.servers import Postgres


@pytest_asyncio.fixture
async def ledger(redis_url: str, database_url: str) -> AsyncIterator[Ledger]:
    async with open_ledger(redis_url, database_url) as opened:
        yield opened


async def test_cursors_are_the_floors_of_the_engine(ledger: Ledger) -> None:
    assert await ledger.reads.cursors() == {number: Floor(1, 0) for number in range(4)}
    await ledger.engine.sales.put(concert())
    await ledger.drain_all()
    partition = ledger.engine.keys.partition_of_sale("concert")
    assert (await ledger.reads.cursors())[partition] == Floor(1, 1)


async def test_a_caller_who_waits_for_the_drain_reads_its_own_writes(ledger: Ledger) -> None:
    await ledger.engine.sales.put(concert())
    lines = [LineRequest("seat", 1)]
    answer = await ledger.engine.bookings.reserve("concert", "ann", lines, str(uuid4()))
    assert answer.booking
    partition = ledger.engine.keys.partition_of_sale("concert")
    waiting = asyncio.create_task(ledger.reads.reached({partition: 2}, 5_000))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    await ledger.drain_all()
    assert await waiting
    assert await ledger.reads.booking(answer.booking.booking_id)


async def test_a_wait_for_the_drain_ends_with_its_time(ledger: Ledger) -> None:
    begun_s = time.monotonic()
    assert await ledger.reads.reached({}, 0)
    assert await ledger.reads.reached({0: 0, 3: 0}, 0)
    assert not await ledger.reads.reached({0: 1}, 100)
    assert not await ledger.reads.reached({99: 0}, 0), "there is no such partition"
    assert 0.1 <= time.monotonic() - begun_s < 10


async def test_a_booking_that_never_was_is_not_found(ledger: Ledger) -> None:
    assert await ledger.reads.booking(booking_id(1)) is None
    assert await ledger.reads.booking("no id at all") is None


async def test_reads_say_unavailable_while_postgresql_is_away_and_work_again_after(
    tmp_path: Path, redis_url: str
) -> None:
    server = Postgres(tmp_path / "p")
    with contextlib.closing(server):
        async with open_ledger(redis_url, server.fresh_database()) as ledger:
            await ledger.reads.ready()
            server.kill()
            for _ in range(2):
                with pytest.raises(Unavailable):
                    await ledger.reads.ready()
                with pytest.raises(Unavailable):
                    await ledger.reads.booking(booking_id(1))
                with pytest.raises(Unavailable):
                    await ledger.reads.reached({0: 1}, 1_000)
                with pytest.raises(Unavailable):
                    await ledger.drain.run_once(0)
            await ledger.engine.sales.put(concert())
            server.start()
            await ledger.reads.ready()
            assert await ledger.drain_all() == 1


async def test_a_frozen_postgresql_is_unavailable_in_bounded_time(tmp_path: Path) -> None:
    server = Postgres(tmp_path / "p")
    with contextlib.closing(server):
        async with await create_pool(
            server.fresh_database(), max_size=1, command_timeout_ms=300
        ) as pool:
            reads = Reads(pool)
            await reads.ready()
            # The server's every process: a connection that is open has one of its own.
            processes = [psutil.Process(server.pid)]
            processes += processes[0].children(recursive=True)
            for process in processes:
                process.suspend()
            begun_s = time.monotonic()
            with pytest.raises(Unavailable):
                await reads.ready()
            # The connection is taken: the next one waits for it, or makes one, in bounded time.
            with pytest.raises(Unavailable):
                await reads.ready()
            assert time.monotonic() - begun_s < 20
            for process in processes:
                process.resume()
            await reads.ready()


async def test_a_pool_opens_while_postgresql_is_away() -> None:
    async with await create_pool("postgresql://nobody@127.0.0.1:1/none") as pool:
        with pytest.raises(Unavailable):
            await Reads(pool).ready()
