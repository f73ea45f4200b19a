"""`GET /v1/ops/payments/stuck`: what it shows, page by page, and while PostgreSQL is away."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from engine.outcomes import Outcome
from engine.payments.books import PaymentRequest
from engine.types import ItemDefinition, LineRequest, SaleDefinition
from tests.helpers.api import Api, open_api, refused
from tests.helpers.gateways import payment_settings
from tests.helpers.servers import Postgres

PATH = "/v1/ops/payments/stuck"


@pytest.fixture
async def api(redis_url: str, database_url: str, tmp_path: Path) -> AsyncIterator[Api]:
    async with open_api(redis_url, database_url, tmp_path, payments=payment_settings()) as opened:
        yield opened


async def begin(api: Api, redis_url: str, sale_id: str, customer_id: str, age_ms: int) -> str:
    """Write an intent down that is so old, and that nobody carries out."""
    engine = api.stage.engine
    item = ItemDefinition("A", "Seat", 100, unit_price=500)
    await engine.sales.put(SaleDefinition(sale_id, "Gig", (item,)))
    held = await engine.bookings.reserve(
        sale_id, customer_id, [LineRequest("A", 1)], str(uuid.uuid4())
    )
    assert held.booking
    booking_id = held.booking.booking_id
    request = PaymentRequest(booking_id, customer_id, str(uuid.uuid4()), "pm_card_visa")
    begun = await engine.payments.begin(request, uuid.uuid4().hex, "nobody")
    assert begun.outcome is Outcome.BEGUN
    partition = engine.keys.partition_of_sale(sale_id)
    async with Redis.from_url(redis_url) as redis:
        name = engine.keys.key("booking", partition, booking_id)
        await redis.hincrby(name, "payment_begun_ms", -age_ms)
    return booking_id


async def pages(api: Api, limit: int) -> list[Any]:
    """Every payment shown, page by page."""
    shown: list[Any] = []
    cursor = ""
    while True:
        answer = await api.get(f"{PATH}?limit={limit}{cursor}", sub="boss", scope="admin")
        assert answer.status_code == 200, answer.text
        body = answer.json()
        assert len(body["payments"]) <= limit
        shown += body["payments"]
        if body["next_cursor"] is None:
            return shown
        cursor = f"&cursor={body['next_cursor']}"


async def test_what_is_open_for_too_long_is_shown_and_nothing_else(
    api: Api, redis_url: str
) -> None:
    old = await begin(api, redis_url, "gig", "ann", 90_000)
    await begin(api, redis_url, "gig", "bob", 0)
    (found,) = await pages(api, 50)
    assert (found["step"], found["booking"]["id"]) == ("authorize", old)
    assert found["open_s"] >= 90
    assert found["booking"]["payment"]["status"] == "AUTHORIZING"


@pytest.mark.parametrize("limit", [1, 2, 200])
async def test_every_one_is_on_some_page(api: Api, redis_url: str, limit: int) -> None:
    wanted = {
        await begin(api, redis_url, f"gig-{number % 3}", f"c{number}", 90_000)
        for number in range(7)
    }
    found = [row["booking"]["id"] for row in await pages(api, limit)]
    assert len(found) == len(wanted)
    assert set(found) == wanted


async def test_it_is_for_administrators(api: Api) -> None:
    refused(await api.get(PATH), 403, "forbidden")
    refused(await api.get(PATH, sub=None), 401, "unauthenticated")


@pytest.mark.parametrize("cursor", ["x", "AAAA", "!", "YWJjZGVmZ2hpag"])
async def test_a_cursor_that_no_page_ended_with_is_refused(api: Api, cursor: str) -> None:
    answer = await api.get(f"{PATH}?cursor={cursor}", sub="boss", scope="admin")
    refused(answer, 400, "invalid_request", "cursor")


async def test_it_is_shown_while_postgresql_is_away(redis_url: str, tmp_path: Path) -> None:
    postgres = Postgres(tmp_path / "postgres")
    try:
        url = postgres.fresh_database()
        async with open_api(redis_url, url, tmp_path, payments=payment_settings()) as api:
            old = await begin(api, redis_url, "gig", "ann", 90_000)
            postgres.stop()
            (found,) = await pages(api, 50)
            assert found["booking"]["id"] == old
    finally:
        postgres.close()
