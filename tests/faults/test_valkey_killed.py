"""`kill -9` of the Valkey process in the middle of load: what was answered 201 is there."""

from __future__ import annotations

from tests.helpers import books
from tests.helpers.client import Client
from tests.helpers.faults import killed
from tests.helpers.load import Load, items_of, put_sales
from tests.helpers.servers import System

CAPACITIES = {f"killed-{number}": {"A": 100_000, "B": 100_000} for number in range(4)}


async def test_every_acknowledged_booking_survives_kills_of_valkey_under_load(
    system: System, admin: Client, service: Client
) -> None:
    await put_sales(admin, CAPACITIES)
    async with Load(service, items_of(CAPACITIES), seed=7, buyers=16, pause_s=0.03) as load:
        for _ in range(2):
            await load.held_more(100)
            resent = load.resent
            async with killed(system, "redis"):
                # Only a server that was started again can hold anything more.
                await load.held_more(100)
            assert load.resent > resent, "no buyer noticed"
    await books.check(system, load, CAPACITIES)
