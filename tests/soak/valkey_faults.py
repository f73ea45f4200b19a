"""What happens to Valkey in a soak."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Mapping
from typing import Final

import redis.asyncio

from tests.helpers.client import Client
from tests.helpers.faults import frozen, killed
from tests.helpers.power_cut import lost, power_cut
from tests.helpers.wrapped_valkey import small_disk
from tests.soak.ground import Fault, Ground


async def kill(ground: Ground) -> float:
    async with killed(ground.system, "redis"):
        return time.monotonic()


async def freeze_shortly(ground: Ground) -> float:
    async with frozen(ground.system.pids["redis"]):
        await asyncio.sleep(ground.rng.uniform(0.5, 4))
    return time.monotonic()


async def freeze(ground: Ground) -> float:
    """Longer than anybody waits: who asks is told 503 before it goes on."""
    hold = ground.a_hold()
    async with (
        frozen(ground.system.pids["redis"]),
        Client(ground.system.url, ground.system.headers("service")) as client,
    ):
        over_s = time.monotonic() + 10
        answer = await hold.send(client)
        assert (answer.status, answer.code) == (503, "unavailable"), answer
        await asyncio.sleep(over_s - time.monotonic())
    over_s = time.monotonic()
    assert await ground.load.hold(hold)
    return over_s


async def cut_power(ground: Ground) -> float:
    async with power_cut(ground.system, ground.load, min_unsynced_bytes=1) as cut:
        scratch = ground.scratch / "left"
        assert await lost(ground.load, cut, scratch) == []
        assert cut.trace.early_replies == 0
        shutil.rmtree(scratch)
    return time.monotonic()


async def flush_scripts(ground: Ground) -> float:
    async with redis.asyncio.Redis.from_url(ground.system.run["redis_url"]) as client:
        for _ in range(10):
            await client.script_flush("SYNC")
            await ground.load.held_more(3)
        assert int((await client.info("commandstats"))["cmdstat_eval"]["calls"]) > 0
    return time.monotonic()


async def cut_connections(ground: Ground) -> float:
    cut = 0
    async with redis.asyncio.Redis.from_url(ground.system.run["redis_url"]) as client:
        for _ in range(10):
            for found in await client.client_list():
                if found["name"] == "holdfast-engine":
                    cut += int(await client.client_kill_filter(_id=found["id"]))
            await ground.load.held_more(1)
    assert cut > 10, "there was nothing to cut"
    return time.monotonic()


async def fill_memory(ground: Ground) -> float:
    hold = ground.a_hold()
    async with (
        redis.asyncio.Redis.from_url(ground.system.run["redis_url"]) as client,
        Client(ground.system.url, ground.system.headers("service")) as buyer,
    ):
        limit = (await client.config_get("maxmemory"))["maxmemory"]
        await client.config_set("maxmemory", "1mb")
        try:
            answer = await hold.send(buyer)
            assert (answer.status, answer.code) == (503, "overloaded"), answer
            await asyncio.sleep(ground.rng.uniform(1, 5))
        finally:
            await client.config_set("maxmemory", limit)
    over_s = time.monotonic()
    assert await ground.load.hold(hold)
    return over_s


async def fill_disk(ground: Ground) -> float:
    async with small_disk(ground.system, room_bytes=60_000) as disk:
        await disk.is_full()
        await disk.is_full()
    return time.monotonic()


FAULTS: Final[Mapping[str, Fault]] = {
    "Valkey killed": kill,
    "Valkey frozen for 0.5 to 4 s": freeze_shortly,
    "Valkey frozen for 10 s": freeze,
    "power cut between a write and its sync": cut_power,
    "Valkey's script cache emptied": flush_scripts,
    "Valkey's connections cut": cut_connections,
    "Valkey's memory full": fill_memory,
    "Valkey's disk full": fill_disk,
}
