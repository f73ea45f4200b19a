"""What must be so of a fenced partition, whatever fenced it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from typing import Any

from engine.keys import Keys
from tests.helpers import books
from tests.helpers.client import Client
from tests.helpers.load import make_hold
from tests.helpers.servers import System


def sale_in(keys: Keys, partition: int, name: str = "fenced") -> str:
    """A sale's id that lives in a partition."""
    prefix = "".join(char if char.isalnum() else "-" for char in name)[:40]
    names = (f"{prefix}-{number}" for number in range(100_000))
    return next(name for name in names if keys.partition_of_sale(name) == partition)


async def check_nothing_is_sold(
    system: System,
    service: Client,
    sale_id: str,
    capacities: Mapping[str, int],
    levels: books.Levels,
) -> None:
    """Whoever asks is told `fenced`, and nothing has moved, in Redis or in PostgreSQL."""
    before = await books.in_redis(system, sale_id)
    rng = random.Random(sale_id)
    lines = dict.fromkeys(capacities, 1)
    # A server that has just come back may first be found by nobody.
    for _ in range(100):
        answer = await make_hold(rng, sale_id, lines).send(service)
        assert answer.status == 503, answer
        if answer.code != "unavailable":
            break
        await asyncio.sleep(0.05)
    for _ in range(20):
        answer = await make_hold(rng, sale_id, lines).send(service)
        assert (answer.status, answer.code) == (503, "fenced"), answer
        assert "retry-after" in answer.headers
    assert await books.in_redis(system, sale_id) == before
    assert await books.in_postgres(system, sale_id) == levels


async def told_by_readyz(system: System) -> Any:
    """What `/readyz` says; some partitions are open, so that it is ready."""
    async with Client(system.url) as nobody:
        answer = await nobody.get("/readyz")
    assert answer.status == 200, answer
    return answer.json


async def backlog_fences(system: System) -> set[int]:
    """The partitions that `holdfast backlog status` calls fenced."""
    exit_code, status = await books.run(system, "backlog", "status")
    assert exit_code == 0, status
    return {part["partition"] for part in status["partitions"] if part["fenced"]}
