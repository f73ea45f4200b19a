"""Rates per customer: what costs one, what does not, and how the caller is told to wait."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.api import Api, hold_body, open_api

SERVICE: dict[str, Any] = {"sub": "ann", "scope": "bookings:any"}


@pytest.fixture
async def api(redis_url: str, database_url: str, tmp_path: Path) -> AsyncIterator[Api]:
    # One call in a second and three at once: what is not replenished in a test that takes less.
    async with open_api(redis_url, database_url, tmp_path, rate_limit="1/s burst 3") as api:
        yield api


async def test_holds_past_the_rate_are_429_with_the_time_to_wait(api: Api) -> None:
    await api.put_sale()
    keys = [str(uuid.uuid4()) for _ in range(3)]
    for key in keys:
        assert (await api.post("/v1/bookings", hold_body(), key=key)).status_code == 201
    limited = await api.post("/v1/bookings", hold_body(), key=str(uuid.uuid4()))
    assert (limited.status_code, limited.json()["code"]) == (429, "rate_limited")
    assert limited.headers["retry-after"] == "1"
    for key in keys:
        replay = await api.post("/v1/bookings", hold_body(), key=key)
        assert replay.headers["idempotency-replayed"] == "true", "a replay costs no rate"
    other = await api.post("/v1/bookings", hold_body(), key=str(uuid.uuid4()), sub="bob")
    assert other.status_code == 201
    trusted = await api.post("/v1/bookings", hold_body(), key=str(uuid.uuid4()), **SERVICE)
    assert trusted.status_code == 201


async def test_changes_cost_a_rate_and_a_payment_does_not(api: Api) -> None:
    await api.put_sale()
    booking = await api.hold()
    path = f"/v1/bookings/{booking['id']}"
    assert (await api.post(f"{path}/extend")).status_code == 200
    assert (await api.post(f"{path}/extend")).status_code == 200
    before = await api.sequences()
    for rest in ("/extend", "/cancel"):
        limited = await api.post(path + rest)
        assert (limited.status_code, limited.json()["code"]) == (429, "rate_limited")
    assert await api.sequences() == before
    key = str(uuid.uuid4())
    for _ in range(5):
        assert (await api.post(f"{path}/pay", key=key)).status_code == 200
    assert (await api.post(f"{path}/cancel", **SERVICE)).status_code == 200
