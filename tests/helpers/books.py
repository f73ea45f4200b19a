"""The books of a system after a load: is every unit, and every acknowledged booking, where it is?

Counted in four places that know nothing of each other: the answers that buyers got, HTTP, Redis
and PostgreSQL. And `holdfast verify`, which also folds the journal.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import asyncpg
import redis.asyncio
from asyncpg import Connection, Record
from asyncpg.exceptions import CannotConnectNowError

from engine.keys import Keys
from tests.helpers.client import Client
from tests.helpers.load import CANCELLED, CONFIRMED, PENDING, Load, levels_of
from tests.helpers.servers import System

PARTITIONS: Final = 16
Levels = dict[str, tuple[int, int, int]]
"""Available, held and sold by item."""


async def run(system: System, *arguments: str, timeout_s: float = 120.0) -> tuple[int, Any]:
    """Run a `holdfast` command with `--json`; return its exit code and what it printed."""
    done = await asyncio.to_thread(system.command, *arguments, "--json", timeout_s=timeout_s)
    try:
        return done.returncode, json.loads(done.stdout)
    except ValueError:
        raise AssertionError(f"{arguments}: exit {done.returncode}\n{done.stderr}") from None


def settings(system: System) -> dict[str, str]:
    """The variables that its processes were given, for one more of them."""
    given: dict[str, str] = json.loads((system.directory / "settings.json").read_text())
    return given


async def connect(system: System, timeout_s: float = 20.0) -> Connection[Record]:
    """A connection to a PostgreSQL that may be starting just now."""
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            return await asyncpg.connect(system.run["database_url"])
        except (OSError, CannotConnectNowError):
            assert time.monotonic() < deadline, f"no PostgreSQL in {timeout_s} s"
            await asyncio.sleep(0.1)


async def drained(
    system: System, partitions: Sequence[int] = range(PARTITIONS), timeout_s: float = 60.0
) -> None:
    """Wait until PostgreSQL has every entry that the partitions have now."""
    keys = Keys(PARTITIONS)
    began = time.monotonic()
    async with redis.asyncio.Redis.from_url(system.run["redis_url"]) as client:
        tips = {
            partition: int(await client.hget(keys.meta(partition).decode(), "sequence"))
            for partition in partitions
        }
    connection = await connect(system, timeout_s)
    try:
        while True:
            rows = await connection.fetch("SELECT partition, sequence FROM partitions")
            cursors = {row["partition"]: row["sequence"] for row in rows}
            if all(cursors[partition] >= tip for partition, tip in tips.items()):
                break
            late = time.monotonic() - began > timeout_s
            assert not late, f"not in {timeout_s} s: {tips} {cursors}"
            await asyncio.sleep(0.05)
    finally:
        await connection.close()
    print(f"drained {sum(tips.values())} entries in {time.monotonic() - began:.1f} s")


async def in_redis(system: System, sale_id: str) -> Levels:
    """What Redis has of a sale."""
    keys = Keys(PARTITIONS)
    name = keys.key("stock", keys.partition_of_sale(sale_id), sale_id)
    async with redis.asyncio.Redis.from_url(
        system.run["redis_url"], decode_responses=True
    ) as client:
        fields: dict[str, str] = await client.hgetall(name)
    items = {field.partition(":")[0] for field in fields}
    return {
        item: (
            int(fields[f"{item}:available"]),
            int(fields[f"{item}:held"]),
            int(fields[f"{item}:sold"]),
        )
        for item in items
    }


async def in_postgres(system: System, sale_id: str) -> Levels:
    """What PostgreSQL has of a sale: sums of deltas."""
    connection = await connect(system)
    try:
        rows = await connection.fetch(
            "SELECT item_id, available, held, sold FROM items WHERE sale_id = $1", sale_id
        )
    finally:
        await connection.close()
    return {row["item_id"]: (row["available"], row["held"], row["sold"]) for row in rows}


async def check_levels(
    system: System, client: Client, sale_id: str, capacities: Mapping[str, int]
) -> Levels:
    """The levels of a drained sale without due holds: the same in every book."""
    levels = await levels_of(client, sale_id)
    assert {item: sum(level) for item, level in levels.items()} == dict(capacities)
    assert await in_redis(system, sale_id) == levels
    assert await in_postgres(system, sale_id) == levels
    return levels


async def check_backlog(system: System) -> None:
    """`holdfast backlog status` says that PostgreSQL has everything."""
    exit_code, status = await run(system, "backlog", "status")
    assert exit_code == 0, status
    assert [part["partition"] for part in status["partitions"]] == list(range(PARTITIONS))
    assert all(part["cursor"] == part["tip"] for part in status["partitions"]), status
    assert not any(part["quarantined"] for part in status["partitions"]), status


async def check_verify(system: System) -> Any:
    """`holdfast verify` finds no difference."""
    exit_code, verdict = await run(system, "verify")
    assert (exit_code, verdict["equal"], verdict["differences"]) == (0, True, []), verdict
    return verdict


async def check(system: System, load: Load, capacities: Mapping[str, Mapping[str, int]]) -> None:
    """Everything that a load was told is so, nothing else is, and all books agree.

    The load must be over, and its sales must have been its own.
    """
    assert not load.given_up, load.given_up
    assert not load.client.history.surprises()
    assert {booking.booking_id for booking in load.tracked} == {
        booking["id"] for booking in load.client.history.held().values()
    }
    async with Client(system.url, system.headers("service")) as client:
        if load.expires:
            await expired(system, load, capacities)
        await drained(system)
        await check_backlog(system)
        await check_bookings(client, load)
        for sale_id, by_item in capacities.items():
            levels = await check_levels(system, client, sale_id, by_item)
            assert levels == recount(load, sale_id, by_item), sale_id
    await check_verify(system)


async def expired(
    system: System, load: Load, sale_ids: Iterable[str], timeout_s: float = 30.0
) -> None:
    """Wait until the sweeper has taken back every hold; what is `PENDING` by the load is not."""
    deadline = time.monotonic() + timeout_s
    for sale_id in sale_ids:
        while any(held for _, held, _ in (await in_redis(system, sale_id)).values()):
            assert time.monotonic() < deadline, f"holds of {sale_id} are not swept"
            await asyncio.sleep(0.1)
    for booking in load.tracked:
        if booking.status == PENDING:
            booking.status = CANCELLED


async def check_bookings(client: Client, load: Load) -> None:
    """Every booking that was answered 201 can be read, and is in the status last answered."""
    queue = iter(load.tracked)

    async def check_some() -> None:
        for booking in queue:
            answer = await client.get(f"/v1/bookings/{booking.booking_id}?{booking.query}")
            assert answer.status == 200, (booking, answer)
            assert answer.json["status"] == booking.status, (booking, answer)
            asked = [(line["item_id"], line["quantity"]) for line in booking.hold.body["lines"]]
            found = [(line["item_id"], line["quantity"]) for line in answer.json["lines"]]
            assert sorted(found) == sorted(asked)

    began = time.monotonic()
    await asyncio.gather(*(check_some() for _ in range(8)))
    print(f"read {len(load.tracked)} bookings in {time.monotonic() - began:.1f} s")


def recount(load: Load, sale_id: str, capacities: Mapping[str, int]) -> Levels:
    """What the levels must be by the answers alone."""
    held: Counter[str] = Counter()
    sold: Counter[str] = Counter()
    for booking in load.tracked:
        if booking.hold.body["sale_id"] == sale_id:
            units = {line["item_id"]: line["quantity"] for line in booking.hold.body["lines"]}
            if booking.status == PENDING:
                held.update(units)
            elif booking.status == CONFIRMED:
                sold.update(units)
    return {
        item: (capacity - held[item] - sold[item], held[item], sold[item])
        for item, capacity in capacities.items()
    }
