"""The conventional service is fair: it sells what there is, never more, in both of its forms."""

from __future__ import annotations

import asyncio

import asyncpg
import httpx
import pytest
from starlette.applications import Starlette

from loadtests.baseline import service
from loadtests.baseline.service import FORMS, POOLS, Shop

BODY = {"sale_id": "bench", "lines": [{"item_id": "seat", "quantity": 2}]}


@pytest.mark.parametrize("form", FORMS)
async def test_it_sells_exactly_what_there_is(
    form: str, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "CAPACITY", 25)
    shop = Shop(database_url)
    async with shop.opened():
        transport = httpx.ASGITransport(Starlette(routes=shop.routes()))
        async with httpx.AsyncClient(transport=transport, base_url="http://shop") as client:
            paths = [f"/{form}/{POOLS[number % 2]}" for number in range(20)]
            answers = await asyncio.gather(*(client.post(path, json=BODY) for path in paths))
    assert sorted(answer.status_code for answer in answers) == [201] * 12 + [409] * 8
    connection = await asyncpg.connect(database_url)
    try:
        assert await connection.fetchval("SELECT available FROM items") == 1
        assert await connection.fetchval("SELECT held FROM items") == 24
        assert await connection.fetchval("SELECT sum(quantity) FROM reservations") == 24
        assert await connection.fetchval("SELECT min(amount) FROM reservations") == 9_000
    finally:
        await connection.close()
