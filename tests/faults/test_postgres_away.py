"""PostgreSQL away under load: a degraded day, not an outage. Holds go on; afterwards it has all."""

from __future__ import annotations

import asyncio
import random
from contextlib import AbstractAsyncContextManager

import asyncpg
import pytest

from tests.helpers import books
from tests.helpers.client import Client
from tests.helpers.faults import frozen, kept_down
from tests.helpers.load import Load, items_of, make_hold, make_key, put_sale, put_sales, sale_body
from tests.helpers.servers import System

AWAY_S = 4.0


def frozen_postgres(system: System) -> AbstractAsyncContextManager[None]:
    """Its connections stay open, and nothing answers."""
    return frozen(system.pids["postgres"])


def killed_postgres(system: System) -> AbstractAsyncContextManager[None]:
    """Nobody listens on its port."""
    return kept_down(system, "postgres")


AWAY = {"frozen": frozen_postgres, "killed": killed_postgres}


@pytest.mark.parametrize("how", AWAY)
async def test_holds_go_on_while_postgres_is_away_and_it_has_them_all_after_its_return(
    system: System, admin: Client, service: Client, how: str
) -> None:
    capacities = {f"{how}-{number}": {"A": 50_000} for number in range(3)}
    await put_sales(admin, capacities)
    async with Load(service, items_of(capacities), seed=10, buyers=8, pause_s=0.2) as load:
        await load.held_more(50)
        async with AWAY[how](system):
            over = asyncio.get_running_loop().time() + AWAY_S
            await load.held_more(50)
            await check_degraded(system, load)
            while asyncio.get_running_loop().time() < over:
                await load.held_more(20)
            with pytest.raises((OSError, TimeoutError)):
                await asyncpg.connect(system.run["database_url"], timeout=1)
        await load.held_more(20)
    await books.check(system, load, capacities)
    async with Client(system.url) as nobody:
        assert (await nobody.get("/readyz")).json["status"] == "ready"


async def test_a_poison_entry_is_set_aside_while_the_rest_flows_and_retry_heals_it(
    system: System, admin: Client, service: Client
) -> None:
    await put_sale(admin, "poison", sale_body({"A": 100}))
    rng = random.Random(13)
    connection = await books.connect(system)
    try:
        # As any table may come to refuse a row: this one takes nothing about eve.
        await connection.execute(
            "ALTER TABLE bookings ADD CONSTRAINT eve CHECK (customer_id <> 'eve') NOT VALID"
        )
        held = await make_hold(rng, "poison", {"A": 1}, "eve").send(service)
        path, eve = f"/v1/bookings/{held.json['id']}", {"customer_id": "eve"}
        assert (await service.post(f"{path}/pay", eve, key=make_key(rng))).status == 200
        for _ in range(20):
            assert (await make_hold(rng, "poison", {"A": 1}).send(service)).status == 201
        await books.drained(system)
        _, told = await books.run(system, "backlog", "quarantine", "list")
        (first, second) = told["entries"]
        assert (first["reason"], second["reason"]) == ("refused", "out_of_order")
        assert await books.in_postgres(system, "poison") == {"A": (80, 20, 0)}
        at = f"{first['partition']}:{first['sequence']}"
        exit_code, told = await books.run(system, "backlog", "quarantine", "retry", at)
        assert (exit_code, told["applied"]) == (1, []), "it is as poisonous as before"
        await connection.execute("ALTER TABLE bookings DROP CONSTRAINT eve")
    finally:
        await connection.close()
    exit_code, told = await books.run(system, "backlog", "quarantine", "retry", at)
    assert (exit_code, told["applied"]) == (0, [first["sequence"], second["sequence"]])
    assert await books.check_levels(system, service, "poison", {"A": 100}) == {"A": (79, 20, 1)}
    await books.check_backlog(system)
    await books.check_verify(system)


async def check_degraded(system: System, load: Load) -> None:
    """What works without PostgreSQL works, and what does not says so instead of lying."""
    live = load.tracked[-1]
    async with Client(system.url, system.headers("service"), timeout_s=20) as client:
        found, available, history, evicted, ready, alive = await asyncio.gather(
            client.get(f"/v1/bookings/{live.booking_id}?{live.query}"),
            client.get(f"/v1/sales/{live.hold.body['sale_id']}/availability?fresh=1"),
            client.get(f"/v1/bookings?{live.query}"),
            client.get(f"/v1/bookings/{live.booking_id[:-8]}00000000?{live.query}"),
            client.get("/readyz"),
            client.get("/healthz"),
        )
    assert (found.status, found.json["id"]) == (200, live.booking_id)
    assert available.status == 200
    assert (history.status, history.code) == (503, "unavailable")
    assert "retry-after" in history.headers
    assert (evicted.status, evicted.code) == (503, "unavailable"), "it may well be there: not 404"
    assert (ready.status, ready.json["status"]) == (200, "degraded")
    assert alive.status == 200
