"""What an operator has to repair in a soak, and does: `rebuild`, `quarantine retry`."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import redis.asyncio

from tests.helpers import books
from tests.helpers.client import Client
from tests.helpers.faults import frozen, kept_down
from tests.helpers.servers import System
from tests.helpers.stage import eventually
from tests.soak.ground import Fault, Ground


async def empty_valkey(ground: Ground) -> float:
    async with (
        redis.asyncio.Redis.from_url(ground.system.run["redis_url"]) as client,
        at_rest(ground.system),
    ):
        await client.acl_setuser("default", enabled=True, commands=["+flushall"])
        await client.flushall()
        await client.acl_setuser("default", enabled=True, commands=["-flushall"])
    return await rebuild(ground)


async def take_valkey_back(ground: Ground) -> float:
    """By an older copy of its files."""
    async with redis.asyncio.Redis.from_url(ground.system.run["redis_url"]) as client:
        files = Path((await client.config_get("dir"))["dir"]) / "appendonlydir"
    copy = ground.scratch / "older"
    async with kept_down(ground.system, "redis"):
        await asyncio.to_thread(shutil.copytree, files, copy)
    await ground.load.held_more(30)
    async with at_rest(ground.system), kept_down(ground.system, "redis"):
        shutil.rmtree(files)
        await asyncio.to_thread(shutil.move, copy, files)
    return await rebuild(ground)


@asynccontextmanager
async def at_rest(system: System) -> AsyncIterator[None]:
    """Nobody writes inside, and PostgreSQL has all that Redis has: what is lost is in one book."""
    async with frozen(*system.pids["api"]):
        while True:
            await books.drained(system)
            async with frozen(*system.pids["worker"]):
                if await are_equal(system):
                    yield
                    return


async def are_equal(system: System) -> bool:
    """Whether PostgreSQL lacks nothing of any journal."""
    _, told = await books.run(system, "backlog", "status")
    return bool(told["total_entries"] == 0)


async def rebuild(ground: Ground) -> float:
    """See that what is fenced sells nothing, then do what the runbook says."""
    hold = ground.a_hold()
    async with Client(ground.system.url, ground.system.headers("service")) as client:

        async def is_fenced() -> bool:
            answer = await hold.send(client)
            assert answer.status == 503, answer
            return answer.code == "fenced"

        await eventually(is_fenced, "it to be fenced", 60)
    over_s = time.monotonic()
    exit_code, told = await books.run(ground.system, "rebuild", timeout_s=300)
    assert (exit_code, told["refused"]) == (0, []), told
    assert told["partitions"], "there was nothing to rebuild"
    assert not any(part["dropped"] for part in told["partitions"]), told
    assert await ground.load.hold(hold)
    return over_s


async def poison(ground: Ground) -> float:
    """A table refuses what is about one customer; then it does not, and the operator retries."""
    customer_id = f"poison-{ground.rng.getrandbits(48):012x}"
    connection = await books.connect(ground.system)
    try:
        await connection.execute(
            f"ALTER TABLE bookings ADD CONSTRAINT poison CHECK (customer_id <> '{customer_id}')"
            " NOT VALID"
        )
        hold = ground.a_hold(customer_id)
        assert await ground.load.hold(hold)
        await books.drained(ground.system)
        (entry,) = await quarantined(ground)
        assert entry["reason"] == "refused", entry
        await connection.execute("ALTER TABLE bookings DROP CONSTRAINT poison")
    finally:
        await connection.close()
    over_s = time.monotonic()
    at = f"{entry['partition']}:{entry['sequence']}"
    exit_code, told = await books.run(ground.system, "backlog", "quarantine", "retry", at)
    assert (exit_code, told["applied"]) == (0, [entry["sequence"]]), told
    assert await quarantined(ground) == []
    return over_s


async def quarantined(ground: Ground) -> list[dict[str, Any]]:
    """What is in quarantine now."""
    _, told = await books.run(ground.system, "backlog", "quarantine", "list")
    entries: list[dict[str, Any]] = told["entries"]
    return entries


FAULTS: Final[Mapping[str, Fault]] = {
    "Valkey emptied, then rebuilt": empty_valkey,
    "Valkey back by an older copy, then rebuilt": take_valkey_back,
    "a poison entry, then retried": poison,
}
