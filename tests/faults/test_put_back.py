"""The server emptied, or its files put back by an older copy: nothing is sold on what it has
forgotten, and `rebuild` brings back what PostgreSQL has."""

from __future__ import annotations

import asyncio
import random
import shutil
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio

from engine.keys import Keys
from tests.helpers import books
from tests.helpers.books import recount
from tests.helpers.client import Client
from tests.helpers.faults import frozen, kept_down
from tests.helpers.fences import backlog_fences, check_nothing_is_sold, sale_in, told_by_readyz
from tests.helpers.load import Load, items_of, make_hold, put_sale, put_sales, sale_body
from tests.helpers.servers import System

KEYS = Keys(books.PARTITIONS)
STOCK = {"A": 10}
SOLD = {"A": (4, 6, 0)}


async def server_directory(system: System) -> Path:
    """Where the server keeps its files."""
    async with redis.asyncio.Redis.from_url(system.run["redis_url"]) as client:
        return Path((await client.config_get("dir"))["dir"])


def copy_files(source: Path, target: Path) -> None:
    """Copy the append only files; what is at `target` is lost."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target)


async def sell(service: Client, sale_id: str, holds: int) -> None:
    """Hold one unit, some times."""
    for number in range(holds):
        hold = make_hold(random.Random(f"{sale_id}/{number}"), sale_id, {"A": 1})
        assert (await hold.send(service)).status == 201


async def test_an_older_copy_under_a_running_system_is_fenced_before_it_sells(
    system: System, admin: Client, service: Client, tmp_path: Path
) -> None:
    older, sound = sale_in(KEYS, 1), sale_in(KEYS, 2)
    files = await server_directory(system) / "appendonlydir"
    for sale_id in (older, sound):
        await put_sale(admin, sale_id, sale_body(STOCK))
    await books.drained(system)
    await asyncio.to_thread(copy_files, files, tmp_path / "copy")
    # Not drained either: what PostgreSQL has would be no warning.
    async with frozen(*system.pids["worker"]):
        await sell(service, older, 6)
        assert (await books.in_redis(system, older))["A"] == SOLD["A"]
        async with kept_down(system, "redis"):
            await asyncio.to_thread(copy_files, tmp_path / "copy", files)
        assert (await books.in_redis(system, older))["A"] == (10, 0, 0), "it has forgotten"
        await check_nothing_is_sold(system, service, older, STOCK, {"A": (10, 0, 0)})
        readiness = await told_by_readyz(system)
        assert [part["partition"] for part in readiness["fenced"]] == [1]
        await sell(service, sound, 1)
    assert await backlog_fences(system) == {1}
    # The six were in no book but Redis's: nobody has them any more.
    assert [part["partition"] for part in await rebuilt(system)] == [1]
    assert await books.in_redis(system, older) == {"A": (10, 0, 0)}
    await sell(service, older, 3)
    assert await backlog_fences(system) == set()
    await books.drained(system)
    await books.check_levels(system, service, older, STOCK)
    await books.check_verify(system)


async def test_an_older_copy_that_a_new_start_finds_is_fenced_by_what_postgres_has(
    system: System, admin: Client, service: Client, tmp_path: Path
) -> None:
    older, sound = sale_in(KEYS, 3), sale_in(KEYS, 4)
    files = await server_directory(system) / "appendonlydir"
    for sale_id in (older, sound):
        await put_sale(admin, sale_id, sale_body(STOCK))
    await asyncio.to_thread(copy_files, files, tmp_path / "copy")
    await sell(service, older, 6)
    assert await asyncio.to_thread(system.stop) == 0
    await asyncio.to_thread(copy_files, tmp_path / "copy", files)
    await asyncio.to_thread(system.start)
    assert (await books.in_redis(system, older))["A"] == (10, 0, 0), "it has forgotten"
    async with Client(system.url, system.headers("service")) as service_again:
        await check_nothing_is_sold(system, service_again, older, STOCK, SOLD)
        readiness = await told_by_readyz(system)
        assert 3 in {part["partition"] for part in readiness["fenced"]}
        assert 3 in await backlog_fences(system)
        await sell(service_again, sound, 1)
        assert 3 in {part["partition"] for part in await rebuilt(system)}
        # Held before the copy was put back: the same requests get the same answers.
        assert await books.in_redis(system, older) == SOLD
        await sell(service_again, older, 6)
        assert await books.in_redis(system, older) == SOLD
        await books.drained(system)
        await books.check_levels(system, service_again, older, STOCK)
        await books.check_verify(system)


async def test_an_emptied_server_is_fenced_and_two_rebuilds_at_once_bring_everything_back_once(
    system: System, service: Client
) -> None:
    capacities = {f"emptied-{number}": {"A": 10_000} for number in range(3)}
    async with Client(system.url, system.headers("admin")) as admin:
        await put_sales(admin, capacities)
    load = Load(service, items_of(capacities), seed=5, buyers=8)
    async with load:
        await load.held_more(100)
    await books.drained(system)
    async with redis.asyncio.Redis.from_url(system.run["redis_url"]) as client:
        with pytest.raises(redis.exceptions.NoPermissionError):
            await client.flushall()
        # Somebody who insists.
        await client.acl_setuser("default", enabled=True, commands=["+flushall"])
        await client.flushall()
    for sale_id, by_item in capacities.items():
        await check_nothing_is_sold(
            system, service, sale_id, by_item, recount(load, sale_id, by_item)
        )
    assert await backlog_fences(system) == set(range(books.PARTITIONS))

    both = await asyncio.gather(*(books.run(system, "rebuild") for _ in range(2)))
    done = [part["partition"] for _, told in both for part in told["partitions"]]
    assert sorted(done) == list(range(books.PARTITIONS)), "each was rebuilt by one of them"
    assert await backlog_fences(system) == set()
    # Nobody was told, and nothing started again.
    load = Load(service, items_of(capacities), seed=6, buyers=8, tracked=load.tracked)
    async with load:
        await load.held_more(50)
    for booking in load.tracked[:50]:
        again = await booking.hold.send(service)
        assert (again.status, again.body) == (201, booking.first_body)
    await books.check(system, load, capacities)


async def rebuilt(system: System) -> list[dict[str, Any]]:
    """What `holdfast rebuild` says it has rebuilt."""
    exit_code, told = await books.run(system, "rebuild")
    assert (exit_code, told["refused"]) == (0, []), told
    found: list[dict[str, Any]] = told["partitions"]
    return found
