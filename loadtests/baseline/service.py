"""Reservations on PostgreSQL, in the two forms that people write.

    POST /for-update/POOL       one transaction: SELECT … FOR UPDATE, UPDATE, INSERT
    POST /one-statement/POOL    a conditional UPDATE and the INSERT, in one statement

POOL is 8 or 16 connections: more hold the lock on a hot row no sooner, and only wait beside it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final

import asyncpg
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

POOLS: Final = (8, 16)
CAPACITY: Final = 1_000_000_000
HOLD_SECONDS: Final = 300

TABLES: Final = """
DROP TABLE IF EXISTS reservations, items;
CREATE TABLE items (
    sale_id text NOT NULL,
    item_id text NOT NULL,
    available bigint NOT NULL CHECK (available >= 0),
    held bigint NOT NULL DEFAULT 0,
    unit_price bigint NOT NULL,
    PRIMARY KEY (sale_id, item_id)
);
CREATE TABLE reservations (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    sale_id text NOT NULL,
    item_id text NOT NULL,
    quantity integer NOT NULL,
    amount bigint NOT NULL,
    status text NOT NULL DEFAULT 'PENDING',
    expires_at timestamptz NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX ON reservations (expires_at) WHERE status = 'PENDING';
"""

OPEN: Final = """
INSERT INTO items (sale_id, item_id, available, unit_price) VALUES ($1, $2, $3, $4)
"""
LOCK: Final = (
    "SELECT available, unit_price FROM items WHERE sale_id = $1 AND item_id = $2 FOR UPDATE"
)
TAKE: Final = """
UPDATE items SET available = available - $3, held = held + $3 WHERE sale_id = $1 AND item_id = $2
"""
KEEP: Final = """
INSERT INTO reservations (sale_id, item_id, quantity, amount, expires_at)
VALUES ($1, $2, $3, $4, now() + make_interval(secs => $5)) RETURNING id, expires_at
"""
ONE: Final = """
WITH taken AS (
    UPDATE items SET available = available - $3, held = held + $3
    WHERE sale_id = $1 AND item_id = $2 AND available >= $3
    RETURNING unit_price
)
INSERT INTO reservations (sale_id, item_id, quantity, amount, expires_at)
SELECT $1, $2, $3, unit_price * $3, now() + make_interval(secs => $4) FROM taken
RETURNING id, expires_at
"""

Reserve = Callable[["asyncpg.Pool[Any]", str, str, int], Awaitable[Any]]


async def for_update(pool: asyncpg.Pool[Any], sale_id: str, item_id: str, quantity: int) -> Any:
    """Reserve behind a row lock; None where too little is left."""
    async with pool.acquire() as connection, connection.transaction():
        item = await connection.fetchrow(LOCK, sale_id, item_id)
        if item is None or item["available"] < quantity:
            return None
        await connection.execute(TAKE, sale_id, item_id, quantity)
        amount = item["unit_price"] * quantity
        return await connection.fetchrow(
            KEEP, sale_id, item_id, quantity, amount, float(HOLD_SECONDS)
        )


async def one_statement(pool: asyncpg.Pool[Any], sale_id: str, item_id: str, quantity: int) -> Any:
    """Reserve in one statement; None where too little is left."""
    async with pool.acquire() as connection:
        return await connection.fetchrow(ONE, sale_id, item_id, quantity, float(HOLD_SECONDS))


FORMS: Final[dict[str, Reserve]] = {"for-update": for_update, "one-statement": one_statement}


class Shop:
    """The service: its pools and its routes."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._pools: dict[int, asyncpg.Pool[Any]] = {}

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        """Make the tables and open the pools. asyncpg prepares each statement once a connection."""
        connection = await asyncpg.connect(self._url)
        try:
            await connection.execute(TABLES)
            await connection.execute(OPEN, "bench", "seat", CAPACITY, 4_500)
        finally:
            await connection.close()
        async with AsyncExitStack() as stack:
            for size in POOLS:
                pool = asyncpg.create_pool(self._url, min_size=size, max_size=size)
                self._pools[size] = await stack.enter_async_context(pool)
            yield

    def routes(self) -> list[Route]:
        """A route for each form and size of pool."""
        return [
            Route(f"/{name}/{size}", self._endpoint(form, size), methods=["POST"])
            for name, form in FORMS.items()
            for size in POOLS
        ]

    def _endpoint(self, form: Reserve, size: int) -> Callable[[Request], Awaitable[JSONResponse]]:
        async def reserve(request: Request) -> JSONResponse:
            body = await request.json()
            line = body["lines"][0]
            made = await form(self._pools[size], body["sale_id"], line["item_id"], line["quantity"])
            if made is None:
                return JSONResponse({"error": "sold out"}, status_code=409)
            return JSONResponse(
                {"id": made["id"], "expires_at": made["expires_at"].isoformat()}, status_code=201
            )

        return reserve
