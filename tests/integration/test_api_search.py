"""Bookings by what somebody has of them, and all of a kind as one table."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.parts import Parts
from engine.limits import MAX_EXPORTS, MAX_PAGE_ROWS
from tests.helpers.api import ITEM, Api, fresh_key, open_api, refused
from tests.helpers.ledger import booking_id
from tests.helpers.shop import DECLINED, OPERATOR, VISA, Shop

SEARCH = "/v1/ops/bookings/search"
AS_TABLE = {"Accept": "text/csv"}


@pytest.fixture
async def api(redis_url: str, database_url: str, tmp_path: Path) -> AsyncIterator[Api]:
    async with open_api(redis_url, database_url, tmp_path) as api:
        yield api


async def search(api: Api, **body: Any) -> list[str]:
    """Ids of what is found, page by page."""
    await api.drained()
    found: list[str] = []
    while True:
        answer = await api.post(SEARCH, body, **OPERATOR)
        assert answer.status_code == 200, answer.text
        found += [booking["id"] for booking in answer.json()["bookings"]]
        if answer.json()["next_cursor"] is None:
            return found
        body["cursor"] = answer.json()["next_cursor"]


async def test_bookings_are_found_by_e_mail_whatever_its_capitals(api: Api) -> None:
    await api.put_sale()
    mine = [await api.hold(contact={"email": "Ann.O@Mail.Example"}) for _ in range(3)]
    other = await api.hold(contact={"email": "bob@mail.example", "phone": "+15551234567"})
    await api.hold(contact={"phone": "+15551234567"})
    await api.hold()
    expected = [booking["id"] for booking in reversed(mine)]
    assert await search(api, email="ann.o@mail.example") == expected
    assert await search(api, email="ANN.O@MAIL.EXAMPLE", limit=1) == expected
    assert await search(api, email="bob@mail.example") == [other["id"]]
    assert await search(api, email="ann.o@mail.example.org") == []


async def test_an_e_mail_is_found_while_its_key_is_among_the_keys(
    redis_url: str, database_url: str, tmp_path: Path
) -> None:
    from cryptography.fernet import Fernet

    old, new = (Fernet.generate_key().decode() for _ in range(2))
    async with open_api(redis_url, database_url, tmp_path, data_key=old) as api:
        await api.put_sale()
        first = await api.hold(contact={"email": "ann@mail.example"})
        assert await search(api, email="ann@mail.example") == [first["id"]]
    async with open_api(redis_url, database_url, tmp_path, data_key=f"{new},{old}") as api:
        second = await api.hold(contact={"email": "ann@mail.example"})
        assert await search(api, email="ann@mail.example") == [second["id"], first["id"]]
    async with open_api(redis_url, database_url, tmp_path, data_key=new) as api:
        assert await search(api, email="ann@mail.example") == [second["id"]]


async def test_an_e_mail_is_nowhere_in_the_clear_and_the_journal_has_not_even_its_hash(
    api: Api,
) -> None:
    await api.put_sale()
    booking = await api.hold(contact={"email": "ann@mail.example"})
    assert await search(api, email="ann@mail.example") == [booking["id"]]
    pool = api.stage.pool
    (row,) = await pool.fetch("SELECT ciphertext, email_hash FROM contacts")
    assert row["email_hash"] in api.stage.engine.vault.email_hashes("ann@mail.example")
    assert api.stage.engine.vault.decrypt(row["ciphertext"]).email == "ann@mail.example"
    entries = b"".join(row["entry"] for row in await pool.fetch("SELECT entry FROM journal"))
    for secret in (b"mail.example", row["email_hash"], row["email_hash"].hex().encode()):
        assert secret not in entries


async def test_bookings_are_found_by_id_by_customer_and_by_payment(shop: Shop) -> None:
    api = shop.api
    paid = await shop.paid()
    held = await shop.hold(sub="bob")
    assert await search(api, booking_id=held["id"]) == [held["id"]]
    assert await search(api, booking_id=booking_id(7)) == []
    assert await search(api, customer_id="ann") == [paid["id"]]
    payment = paid["payment"]
    assert await search(api, payment_id=payment["authorization_id"]) == [paid["id"]]
    assert await search(api, payment_id=payment["capture_id"]) == [paid["id"]]
    assert await search(api, payment_id="pi_of_nobody") == []
    # Of any attempt: the first was declined and has been followed by another.
    await shop.pay(held["id"], DECLINED, sub="bob")
    declined = (await shop.charges(held["id"]))[0]
    await shop.pay(held["id"], VISA, sub="bob")
    for charge in await shop.charges(held["id"]):
        found = await search(api, payment_id=charge["id"])
        assert found == ([] if charge["id"] == declined["id"] else [held["id"]])


async def test_a_search_is_for_administrators_who_know_exactly_one_thing(api: Api) -> None:
    asked: list[tuple[Any, str]] = [
        ({}, ""),
        ({"limit": 5}, ""),
        ({"email": "a@b.example", "customer_id": "ann"}, ""),
        ({"email": "no address"}, "email"),
        ({"booking_id": "x"}, "booking_id"),
        ({"payment_id": "a b"}, "payment_id"),
        ({"customer_id": "ann", "limit": 0}, "limit"),
        ({"customer_id": "ann", "cursor": "made-up"}, "cursor"),
        ({"phone": "+15551234567"}, "phone"),
    ]
    for body, path in asked:
        refused(await api.post(SEARCH, body, **OPERATOR), 400, "invalid_request", path)
    refused(await api.post(SEARCH, {"customer_id": "ann"}), 403, "forbidden")
    refused(await api.post(SEARCH, {"customer_id": "ann"}, scope="bookings:any"), 403, "forbidden")


async def export(api: Api, query: str = "") -> list[dict[str, str]]:
    await api.drained()
    answer = await api.get(f"/v1/bookings{query}", headers=AS_TABLE, **OPERATOR)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert "content-length" not in answer.headers
    return list(csv.DictReader(io.StringIO(answer.text, newline="")))


async def test_an_export_has_every_booking_of_the_filter_once(api: Api) -> None:
    await api.put_sale(items=[{**ITEM, "capacity": 10_000}])
    await api.put_sale("other")
    made = [await api.hold(sub=f"c{number % 7}") for number in range(MAX_PAGE_ROWS + 5)]
    await api.hold("other")
    cancelled = made[3]
    await api.post(f"/v1/bookings/{cancelled['id']}/cancel", sub="c3")
    rows = await export(api, "?sale_id=gig")
    assert [row["id"] for row in rows] == [booking["id"] for booking in reversed(made)]
    assert rows[-4]["cancel_reason"] == "customer"
    first, shown = rows[-1], made[0]
    assert (first["created_at"], first["lines"]) == (shown["created_at"], "A:1:0")
    assert (first["amount"], first["currency"], first["payment_status"]) == ("0", "USD", "")
    (ended,) = await export(api, "?status=CANCELLED")
    assert ended["id"] == cancelled["id"]
    assert len(await export(api, "?customer_id=c1&sale_id=gig")) == 30
    bounds = f"?from={made[1]['created_at']}&to={made[2]['created_at']}"
    inside = [row["created_at"] for row in await export(api, bounds)]
    assert all(made[1]["created_at"] <= at < made[2]["created_at"] for at in inside)
    page = await api.get(f"/v1/bookings{bounds}", **OPERATOR)
    assert [booking["created_at"] for booking in page.json()["bookings"]] == inside
    # What a spreadsheet would run is a text.
    await api.put_sale("odd", items=[{**ITEM, "id": "-1_1"}])
    body = {"sale_id": "odd", "lines": [{"item_id": "-1_1", "quantity": 1}]}
    answer = await api.post("/v1/bookings", body, key=fresh_key(), sub="-2-3-cmd")
    assert answer.status_code == 201
    (row,) = await export(api, "?sale_id=odd")
    assert (row["customer_id"], row["lines"]) == ("'-2-3-cmd", "'-1_1:1:0")


async def test_an_export_is_whole_for_administrators_and_who_asks_for_it(api: Api) -> None:
    for accept in ("*/*", "application/json, text/csv;q=0.5", "text/csv;q=0", "text/html", "q=;;,"):
        answer = await api.get("/v1/bookings", headers={"Accept": accept}, **OPERATOR)
        assert answer.headers["content-type"] == "application/json", accept
        assert answer.headers["vary"] == "accept"
    for scope in ("bookings", "bookings:any"):
        refused(await api.get("/v1/bookings", headers=AS_TABLE, scope=scope), 403, "forbidden")
    paged = await api.get("/v1/bookings?limit=5", headers=AS_TABLE, **OPERATOR)
    refused(paged, 400, "invalid_request", "limit")
    early = await api.get("/v1/bookings?from=2026-11-22T00:00:00Z&to=2026-11-22T00:00:00Z")
    refused(early, 400, "invalid_request", "to")
    head = await api.http.head("/v1/bookings", headers={**api.bearer("boss", "admin"), **AS_TABLE})
    assert (head.status_code, head.content) == (200, b"")


async def test_exports_are_shed_when_others_run_and_end_where_their_reader_has_gone(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    await api.put_sale()
    await api.hold()
    parts: Parts = api.app.state.parts
    parts.exports = MAX_EXPORTS
    shed = await api.get("/v1/bookings", headers=AS_TABLE, **OPERATOR)
    refused(shed, 503, "overloaded")
    parts.exports = 0
    for _ in range(MAX_EXPORTS + 1):
        assert len(await export(api)) == 1
    assert parts.exports == 0
    monkeypatch.setattr("api.exports.MAX_PAGE_ROWS", 1)
    for _ in range(2):
        await api.hold()
    assert len(await export(api)) == 3
    request = httpx.Request("GET", "http://test/v1/bookings", headers={**AS_TABLE})
    request.headers.update(api.bearer("boss", "admin"))
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "GET",
        "path": "/v1/bookings",
        "query_string": b"",
        "headers": [(name.lower(), value) for name, value in request.headers.raw],
    }
    await api.app(scope, receive, send)
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
    assert sent[-1]["more_body"], "nobody was told that this was all"
    assert parts.exports == 0
