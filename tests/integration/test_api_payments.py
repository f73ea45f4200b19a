"""Paying over HTTP: what each thing that can happen at the gateway is answered with.

Every answer is held against `/openapi.json` (`tests.helpers.api`), and what was charged is counted
by the gateway itself.
"""

from __future__ import annotations

import asyncio
import uuid

from api.app import create_app
from tests.helpers.api import ITEM, refused
from tests.helpers.fault_proxy import Kind
from tests.helpers.shop import DECLINED, PRICE, Shop

SERVICE = {"sub": "front", "scope": "bookings:any"}
CAPTURE = "/capture"


def key() -> str:
    return str(uuid.uuid4())


async def test_a_good_card_confirms_the_booking_and_is_charged_once(shop: Shop) -> None:
    booking = await shop.hold(3)
    answer = await shop.pay(booking["id"])
    assert answer.status_code == 200
    assert "idempotency-replayed" not in answer.headers
    paid = answer.json()
    (charge,) = await shop.charges(booking["id"])
    assert (paid["status"], paid["cancel_reason"]) == ("CONFIRMED", None)
    assert paid["payment"] == {
        "status": "CAPTURED",
        "gateway": "simulator",
        "amount": 3 * PRICE,
        "currency": "USD",
        "authorization_id": charge["payment_intent"],
        "capture_id": charge["id"],
        "attempts": 1,
        "decline_code": None,
        "next_action": None,
    }
    assert (charge["amount_captured"], charge["currency"]) == (3 * PRICE, "usd")
    assert await shop.read(booking["id"]) == paid
    assert await shop.api.levels() == [(7, 0, 3)]
    assert await shop.due() == []


async def test_the_first_final_answer_is_kept_whatever_happens_since(shop: Shop) -> None:
    booking = await shop.hold()
    used = key()
    first = await shop.pay(booking["id"], key=used)
    await shop.api.post(f"/v1/bookings/{booking['id']}/cancel")
    await shop.work()
    for again in (
        await shop.pay(booking["id"], key=used),
        await shop.pay(booking["id"], key=used.upper()),
        await shop.pay(booking["id"], key=used, **SERVICE),
    ):
        assert (again.status_code, again.content) == (200, first.content)
        assert again.headers["idempotency-replayed"] == "true"
    refused(
        await shop.pay(booking["id"], "pm_card_mastercard", key=used), 422, "idempotency_key_reused"
    )
    assert len(await shop.charges(booking["id"])) == 1


async def test_the_same_pay_at_once_is_one_authorization_also_in_two_processes(shop: Shop) -> None:
    app = create_app(shop.api.stage.settings, shop.settings)
    async with app.router.lifespan_context(app):
        other = shop.api.over(app)
        for apis in ((shop.api, shop.api), (shop.api, other)):
            booking = await shop.hold()
            body, used = {"payment_method": "pm_card_visa"}, key()
            path = f"/v1/bookings/{booking['id']}/pay"
            answers = await asyncio.gather(*(api.post(path, body, key=used) for api in apis))
            assert [answer.status_code for answer in answers] == [200, 200]
            assert answers[0].content == answers[1].content
            replays = [answer.headers.get("idempotency-replayed") for answer in answers]
            assert sorted(map(str, replays)) == ["None", "true"]
            assert len(await shop.charges(booking["id"])) == 1
    assert await shop.api.levels() == [(8, 0, 2)]


async def test_another_key_or_body_while_an_attempt_is_open_is_refused(shop: Shop) -> None:
    booking, used = await shop.hold(), key()
    held_up = shop.proxy.plan(Kind.HOLD_ANSWER, CAPTURE)
    paying = asyncio.create_task(shop.pay(booking["id"], key=used))
    await held_up.fired.wait()
    refused(await shop.pay(booking["id"]), 409, "invalid_state")
    refused(await shop.pay(booking["id"], "pm_card_amex", key=used), 422, "idempotency_key_reused")
    held_up.release()
    assert (await paying).status_code == 200
    refused(await shop.pay(booking["id"]), 409, "invalid_state")
    assert len(await shop.charges(booking["id"])) == 1


async def test_after_a_decline_the_hold_stays_for_another_card(shop: Shop) -> None:
    booking, used = await shop.hold(), key()
    declined = await shop.pay(booking["id"], DECLINED, key=used)
    refused(declined, 402, "payment_declined")
    assert "generic_decline" in declined.json()["detail"]
    now = await shop.read(booking["id"])
    assert (now["status"], now["payment"]["status"]) == ("PENDING", "DECLINED")
    assert (now["payment"]["decline_code"], now["payment"]["attempts"]) == ("generic_decline", 1)
    assert now["hold_expires_at"] == booking["hold_expires_at"]
    assert await shop.api.levels() == [(9, 1, 0)]
    paid = await shop.pay(booking["id"])
    assert (paid.status_code, paid.json()["payment"]["attempts"]) == (200, 2)
    assert paid.json()["payment"]["decline_code"] is None
    # The 402 is kept with its attempt.
    again = await shop.pay(booking["id"], DECLINED, key=used)
    refused(again, 402, "payment_declined")
    assert again.headers["idempotency-replayed"] == "true"
    statuses = [charge["status"] for charge in await shop.charges(booking["id"])]
    assert statuses == ["failed", "succeeded"]


async def test_a_payment_method_that_the_gateway_does_not_know_is_declined(shop: Shop) -> None:
    booking = await shop.hold()
    refused(await shop.pay(booking["id"], "pm_of_nobody"), 402, "payment_declined")
    assert (await shop.pay(booking["id"])).status_code == 200


async def test_after_three_attempts_no_more_are_made(shop: Shop) -> None:
    booking = await shop.hold()
    for _ in range(3):
        refused(await shop.pay(booking["id"], DECLINED), 402, "payment_declined")
    refused(await shop.pay(booking["id"]), 409, "invalid_state")
    assert len(await shop.charges(booking["id"])) == 3
    assert (await shop.read(booking["id"]))["status"] == "PENDING"


async def test_a_capture_that_is_refused_gives_the_units_back_and_voids(shop: Shop) -> None:
    booking, used = await shop.hold(2), key()
    answer = await shop.pay(booking["id"], "pm_card_captureRefused", key=used)
    refused(answer, 402, "payment_declined")
    assert "cancelled" in answer.json()["detail"]
    await shop.work()
    now = await shop.read(booking["id"])
    assert (now["status"], now["cancel_reason"]) == ("CANCELLED", "payment_failed")
    assert now["payment"]["status"] == "VOIDED"
    assert await shop.api.levels() == [(10, 0, 0)]
    (charge,) = await shop.charges(booking["id"])
    assert charge["captured_ms"] is None
    assert charge["released_ms"]
    refused(
        await shop.pay(booking["id"], "pm_card_captureRefused", key=used), 402, "payment_declined"
    )


async def test_a_hold_that_ended_cannot_be_paid(shop: Shop) -> None:
    await shop.api.put_sale(hold_seconds=1, items=[{**ITEM, "unit_price": PRICE}])
    expired = await shop.hold()
    await asyncio.sleep(1.05)
    refused(await shop.pay(expired["id"]), 409, "hold_expired")
    cancelled = await shop.hold()
    await shop.api.post(f"/v1/bookings/{cancelled['id']}/cancel")
    refused(await shop.pay(cancelled["id"]), 409, "invalid_state")
    assert await shop.charges(expired["id"]) == await shop.charges(cancelled["id"]) == []


async def test_only_what_costs_money_needs_a_payment_method(shop: Shop) -> None:
    booking = await shop.hold()
    refused(await shop.pay(booking["id"], None), 400, "invalid_request", "payment_method")
    await shop.api.put_sale("free")
    free = await shop.api.hold("free")
    refused(await shop.pay(free["id"]), 400, "invalid_request", "payment_method")
    answer = await shop.pay(free["id"], None)
    assert (answer.status_code, answer.json()["payment"]) == (200, None)
    assert answer.json()["status"] == "CONFIRMED"


async def test_what_is_not_for_this_caller_or_well_formed_begins_nothing(shop: Shop) -> None:
    booking = await shop.hold()
    before = await shop.api.sequences()
    refused(await shop.pay(booking["id"], sub="bob"), 404, "not_found")
    refused(await shop.pay(booking["id"], "4242424242424242"), 422, "card_number_refused")
    refused(await shop.pay(booking["id"], ""), 400, "invalid_request", "payment_method")
    path = f"/v1/bookings/{booking['id']}/pay"
    body = {"payment_method": "pm_card_visa"}
    refused(await shop.api.post(path, body), 400, "idempotency_key_missing")
    refused(await shop.api.post(path, body, key="1"), 400, "idempotency_key_invalid")
    assert await shop.api.sequences() == before
    assert await shop.charges(booking["id"]) == []
