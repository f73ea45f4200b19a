"""The whole system on a Redis Cluster of three masters: API, worker and the operator's commands."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from redis.crc import key_slot

from engine.keys import Keys
from tests.helpers import books
from tests.helpers.client import Client
from tests.helpers.cluster import Cluster
from tests.helpers.load import levels_of, make_hold, put_sale, sale_body
from tests.helpers.servers import System
from tests.helpers.stage import eventually

KEYS: Final = Keys(books.PARTITIONS)
PLACES: Final = 3
SALES: Final = tuple(
    next(
        name
        for n in range(1000)
        if key_slot(KEYS.meta(KEYS.partition_of_sale(name := f"gig-{n}"))) * PLACES // 16_384
        == place
    )
    for place in range(PLACES)
)
"""One on each master."""


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with Cluster(tmp_path / "cluster", masters=PLACES) as found:
        yield found


@pytest.fixture
def system(cluster: Cluster, tmp_path: Path, redis_url: str, database_url: str) -> Iterator[System]:
    """On the cluster, with a Redis of its own for arq."""
    terms = ("--redis-url", cluster.url, "--database-url", database_url, "--api-workers", "1")
    with System(tmp_path / "data", *terms, HOLDFAST_ARQ_REDIS_URL=redis_url) as found:
        yield found


async def hold(rng: random.Random, client: Client, sale_id: str) -> Any:
    answer = await make_hold(rng, sale_id, {"seat": 1}, "ann").send(client)
    assert answer.status == 201, answer
    return answer.json["id"]


async def test_everything_sells_expires_is_drained_verified_and_rebuilt(
    cluster: Cluster, system: System
) -> None:
    rng = random.Random(7)
    async with (
        Client(system.url, system.headers("admin")) as admin,
        Client(system.url, system.headers("service")) as service,
    ):
        for sale_id in SALES:
            body = sale_body({"seat": 10}, unit_price=500, hold_seconds=1)
            await put_sale(admin, sale_id, body)
            booking_id = await hold(rng, service, sale_id)
            paid = await service.post(
                f"/v1/bookings/{booking_id}/pay",
                {"payment_method": "pm_card_visa", "customer_id": "ann"},
                key=make_hold(rng, sale_id, {}).key,
            )
            assert paid.json["payment"]["status"] == "CAPTURED", paid
            cancelled = await hold(rng, service, sale_id)
            await service.post(f"/v1/bookings/{cancelled}/cancel", {"customer_id": "ann"})
            await hold(rng, service, sale_id)

        async def is_sold() -> bool:
            """One of each, and the rest has expired."""
            levels = [await levels_of(service, sale_id) for sale_id in SALES]
            return levels == [{"seat": (9, 0, 1)}] * PLACES

        await eventually(is_sold, "the rest to expire")
        cluster.masters[1].ask("FLUSHALL")
        lost = make_hold(rng, SALES[1], {"seat": 1}, "bob")
        assert (await lost.send(service)).code == "fenced"
        await hold(rng, service, SALES[0])
        assert (await service.get("/readyz")).json["status"] == "degraded"
        exit_code, rebuilt = await books.run(system, "rebuild")
        assert (exit_code, rebuilt["refused"]) == (0, [])
        partitions = {one["partition"] for one in rebuilt["partitions"]}
        assert partitions == {
            partition
            for partition in range(books.PARTITIONS)
            if key_slot(KEYS.meta(partition)) * PLACES // 16_384 == 1
        }
        assert await levels_of(service, SALES[1]) == {"seat": (9, 0, 1)}
        assert (await lost.send(service)).status == 201
        exit_code, verdict = await books.run(system, "verify")
        assert (exit_code, verdict["differences"]) == (0, [])
        assert (verdict["bookings"], verdict["payments"]) == (11, 3)
        commands = (("prune", "--older-than", "90"), ("replay",))
        ended = await asyncio.gather(
            books.check_backlog(system),
            *(books.run(system, "backlog", *command) for command in commands),
        )
        assert [exit_code for exit_code, _ in ended[1:]] == [0, 0]
