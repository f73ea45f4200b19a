"""The first start happens once; afterwards an empty Redis is a loss."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from engine.errors import Fenced, Overloaded, SettingsError
from engine.outcomes import Outcome
from engine.types import Floor
from persistence.bootstrap import bootstrap
from persistence.migrate import migrate
from persistence.pool import Pool, create_pool
from persistence.reads import Reads
from tests.helpers.ledger import PARTITIONS, concert, open_engine, open_ledger


@pytest_asyncio.fixture
async def pool(database_url: str) -> AsyncIterator[Pool]:
    await migrate(database_url)
    async with await create_pool(database_url) as opened:
        yield opened


async def test_a_first_start_makes_every_partition_and_later_ones_none(
    redis_url: str, pool: Pool
) -> None:
    async with open_engine(redis_url, Reads(pool)) as engine:
        with pytest.raises(Fenced):
            await engine.sales.put(concert())
        assert await bootstrap(pool, engine) == list(range(PARTITIONS))
        assert await bootstrap(pool, engine) == []
        assert (await engine.sales.put(concert())).outcome is Outcome.CREATED
    assert await Reads(pool).cursors() == {number: Floor(1, 0) for number in range(PARTITIONS)}


async def test_hosts_that_start_at_once_start_each_partition_once(
    redis_url: str, pool: Pool
) -> None:
    reads = Reads(pool)
    async with open_engine(redis_url, reads) as one, open_engine(redis_url, reads) as other:
        started = await asyncio.gather(bootstrap(pool, one), bootstrap(pool, other))
        assert sorted(started[0] + started[1]) == list(range(PARTITIONS))
        sale = concert()
        assert (await one.sales.put(sale)).outcome is Outcome.CREATED
        assert (await other.sales.put(sale)).outcome is Outcome.UNCHANGED


async def test_an_emptied_redis_is_not_started_again(redis_url: str, database_url: str) -> None:
    async with open_ledger(redis_url, database_url) as ledger:
        await ledger.engine.sales.put(concert())
        await ledger.redis.flushall()
        async with open_engine(redis_url, ledger.reads) as engine:
            assert await bootstrap(ledger.pool, engine) == []
            with pytest.raises(Fenced, match="meta_missing"):
                await engine.sales.put(concert())
        assert await ledger.redis.dbsize() == 0


async def test_a_start_that_was_cut_short_is_finished_by_the_next(
    redis_url: str, pool: Pool
) -> None:
    async with open_engine(redis_url, Reads(pool)) as engine:
        assert await bootstrap(pool, engine) == list(range(PARTITIONS))
        # As if it had died after Redis had partition 2, and before PostgreSQL said so.
        await pool.execute("UPDATE partitions SET initialised_at = NULL WHERE partition = 2")
        assert await bootstrap(pool, engine) == [2]


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("partitions", "8", "HOLDFAST_PARTITIONS: this installation has 8 partitions, not 4"),
        ("hash_function", "'md5'", "HOLDFAST_PARTITIONS: .* md5, .* crc32"),
    ],
)
async def test_another_shape_than_the_recorded_one_is_refused_by_the_settings_name(
    redis_url: str, pool: Pool, column: str, value: str, message: str
) -> None:
    async with open_engine(redis_url, Reads(pool)) as engine:
        await bootstrap(pool, engine)
        await pool.execute(f"UPDATE installation SET {column} = {value}")
        with pytest.raises(SettingsError, match=message):
            await bootstrap(pool, engine)


async def test_a_refused_shape_writes_nothing(redis_url: str, pool: Pool) -> None:
    await pool.execute("INSERT INTO installation (partitions, hash_function) VALUES (8, 'crc32')")
    async with open_engine(redis_url, Reads(pool)) as engine:
        with pytest.raises(SettingsError):
            await bootstrap(pool, engine)
    assert await pool.fetchval("SELECT count(*) FROM partitions") == 0


async def test_a_redis_of_another_shape_is_fenced(redis_url: str, pool: Pool) -> None:
    async with open_engine(redis_url, Reads(pool)) as engine:
        await bootstrap(pool, engine)
        await pool.execute("TRUNCATE installation, partitions")
        key = engine.keys.meta(0).decode()
        async with Redis.from_url(redis_url) as redis:
            await redis.execute_command("HSET", key, "partitions", "8")
        with pytest.raises(Fenced, match="shape"):
            await bootstrap(pool, engine)


async def test_a_first_start_without_redis_marks_nothing_as_started(
    redis_url: str, pool: Pool
) -> None:
    async with open_engine(redis_url, Reads(pool)) as engine:
        await engine.close()
        with pytest.raises(Overloaded, match="closed"):
            await bootstrap(pool, engine)
    assert await Reads(pool).cursors() == {}
