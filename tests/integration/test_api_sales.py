"""Sales over HTTP: put, read, listed, what is left of them, and every change of an item."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from engine.times import rfc3339
from tests.helpers.api import ITEM, SALE, Api, open_api, refused

ADMIN: dict[str, Any] = {"sub": "boss", "scope": "admin"}


@pytest.fixture
async def api(redis_url: str, database_url: str, tmp_path: Path) -> AsyncIterator[Api]:
    async with open_api(redis_url, database_url, tmp_path) as api:
        yield api


async def test_a_sale_is_created_read_back_and_put_again(api: Api) -> None:
    body = {
        "name": "Größe 🎟",
        "opens_at": "2026-01-01T00:00:00.123Z",
        "closes_at": "2999-01-01T02:00:00.456+02:00",
        "hold_seconds": 60,
        "max_units_per_customer": 4,
        "currency": "EUR",
        "items": [{**ITEM, "max_per_booking": 2}, {**ITEM, "id": "B", "unit_price": 2**53 - 1}],
    }
    created = await api.ask("PUT", "/v1/sales/gig", body, **ADMIN)
    sale = created.json()
    assert created.status_code == 201
    items = [{"max_per_booking": None, **item} for item in body["items"]]  # type: ignore[attr-defined]
    assert sale == {
        **body,
        "id": "gig",
        "closes_at": "2999-01-01T00:00:00.456Z",
        "items": items,
        "version": 1,
        "created_at": sale["created_at"],
        "updated_at": sale["created_at"],
    }
    assert (await api.get("/v1/sales/gig")).json() == sale
    before = await api.sequences()
    again = await api.ask("PUT", "/v1/sales/gig", body, **ADMIN)
    assert (again.status_code, again.json()) == (200, sale)
    assert await api.sequences() == before
    changed = await api.ask("PUT", "/v1/sales/gig", {**body, "name": "New"}, **ADMIN)
    assert (changed.status_code, changed.json()["name"]) == (200, "New")
    assert changed.json()["version"] == 2


async def test_what_is_held_or_sold_cannot_be_taken_away(api: Api) -> None:
    await api.put_sale()
    booking = await api.hold(quantity=3)
    before = await api.sequences()
    for items in ([{**ITEM, "capacity": 2}], [{**ITEM, "id": "B"}]):
        answer = await api.ask("PUT", "/v1/sales/gig", {**SALE, "items": items}, **ADMIN)
        assert (answer.status_code, answer.json()["code"]) == (409, "capacity_in_use")
        assert "A" in answer.json()["detail"]
    answer = await api.ask("PUT", "/v1/sales/gig", {**SALE, "currency": "EUR"}, **ADMIN)
    assert (answer.status_code, answer.json()["code"]) == (409, "invalid_state")
    assert await api.sequences() == before
    await api.put_sale(items=[{**ITEM, "capacity": 3}])
    assert await api.levels() == [(0, 3, 0)]
    await api.post(f"/v1/bookings/{booking['id']}/cancel")
    await api.put_sale(items=[{**ITEM, "id": "B"}], currency="EUR")
    assert await api.levels() == [(10, 0, 0)]


async def test_a_sale_in_the_past_is_refused_but_one_that_ended_stays_editable(api: Api) -> None:
    body = {**SALE, "closes_at": "2020-01-01T00:00:00Z"}
    before = await api.sequences()
    answer = await api.ask("PUT", "/v1/sales/gig", body, **ADMIN)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request")
    assert [fault["path"] for fault in answer.json()["errors"]] == ["closes_at"]
    assert await api.sequences() == before
    closes_at = rfc3339(int(time.time() * 1000) + 300)
    await api.put_sale(closes_at=closes_at)
    await asyncio.sleep(0.35)
    assert (await api.put_sale(closes_at=closes_at, name="Over"))["name"] == "Over"


@pytest.mark.parametrize("currency", ["ZZZ", "XXX", "XAU"])
async def test_a_sale_in_what_nobody_can_pay_with_is_refused(api: Api, currency: str) -> None:
    answer = await api.ask("PUT", "/v1/sales/gig", {**SALE, "currency": currency}, **ADMIN)
    refused(answer, 400, "invalid_request", "currency")
    assert (await api.get("/v1/sales/gig")).status_code == 404


async def test_sales_are_listed_in_order_page_by_page(api: Api) -> None:
    names = [f"sale-{number:02}" for number in range(7)]
    for name in reversed(names):
        await api.put_sale(name)
    found: list[str] = []
    cursor, pages = None, 0
    while True:
        path = "/v1/sales?limit=3" + (f"&cursor={cursor}" if cursor else "")
        page = (await api.get(path)).json()
        found += [sale["id"] for sale in page["sales"]]
        pages, cursor = pages + 1, page["next_cursor"]
        if cursor is None:
            break
    assert (found, pages) == (names, 3)
    assert (await api.get("/v1/sales?limit=7")).json()["next_cursor"] is None
    one = (await api.get("/v1/sales?limit=1")).json()["sales"][0]
    assert one == (await api.get("/v1/sales/sale-00")).json()


@pytest.mark.parametrize("cursor", ["made-up", "c2FsZS0wMA", "AAAAAA", "a", "...."])
async def test_a_cursor_that_was_made_up_is_refused(api: Api, cursor: str) -> None:
    await api.put_sale()
    for path in ("/v1/sales", "/v1/bookings", "/v1/sales/gig/items/A/history"):
        options = ADMIN if "items" in path else {}
        answer = await api.get(f"{path}?cursor={cursor}", **options)
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request"), path
        assert [fault["path"] for fault in answer.json()["errors"]] == ["cursor"]


async def test_availability_is_open_and_always_adds_up(api: Api) -> None:
    await api.put_sale(items=[ITEM, {**ITEM, "id": "B", "capacity": 5}])
    await api.hold(quantity=4)
    answer = await api.get("/v1/sales/gig/availability?fresh=1", sub=None)
    assert answer.status_code == 200
    assert answer.json() == {
        "sale_id": "gig",
        "as_of": answer.json()["as_of"],
        "items": [
            {"item_id": "A", "capacity": 10, "available": 6, "held": 4, "sold": 0},
            {"item_id": "B", "capacity": 5, "available": 5, "held": 0, "sold": 0},
        ],
    }
    absent = await api.get("/v1/sales/nowhere/availability", sub=None)
    assert (absent.status_code, absent.json()["code"]) == (404, "unknown_sale")


async def test_availability_that_the_caller_has_is_not_sent_again(api: Api) -> None:
    await api.put_sale()
    path = "/v1/sales/gig/availability?fresh=1"
    first = await api.get(path, sub=None)
    assert first.headers["cache-control"] == "no-cache"
    headers = {"If-None-Match": first.headers["etag"]}
    again = await api.get(path, sub=None, headers=headers)
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == first.headers["etag"]
    await api.hold()
    changed = await api.get(path, sub=None, headers=headers)
    assert changed.status_code == 200
    assert changed.headers["etag"] != first.headers["etag"]


async def test_availability_is_shared_for_its_age_and_fresh_is_fresh(
    redis_url: str, database_url: str, tmp_path: Path
) -> None:
    settings: dict[str, Any] = {"availability_staleness_ms": "60000"}
    async with open_api(redis_url, database_url, tmp_path, **settings) as api:
        await api.put_sale()
        path = "/v1/sales/gig/availability"
        first = await api.get(path)
        await api.hold()
        assert (await api.get(path)).content == first.content
        fresh = await api.get(f"{path}?fresh=1")
        assert fresh.json()["items"][0]["available"] == 9
        assert (await api.get(f"{path}?fresh=0")).content == fresh.content


async def test_a_setting_closes_availability_to_those_without_a_token(
    redis_url: str, database_url: str, tmp_path: Path
) -> None:
    settings: dict[str, Any] = {"availability_public": "false"}
    async with open_api(redis_url, database_url, tmp_path, **settings) as api:
        await api.put_sale()
        path = "/v1/sales/gig/availability"
        assert (await api.get(path, sub=None)).status_code == 401
        assert (await api.get(path)).status_code == 200


async def test_every_change_of_an_item_is_in_its_history(api: Api) -> None:
    await api.put_sale()
    booking = await api.hold(quantity=2)
    other = await api.hold(quantity=3, sub="bob")
    await api.pay(booking["id"])
    await api.post(f"/v1/bookings/{other['id']}/cancel", sub="bob")
    path = "/v1/sales/gig/items/A/history"
    page = (await api.get(path, **ADMIN)).json()
    assert (page["sale_id"], page["item_id"], page["next_cursor"]) == ("gig", "A", None)
    told = [
        (change["type"], change["booking_id"], tuple(change["deltas"].values()))
        for change in page["changes"]
    ]
    assert told == [
        ("cancelled", other["id"], (3, -3, 0)),
        ("confirmed", booking["id"], (0, -2, 2)),
        ("held", other["id"], (-3, 3, 0)),
        ("held", booking["id"], (-2, 2, 0)),
        ("sale_put", None, (10, 0, 0)),
    ]
    assert {change["levels"]["capacity"] for change in page["changes"]} == {10}
    first = (await api.get(f"{path}?limit=3", **ADMIN)).json()
    rest = (await api.get(f"{path}?limit=3&cursor={first['next_cursor']}", **ADMIN)).json()
    assert first["changes"] + rest["changes"] == page["changes"]
    for absent, code in (
        ("/v1/sales/nowhere/items/A/history", "unknown_sale"),
        ("/v1/sales/gig/items/B/history", "unknown_item"),
    ):
        answer = await api.get(absent, **ADMIN)
        assert (answer.status_code, answer.json()["code"]) == (404, code)


async def test_a_customer_finds_in_the_history_what_was_done_just_before(api: Api) -> None:
    await api.put_sale()
    await api.put_sale("other")
    mine: list[Any] = []
    for number in range(6):
        booking = await api.hold("gig" if number % 2 else "other")
        mine.insert(0, booking)
        assert (await api.get("/v1/bookings?limit=1")).json()["bookings"] == [booking]
    await api.hold(sub="bob")
    cancelled = (await api.post(f"/v1/bookings/{mine[0]['id']}/cancel")).json()
    mine[0] = cancelled
    assert (await api.get("/v1/bookings")).json() == {"bookings": mine, "next_cursor": None}
    only = (await api.get("/v1/bookings?status=CANCELLED&sale_id=gig")).json()["bookings"]
    assert only == [cancelled]
    first = (await api.get("/v1/bookings?limit=4")).json()
    rest = (await api.get(f"/v1/bookings?limit=4&cursor={first['next_cursor']}")).json()
    assert first["bookings"] + rest["bookings"] == mine

    service: dict[str, Any] = {"sub": "shop", "scope": "bookings:any"}
    named = (await api.get("/v1/bookings?customer_id=ann", **service)).json()["bookings"]
    assert named == mine
    assert (await api.get("/v1/bookings", **service)).json()["bookings"] == []
    everybodys = (await api.get("/v1/bookings", **ADMIN)).json()["bookings"]
    assert {booking["customer_id"] for booking in everybodys} == {"ann", "bob"}


async def test_a_history_that_lags_is_answered_after_a_bounded_wait(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nothing(_: int) -> int:
        return 0

    await api.put_sale()
    await api.hold()
    await api.get("/v1/bookings")
    monkeypatch.setattr(type(api.stage.drain), "run_once", lambda self, partition: nothing(0))
    await api.hold()
    began = asyncio.get_running_loop().time()
    page = (await api.get("/v1/bookings")).json()
    assert len(page["bookings"]) == 1
    assert 0.9 < asyncio.get_running_loop().time() - began < 3
