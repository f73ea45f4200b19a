"""PostgreSQL away under load: a degraded day, not an outage. Holds go on; afterwards it has all."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager

import asyncpg
import pytest

from tests.helpers import books
from tests.helpers.client import Client
from tests.helpers.faults import frozen, kept_down
from tests.helpers.load import Load, items_of, put_sales
from tests.helpers.servers import System

AWAY_S = 8.0


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
    async with Load(service, items_of(capacities), seed=10, buyers=8) as load:
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
