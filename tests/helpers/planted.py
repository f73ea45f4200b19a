"""Equal books, all drained, on which tests plant a difference and see whether it is found."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import redis.asyncio

from engine.types import Booking, CancelReason
from tests.helpers.stage import Stage, stage, stage_settings
from workers import verify
from workers.replay import Report

SALE = "gig"


class Books:
    """A sale with a live hold, a confirmed, a cancelled and an extended booking, all drained."""

    def __init__(self, on: Stage, client: Any, database: asyncpg.Connection) -> None:
        self.stage = on
        self.redis: Any = client
        self.database = database
        self.bookings: dict[str, Booking] = {}

    async def fill(self) -> None:
        await self.stage.put(SALE, capacity=20)
        for customer_id in ("ann", "bob", "cid", "dan"):
            self.bookings[customer_id] = await self.stage.hold(customer_id, 2, SALE)
        await self.stage.confirm(self.bookings["bob"])
        bookings = self.stage.engine.bookings
        await bookings.cancel(self.bookings["cid"].booking_id, CancelReason.CUSTOMER)
        await bookings.extend(self.bookings["dan"].booking_id)
        await self.stage.put("other", capacity=3)
        await self.stage.drain_all()

    def key(self, family: str, *parts: str) -> str:
        return self.stage.engine.keys.key(family, self.stage.partition(SALE), *parts)

    def booking_key(self, customer_id: str) -> str:
        return self.key("booking", self.bookings[customer_id].booking_id)

    async def sql(self, statement: str) -> None:
        assert await self.database.execute(statement) not in {"UPDATE 0", "DELETE 0"}

    async def verify(self) -> Report:
        return await verify.compare(self.stage.settings)


Plant = Callable[[Books], Awaitable[str]]
"""Makes a difference; answers words of the line that must name it."""


@asynccontextmanager
async def planted_books(redis_url: str, database_url: str) -> AsyncIterator[Books]:
    """Books on empty servers."""
    async with (
        stage(stage_settings(redis_url, database_url)) as on,
        redis.asyncio.Redis.from_url(redis_url) as client,
    ):
        database = await asyncpg.connect(database_url)
        try:
            books = Books(on, client, database)
            await books.fill()
            yield books
        finally:
            await database.close()
