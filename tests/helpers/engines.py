"""Engines on real servers, and what their journals fold to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

from redis.asyncio import Redis

from engine.archive import Archive
from engine.engine import Engine
from engine.journal import parse_entry
from engine.keys import Keys
from engine.model import PartitionState, fold
from engine.partitions import FloorSource
from engine.settings import EngineOptions
from engine.types import ItemDefinition, LineRequest, SaleDefinition
from tests.helpers.fake import DATA_KEY

PARTITIONS: Final = 4
SEAT: Final = [LineRequest("seat", 1)]


def options(url: str, **changes: Any) -> EngineOptions:
    """Options of an engine on a server; few partitions, so that tests start quickly."""
    given: dict[str, Any] = {"redis_url": url, "data_keys": (DATA_KEY,), "partitions": PARTITIONS}
    return EngineOptions(**(given | changes))


@asynccontextmanager
async def opened(
    url: str,
    *,
    archive: Archive | None = None,
    floors: FloorSource | None = None,
    **changes: Any,
) -> AsyncIterator[Engine]:
    """An engine whose partitions are initialised."""
    async with await Engine.open(options(url, **changes), archive=archive, floors=floors) as engine:
        await engine.initialise()
        yield engine


def gig(capacity: int = 10, *, price: int = 0, hold_ms: int = 60_000) -> SaleDefinition:
    """A sale `gig` of one item, `seat`."""
    item = ItemDefinition("seat", "A seat", capacity=capacity, unit_price=price)
    return SaleDefinition(sale_id="gig", name="A gig", items=(item,), hold_ms=hold_ms)


async def replayed(engine: Engine, partition: int) -> PartitionState:
    """The fold of a partition's journal."""
    found = await engine.journal.read(partition, 1, 100_000)
    return fold(parse_entry(entry.sequence, entry.text) for entry in found.entries)


async def check_books(engine: Engine, sale_ids: Sequence[str] = ("gig",)) -> PartitionState:
    """Compare sales and bookings in Redis with the fold of the journal; return the last fold."""
    state = PartitionState()
    for sale_id in sale_ids:
        state = await replayed(engine, engine.keys.partition_of_sale(sale_id))
        sale = await engine.sales.get(sale_id)
        assert sale
        assert sale.levels == tuple(state.sales[sale_id].levels.values())
        answers = await asyncio.gather(*(engine.bookings.get(name) for name in state.bookings))
        assert [answer.booking for answer in answers] == list(state.bookings.values())
    return state


async def move_clock(url: str, sale_id: str, now_ms: int, partitions: int = PARTITIONS) -> None:
    """Set the time of the sale's partition: see `tests.helpers.scripted`."""
    keys = Keys(partitions)
    meta = keys.meta(keys.partition_of_sale(sale_id)).decode()
    async with Redis.from_url(url) as client:
        await client.hset(meta, "last_ms", str(now_ms))
