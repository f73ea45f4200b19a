"""Valkey killed, frozen, without its scripts, out of memory and out of disk, in the middle of load.

What was answered 201 is there afterwards, and what was refused had no effect.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis.asyncio

from tests.helpers import books
from tests.helpers.another import another
from tests.helpers.client import Client
from tests.helpers.faults import frozen, killed
from tests.helpers.load import (
    Load,
    items_of,
    levels_of,
    make_hold,
    make_key,
    put_sale,
    put_sales,
    sale_body,
)
from tests.helpers.servers import System, holdfast
from tests.helpers.stage import eventually
from tests.helpers.wrapped_valkey import small_disk, wrapped

SEED = 7


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """A system whose Valkey can be out of disk."""
    directory = tmp_path_factory.mktemp("system")
    with System(directory / "data", **wrapped(directory)) as system:
        yield system


def capacities(name: str) -> dict[str, dict[str, int]]:
    return {f"{name}-{number}": {"A": 100_000, "B": 100_000} for number in range(4)}


async def scripts_sent_whole(system: System) -> int:
    """How often the server was sent a script's text, since it started."""
    async with redis.asyncio.Redis.from_url(system.run["redis_url"]) as client:
        found = (await client.info("commandstats")).get("cmdstat_eval", {"calls": 0})
    return int(found["calls"])


async def test_every_acknowledged_booking_survives_kills_of_valkey_under_load(
    system: System, admin: Client, service: Client
) -> None:
    sales = capacities("killed")
    await put_sales(admin, sales)
    async with Load(service, items_of(sales), seed=SEED, buyers=16, pause_s=0.03) as load:
        await load.held_more(100)
        async with killed(system, "redis"):
            # Only a server that was started again can hold anything more.
            await load.held_more(100)
    assert load.resent > 0, "no buyer noticed"
    assert await scripts_sent_whole(system) > 0, "it knew the scripts"
    await books.check(system, load, sales)


async def test_a_script_cache_emptied_under_load_is_noticed_by_nobody(
    system: System, admin: Client, service: Client
) -> None:
    sales = capacities("flushed")
    await put_sales(admin, sales)
    before = await scripts_sent_whole(system)
    async with (
        Load(service, items_of(sales), seed=SEED, buyers=16, pause_s=0.03) as load,
        redis.asyncio.Redis.from_url(system.run["redis_url"]) as client,
    ):
        for _ in range(20):
            await client.script_flush("SYNC")
            await load.held_more(10)
    assert await scripts_sent_whole(system) >= before + 20, "it knew the scripts all the time"
    assert (load.resent, service.history.count(503)) == (0, 0)
    await books.check(system, load, sales)


async def test_while_valkey_is_frozen_everybody_is_told_so_and_nothing_is_done_twice(
    system: System, admin: Client, service: Client
) -> None:
    await put_sale(admin, "frozen", sale_body({"A": 100}))
    rng = random.Random(SEED)
    holds = [make_hold(rng, "frozen", {"A": 1}) for _ in range(40)]
    assert {(await hold.send(service)).status for hold in holds[:10]} == {201}
    async with frozen(system.pids["redis"]):
        # All are answered before it goes on: those that it did before, and those that are new.
        answers = await asyncio.gather(*(hold.send(service) for hold in holds))
        assert {(answer.status, answer.code) for answer in answers} == {(503, "unavailable")}
        assert all("retry-after" in answer.headers for answer in answers)
    answers = await asyncio.gather(*(hold.send(service) for hold in holds))
    assert {answer.status for answer in answers} == {201}
    assert len(service.history.held()) == len(holds)
    assert await levels_of(service, "frozen") == {"A": (60, 40, 0)}
    await books.drained(system)
    assert await books.in_postgres(system, "frozen") == {"A": (60, 40, 0)}


class Short:
    """A sale with three holds while something is short: no new ones, and they go on to an end."""

    def __init__(self, system: System, service: Client, sale_id: str) -> None:
        self.system, self.service, self.sale_id = system, service, sale_id
        self.rng = random.Random(SEED)
        self.holds = [make_hold(self.rng, sale_id, {"A": 1}) for _ in range(4)]
        self.paths: list[str] = []

    async def begin(self) -> None:
        answers = [await hold.send(self.service) for hold in self.holds[:3]]
        self.paths = [f"/v1/bookings/{answer.json['id']}" for answer in answers]

    async def check_only_new_holds_are_refused(self) -> None:
        customers = [{"customer_id": hold.body["customer_id"]} for hold in self.holds]
        paths, service = self.paths, self.service
        refused = [await self.holds[3].send(service) for _ in range(3)]
        assert {(answer.status, answer.code) for answer in refused} == {(503, "overloaded")}
        assert all("retry-after" in answer.headers for answer in refused)
        for answer in (
            await service.post(f"{paths[0]}/pay", customers[0], key=make_key(self.rng)),
            await service.post(f"{paths[1]}/cancel", customers[1]),
            await service.post(f"{paths[2]}/extend", customers[2]),
        ):
            assert answer.status == 200, answer
        await books.drained(self.system)
        levels = await books.check_levels(self.system, service, self.sale_id, {"A": 100})
        assert levels == {"A": (98, 1, 1)}

    async def check_new_holds_are_taken_again(self) -> None:
        async def is_held() -> bool:
            answer = await self.holds[3].send(self.service)
            assert answer.status == 201 or answer.code == "overloaded", answer
            return answer.status == 201

        await eventually(is_held, "new holds to be taken again")
        assert (await self.holds[0].send(self.service)).is_replay
        await books.drained(self.system)
        levels = await books.check_levels(self.system, self.service, self.sale_id, {"A": 100})
        assert levels == {"A": (97, 2, 1)}


async def test_at_its_memory_limit_holds_are_refused_and_everything_else_goes_on(
    system: System, admin: Client, service: Client
) -> None:
    await put_sale(admin, "memory", sale_body({"A": 100}))
    short = Short(system, service, "memory")
    await short.begin()
    async with redis.asyncio.Redis.from_url(system.run["redis_url"]) as client:
        limit = (await client.config_get("maxmemory"))["maxmemory"]
        await client.config_set("maxmemory", "1mb")
        try:
            await short.check_only_new_holds_are_refused()
        finally:
            await client.config_set("maxmemory", limit)
    await short.check_new_holds_are_taken_again()


async def test_before_the_disk_is_full_new_holds_are_shed_and_everything_else_goes_on(
    system: System, admin: Client, service: Client, tmp_path: Path
) -> None:
    await put_sale(admin, "nearly", sale_body({"A": 100}))
    short = Short(system, service, "nearly")
    await short.begin()
    # To this worker there is too little room on any disk.
    bound = {"HOLDFAST_MIN_FREE_BYTES": str(2**60)}
    async with another(system, holdfast("worker"), tmp_path / "worker.log", **bound):

        async def is_shed() -> bool:
            told = (await service.get("/readyz")).json
            return {part["reason"] for part in told["shedding"]} == {"disk"}

        await eventually(is_shed, "the worker to see it", 60)
        await short.check_only_new_holds_are_refused()
    await short.check_new_holds_are_taken_again()


async def test_a_full_disk_ends_the_server_and_it_comes_back_when_there_is_room(
    system: System, admin: Client, service: Client
) -> None:
    sales = capacities("disk")
    await put_sales(admin, sales)
    async with Load(service, items_of(sales), seed=SEED, buyers=8, pause_s=0.03) as load:
        async with small_disk(system, room_bytes=60_000) as disk:
            await disk.is_full()
        await load.held_more(50)
    assert service.history.count(503) > 0, "no buyer noticed"
    await books.check(system, load, sales)
