"""Patchy clients and processes that die half-way: every key has one booking, every entry its effect
once."""

from __future__ import annotations

import asyncio
import random
from urllib.parse import urlsplit

import psutil

from engine.limits import MAX_BATCHES_IN_FLIGHT, MAX_DATABASE_CONNECTIONS
from tests.helpers import books
from tests.helpers.client import UNKNOWN, Client
from tests.helpers.faults import frozen, killed
from tests.helpers.hanging_commit import drain_held_up
from tests.helpers.load import (
    Hold,
    Load,
    items_of,
    levels_of,
    make_hold,
    put_sale,
    put_sales,
    sale_body,
)
from tests.helpers.servers import System
from tests.helpers.stage import eventually

SEED = 11


async def connections(system: System) -> list[int]:
    """How many the API has: with its clients, to Redis, to PostgreSQL."""
    of_api = [
        found
        for pid in system.pids["api"]
        for found in psutil.Process(pid).net_connections(kind="tcp")
        if found.status not in {psutil.CONN_LISTEN, psutil.CONN_NONE}
    ]
    ports = [urlsplit(system.run[name]).port for name in ("redis_url", "database_url")]
    to_servers = [sum(bool(it.raddr) and it.raddr.port == port for it in of_api) for port in ports]
    return [len(of_api) - sum(to_servers), *to_servers]


async def are_few(system: System) -> bool:
    """Whether the API has few connections: one leaked for each who hung up would be hundreds."""
    processes = len(system.pids["api"])
    with_clients, to_redis, to_postgres = await connections(system)
    return (
        with_clients < 50
        and to_redis < processes * (MAX_BATCHES_IN_FLIGHT + 20)
        and to_postgres <= processes * MAX_DATABASE_CONNECTIONS
    )


async def test_a_request_that_its_client_abandons_is_done_once_or_not_at_all(
    system: System, admin: Client, service: Client
) -> None:
    await put_sale(admin, "abandoned", sale_body({"A": 1_000}))
    rng = random.Random(SEED)
    holds = [make_hold(rng, "abandoned", {"A": 1}) for _ in range(200)]

    async def hang_up(hold: Hold, after_s: float) -> None:
        async with Client(system.url, system.headers("service"), service.history) as hasty:
            await hold.send(hasty, abandon_after_s=after_s)
            # What comes from PostgreSQL as well.
            mine = f"/v1/bookings?customer_id={hold.body['customer_id']}"
            await hasty.get(mine, abandon_after_s=after_s)

    # While Redis has the request and does not answer; what it has, it does when it goes on.
    async with frozen(system.pids["redis"]):
        await asyncio.gather(*(hang_up(hold, 0.5) for hold in holds[:50]))
    assert service.history.count(UNKNOWN) == 100
    # And at any time: before it is parsed, in the middle of it, while the answer comes.
    for first in range(50, 200, 10):
        await asyncio.gather(
            *(hang_up(hold, rng.uniform(0, 0.015)) for hold in holds[first : first + 10])
        )
    assert service.history.count(UNKNOWN) > 100, "everybody else waited for the answer"

    answers = [await hold.send(service) for hold in holds]
    assert {answer.status for answer in answers} == {201}
    await books.drained(system)
    for hold, answer in zip(holds, answers, strict=True):
        assert answer.json["customer_id"] == hold.body["customer_id"], "a crossed reply"
        listed = await service.get(f"/v1/bookings?customer_id={hold.body['customer_id']}")
        assert [found["id"] for found in listed.json["bookings"]] == [answer.json["id"]]
    assert sum(answer.is_replay for answer in answers[:50]) > 0, "none had reached Redis"
    assert len(service.history.held()) == len(holds)
    assert await levels_of(service, "abandoned") == {"A": (800, 200, 0)}
    await books.check_verify(system)
    await eventually(lambda: are_few(system), "connections to be let go")


async def test_bookings_of_a_killed_api_process_are_there_and_their_keys_have_one_each(
    system: System, admin: Client, service: Client
) -> None:
    capacities = {f"api-{number}": {"A": 50_000, "B": 50_000} for number in range(3)}
    await put_sales(admin, capacities)
    async with Load(service, items_of(capacities), seed=SEED, buyers=16, pause_s=0.02) as load:
        for _ in range(2):
            await load.held_more(60)
            async with killed(system, "api"):
                await load.held_more(60)
    assert service.history.count(UNKNOWN) > 0, "nobody was in the middle of a request"
    await books.check(system, load, capacities)


async def test_a_worker_killed_in_the_middle_of_a_drain_has_its_entries_applied_once(
    system: System, admin: Client, service: Client
) -> None:
    capacities = {f"worker-{number}": {"A": 50_000} for number in range(3)}
    # The sweep is the worker's too.
    await put_sales(admin, capacities, hold_seconds=1)
    load = Load(service, items_of(capacities), seed=SEED, buyers=8, expires=True)
    async with load:
        for _ in range(2):
            await load.held_more(30)
            async with drain_held_up(system), killed(system, "worker"):
                pass
    await books.check(system, load, capacities)
