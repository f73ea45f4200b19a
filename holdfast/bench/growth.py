"""What a hold costs where Redis is full, beside one where it is nearly empty.

Two systems, asked in turns: minutes lie between a Redis that is nearly empty and the same one full,
and in minutes a shared machine changes by more than what is looked for.
"""

from __future__ import annotations

import asyncio
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path
from statistics import median
from typing import Final

from redis.asyncio import Redis

from holdfast.bench.orders import Order
from holdfast.bench.stage import POLL_S, Stage, set_up

FEW_BOOKINGS: Final = 1_000
PAIRS: Final = 15
PROBED: Final = 1_000
"""Calls of a probe: few, so that the nearly empty one stays so."""
FILLED_AT_ONCE: Final = 20_000


async def growth_of_a_hold(full: Stage, live: int) -> float:
    """A hold's cost where there are `live` bookings, by that where there are few."""
    with tempfile.TemporaryDirectory(prefix="holdfast-bench-") as directory:
        async with set_up(Path(directory)) as nearly_empty:
            return await _compare((full, live), (nearly_empty, FEW_BOOKINGS))


async def _compare(*places: tuple[Stage, int]) -> float:
    """Fill each stage to so many bookings; the median of the first one's costs by the second's."""
    async with AsyncExitStack() as stack:
        asked: list[tuple[Stage, Redis]] = []
        for stage, bookings in places:
            await stack.enter_async_context(stage.worker_paused())
            server = await stack.enter_async_context(Redis.from_url(stage.run.redis_url))
            while (missing := bookings - await _bookings(server)) > 0:
                await _hold(stage, min(missing, FILLED_AT_ONCE))
            await _log_is_written(server)
            asked.append((stage, server))
        pairs = [[await _cost_us(*one) for one in asked] for _ in range(PAIRS)]
    return median(full_us / few_us for full_us, few_us in pairs)


async def _hold(stage: Stage, calls: int) -> None:
    await stage.measure(Order(work="raw", url=stage.run.url, calls=calls))


async def _bookings(server: Redis) -> int:
    """About: a booking has its hash and its idempotency record, and everything else is few."""
    keys: int = await server.dbsize()
    return keys // 2


async def _log_is_written(server: Redis) -> None:
    """Wait for the end of a rewrite of the append-only file: pages are copied under each write."""
    while (await server.info("persistence"))["aof_rewrite_in_progress"]:  # noqa: ASYNC110
        await asyncio.sleep(POLL_S)


async def _cost_us(stage: Stage, server: Redis) -> float:
    """The server's own microseconds for a call of `reserve.lua`, over a probe."""
    before_us, before = await _spent(server)
    await _hold(stage, PROBED)
    after_us, after = await _spent(server)
    return (after_us - before_us) / (after - before)


async def _spent(server: Redis) -> tuple[float, int]:
    """Microseconds and number of all script calls so far; hardly any come beside a probe."""
    found = (await server.info("commandstats"))["cmdstat_evalsha"]
    return float(found["usec"]), int(found["calls"])
