"""The life of a booking over HTTP: held, read, extended, confirmed, cancelled, completed."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from api.times import epoch_ms
from engine.times import rfc3339
from tests.helpers.api import ITEM, Api, hold_body, open_api


@pytest.fixture
async def api(redis_url: str, database_url: str, tmp_path: Path) -> AsyncIterator[Api]:
    async with open_api(redis_url, database_url, tmp_path) as api:
        yield api


def key() -> str:
    return str(uuid.uuid4())


ADMIN = {"sub": "boss", "scope": "admin"}
SERVICE = {"sub": "shop", "scope": "bookings:any"}


async def test_a_hold_is_the_booking_of_the_contract(api: Api) -> None:
    await api.put_sale(items=[{**ITEM, "unit_price": 250}], hold_seconds=90)
    before = time.time() * 1000
    answer = await api.post("/v1/bookings", hold_body(quantity=3), key=key())
    booking = answer.json()
    assert answer.status_code == 201
    assert answer.headers["location"] == f"/v1/bookings/{booking['id']}"
    assert "idempotency-replayed" not in answer.headers
    created = epoch_ms(booking["created_at"])
    assert abs(created - before) < 5_000
    assert epoch_ms(booking["hold_expires_at"]) - created == 90_000
    assert booking == {
        "id": booking["id"],
        "sale_id": "gig",
        "customer_id": "ann",
        "status": "PENDING",
        "cancel_reason": None,
        "lines": [{"item_id": "A", "quantity": 3, "unit_price": 250, "amount": 750}],
        "total": {"amount": 750, "currency": "USD"},
        "hold_expires_at": booking["hold_expires_at"],
        "created_at": booking["created_at"],
        "updated_at": booking["created_at"],
        "payment": None,
    }
    assert (await api.get(f"/v1/bookings/{booking['id']}")).json() == booking
    assert await api.levels() == [(7, 3, 0)]


async def test_the_same_key_and_body_give_the_first_answer_again_whatever_happened_since(
    api: Api,
) -> None:
    await api.put_sale()
    used, body = key(), hold_body(quantity=10, contact={"email": "ann@mail.example"})
    first = await api.post("/v1/bookings", body, key=used)
    assert first.status_code == 201
    await api.post(f"/v1/bookings/{first.json()['id']}/cancel")
    await api.put_sale(items=[{**ITEM, "capacity": 1, "unit_price": 5}])
    for spelled in (used, used.upper()):
        again = await api.post("/v1/bookings", body, key=spelled)
        assert (again.status_code, again.content) == (201, first.content)
        assert again.headers["idempotency-replayed"] == "true"
        assert again.headers["location"] == first.headers["location"]
    for other in (hold_body(quantity=9), {**body, "contact": {"email": "bob@mail.example"}}):
        answer = await api.post("/v1/bookings", other, key=used)
        assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_key_reused")
    assert await api.levels() == [(1, 0, 0)]


async def test_a_key_belongs_to_its_customer_and_a_refusal_is_not_kept(api: Api) -> None:
    await api.put_sale()
    used = key()
    mine = await api.post("/v1/bookings", hold_body(quantity=10), key=used)
    sold_out = await api.post("/v1/bookings", hold_body(quantity=10), key=used, sub="bob")
    assert (sold_out.status_code, sold_out.json()["code"]) == (409, "sold_out")
    assert "A" in sold_out.json()["detail"]
    await api.post(f"/v1/bookings/{mine.json()['id']}/cancel")
    taken = await api.post("/v1/bookings", hold_body(quantity=10), key=used, sub="bob")
    assert (taken.status_code, taken.json()["customer_id"]) == (201, "bob")
    assert "idempotency-replayed" not in taken.headers


async def test_many_identical_requests_at_once_make_one_booking_and_equal_bodies(api: Api) -> None:
    await api.put_sale()
    used, body = key(), hold_body(quantity=2)
    answers = await asyncio.gather(*(api.post("/v1/bookings", body, key=used) for _ in range(100)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.content for answer in answers}) == 1
    replays = [answer for answer in answers if "idempotency-replayed" in answer.headers]
    assert len(replays) == 99
    assert await api.levels() == [(8, 2, 0)]


@pytest.mark.parametrize(
    ("sale", "quantity", "status", "code"),
    [
        ({"opens_at": "2999-01-01T00:00:00Z"}, 1, 409, "sale_not_open"),
        ({"max_units_per_customer": 2}, 3, 409, "customer_limit"),
        ({"items": [{**ITEM, "max_per_booking": 2}]}, 3, 409, "booking_limit"),
        ({"items": [{**ITEM, "capacity": 0}]}, 1, 409, "sold_out"),
        ({"items": [{**ITEM, "id": "B"}]}, 1, 404, "unknown_item"),
        ({"items": [{**ITEM, "unit_price": 2**53 - 1}]}, 2, 400, "invalid_request"),
    ],
)
async def test_a_hold_that_the_sale_does_not_allow_is_refused(
    api: Api, sale: Any, quantity: int, status: int, code: str
) -> None:
    await api.put_sale(**sale)
    before = await api.sequences()
    answer = await api.post("/v1/bookings", hold_body(quantity=quantity), key=key())
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    if status == 400:
        assert [fault["path"] for fault in answer.json()["errors"]] == ["lines"]
    assert await api.sequences() == before


async def test_a_sale_that_closed_or_never_was_takes_no_hold(api: Api) -> None:
    await api.put_sale(closes_at=rfc3339(int(time.time() * 1000) + 300))
    await asyncio.sleep(0.4)
    assert (await api.post("/v1/bookings", hold_body(), key=key())).json()["code"] == "sale_closed"
    answer = await api.post("/v1/bookings", hold_body("nowhere"), key=key())
    assert (answer.status_code, answer.json()["code"]) == (404, "unknown_sale")


async def test_a_free_booking_is_confirmed_by_pay_and_a_replay_says_so(api: Api) -> None:
    await api.put_sale()
    booking, used = await api.hold(quantity=2), key()
    path = f"/v1/bookings/{booking['id']}/pay"
    first = await api.post(path, key=used)
    assert (first.status_code, first.json()["status"]) == (200, "CONFIRMED")
    assert first.json()["payment"] is None
    assert await api.levels() == [(8, 0, 2)]
    done = await api.post(f"/v1/bookings/{booking['id']}/complete", **ADMIN)
    assert done.json()["status"] == "COMPLETED"
    for body in (None, {}, {"customer_id": "ann"}):
        again = await api.post(path, body, key=used)
        assert (again.status_code, again.content) == (200, first.content)
        assert again.headers["idempotency-replayed"] == "true"
    by_service = await api.post(path, key=used, **SERVICE)
    assert by_service.content == first.content, "the key's scope is the customer, whoever asks"
    other = await api.post(path, key=key())
    assert (other.status_code, other.json()["code"]) == (409, "invalid_state")
    assert "COMPLETED" in other.json()["detail"]


async def test_a_booking_that_costs_money_needs_a_payment_method(api: Api) -> None:
    await api.put_sale(items=[{**ITEM, "unit_price": 1}])
    booking = await api.hold()
    path = f"/v1/bookings/{booking['id']}/pay"
    nothing: dict[str, str] = {}
    for body in (None, nothing):
        answer = await api.post(path, body, key=key())
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request")
        assert [fault["path"] for fault in answer.json()["errors"]] == ["payment_method"]
    assert await api.levels() == [(9, 1, 0)]


async def test_a_payment_method_for_nothing_is_refused(api: Api) -> None:
    await api.put_sale()
    booking = await api.hold()
    body = {"payment_method": "pm_card_visa"}
    answer = await api.post(f"/v1/bookings/{booking['id']}/pay", body, key=key())
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request")
    assert [fault["path"] for fault in answer.json()["errors"]] == ["payment_method"]
    assert await api.levels() == [(9, 1, 0)]


async def test_a_hold_is_extended_once_and_then_stays(api: Api) -> None:
    await api.put_sale(hold_seconds=100)
    booking = await api.hold()
    await asyncio.sleep(0.02)
    path = f"/v1/bookings/{booking['id']}/extend"
    first = await api.post(path)
    assert first.status_code == 200
    assert first.json()["hold_expires_at"] > booking["hold_expires_at"]
    assert (await api.post(path, {})).json() == first.json()
    await api.pay(booking["id"])
    assert (await api.post(path)).json()["status"] == "CONFIRMED", "as it is now"


async def test_an_expired_hold_reads_as_cancelled_and_cannot_be_used(api: Api) -> None:
    await api.put_sale(hold_seconds=1)
    booking = await api.hold(quantity=10)
    assert (await api.post("/v1/bookings", hold_body(), key=key(), sub="bob")).status_code == 409
    await asyncio.sleep(1.05)
    assert await api.levels() == [(10, 0, 0)], "what is due counts as available"
    path = f"/v1/bookings/{booking['id']}"
    assert (await api.post(f"{path}/extend")).json()["code"] == "hold_expired"
    assert (await api.post(f"{path}/pay", key=key())).json()["code"] == "hold_expired"
    read = (await api.get(path)).json()
    assert (read["status"], read["cancel_reason"]) == ("CANCELLED", "expired")
    again = await api.post(f"{path}/cancel")
    assert (again.status_code, again.json()) == (200, read)


async def test_a_cancel_gives_back_at_once_and_said_again_answers_the_same(api: Api) -> None:
    await api.put_sale()
    pending, confirmed = await api.hold(quantity=4), await api.hold(quantity=6)
    await api.pay(confirmed["id"])
    assert await api.levels() == [(0, 4, 6)]
    for booking in (pending, confirmed):
        path = f"/v1/bookings/{booking['id']}/cancel"
        first = await api.post(path)
        assert (first.json()["status"], first.json()["cancel_reason"]) == ("CANCELLED", "customer")
        before = await api.sequences()
        assert (await api.post(path)).content == first.content
        assert await api.sequences() == before
    assert await api.levels() == [(10, 0, 0)]


async def test_another_customers_booking_is_not_there(api: Api) -> None:
    await api.put_sale()
    path = f"/v1/bookings/{(await api.hold())['id']}"
    for method, rest in (("GET", ""), ("POST", "/pay"), ("POST", "/extend"), ("POST", "/cancel")):
        answer = await api.ask(method, path + rest, sub="bob", key=key())
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found"), rest
    assert (await api.get("/v1/bookings", sub="bob")).json()["bookings"] == []
    assert await api.levels() == [(9, 1, 0)]


async def test_a_customer_who_names_another_is_forbidden_everywhere(api: Api) -> None:
    await api.put_sale()
    path = f"/v1/bookings/{(await api.hold())['id']}"
    other: dict[str, Any] = {"customer_id": "bob"}
    answers = [
        await api.post("/v1/bookings", hold_body(**other), key=key()),
        await api.post("/v1/bookings?customer_id=bob", hold_body(), key=key()),
        await api.get(f"{path}?customer_id=bob"),
        await api.get("/v1/bookings?customer_id=bob"),
        await api.post(f"{path}/pay", other, key=key()),
        await api.post(f"{path}/extend", other),
        await api.post(f"{path}/cancel?customer_id=bob"),
    ]
    assert {(answer.status_code, answer.json()["code"]) for answer in answers} == {
        (403, "forbidden")
    }
    own = await api.post("/v1/bookings", hold_body(customer_id="ann"), key=key())
    assert own.json()["customer_id"] == "ann"


async def test_a_front_end_acts_for_every_customer(api: Api) -> None:
    await api.put_sale()
    answer = await api.post("/v1/bookings", hold_body(customer_id="bob"), key=key(), **SERVICE)
    assert (answer.status_code, answer.json()["customer_id"]) == (201, "bob")
    path = f"/v1/bookings/{answer.json()['id']}"
    assert (await api.get(path, **SERVICE)).status_code == 200
    assert (await api.get(f"{path}?customer_id=bob", **SERVICE)).status_code == 200
    assert (await api.get(f"{path}?customer_id=ann", **SERVICE)).status_code == 404
    assert (await api.post(f"{path}/extend", {"customer_id": "bob"}, **SERVICE)).status_code == 200
    both = await api.post(f"{path}/cancel?customer_id=bob", {"customer_id": "ann"}, **SERVICE)
    assert (both.status_code, both.json()["errors"][0]["path"]) == (400, "customer_id")
    assert (await api.post(f"{path}/cancel", {"customer_id": "ann"}, **SERVICE)).status_code == 404
    cancelled = await api.post(f"{path}/cancel", **SERVICE)
    assert cancelled.json()["cancel_reason"] == "customer"
    in_query = await api.post("/v1/bookings?customer_id=eve", hold_body(), key=key(), **SERVICE)
    assert in_query.json()["customer_id"] == "eve"
    own = await api.post("/v1/bookings", hold_body(), key=key(), **SERVICE)
    assert own.json()["customer_id"] == "shop"


async def test_an_administrator_reads_and_cancels_any_booking_and_does_nothing_else_with_it(
    api: Api,
) -> None:
    await api.put_sale()
    path = f"/v1/bookings/{(await api.hold())['id']}"
    assert (await api.get(path, **ADMIN)).status_code == 200
    for rest in ("/pay", "/extend"):
        assert (await api.post(path + rest, key=key(), **ADMIN)).status_code == 403
    both = {"sub": "boss", "scope": "bookings admin"}
    for rest in ("/pay", "/extend"):
        assert (await api.post(path + rest, key=key(), **both)).status_code == 404
    cancelled = await api.post(f"{path}/cancel", **ADMIN)
    assert cancelled.json()["cancel_reason"] == "operator"
    own = await api.post("/v1/bookings", hold_body(), key=key(), **both)
    cancelled = await api.post(f"/v1/bookings/{own.json()['id']}/cancel", **both)
    assert cancelled.json()["cancel_reason"] == "customer"


async def test_only_a_confirmed_booking_is_completed(api: Api) -> None:
    await api.put_sale()
    booking = await api.hold()
    path = f"/v1/bookings/{booking['id']}/complete"
    assert (await api.post(path, **ADMIN)).json()["code"] == "invalid_state"
    await api.pay(booking["id"])
    first = await api.post(path, {}, **ADMIN)
    assert first.json()["status"] == "COMPLETED"
    assert (await api.post(path, **ADMIN)).content == first.content
    cancelled = await api.post(f"/v1/bookings/{booking['id']}/cancel")
    assert (cancelled.status_code, cancelled.json()["code"]) == (409, "invalid_state")
