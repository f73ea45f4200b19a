"""Money that goes back, over HTTP: refunds, cancelled bookings; and what `complete` waits for."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import pytest

from tests.helpers.api import refused
from tests.helpers.fault_proxy import Kind
from tests.helpers.shop import (
    ASKS_BUYER,
    OPERATOR,
    PRICE,
    Shop,
)


async def operate(shop: Shop, booking: Any, what: str) -> Any:
    """An operator's call on a booking, sent twice: said again it answers the same."""
    path = f"/v1/bookings/{booking['id']}/{what}"
    answer = await shop.api.post(path, **OPERATOR)
    assert answer.status_code == 200, answer.text
    before = await shop.api.sequences()
    assert (await shop.api.post(path, **OPERATOR)).content == answer.content
    assert await shop.api.sequences() == before
    return answer.json()


async def given_back(shop: Shop, booking: Any) -> None:
    """Fail where the gateway has not given back all of the one capture it made, once."""
    (charge,) = await shop.charges(booking["id"])
    assert charge["amount_captured"] == charge["amount_refunded"] == PRICE
    assert len(charge["refunds"]) == 1


async def test_a_refund_gives_the_money_and_the_units_back(shop: Shop) -> None:
    booking = await shop.paid()
    told = await operate(shop, booking, "refund")
    assert (told["status"], told["cancel_reason"]) == ("CANCELLED", "operator")
    assert told["payment"]["status"] == "REFUNDING"
    assert await shop.api.levels() == [(10, 0, 0)], "at once"
    await shop.work()
    assert (await shop.read(booking["id"]))["payment"]["status"] == "REFUNDED"
    await given_back(shop, booking)
    after = await operate(shop, booking, "refund")
    assert after["payment"]["status"] == "REFUNDED"
    await shop.work()
    await given_back(shop, booking)


async def test_a_booking_that_left_redis_is_read_refunded_and_given_its_money_back(
    shop: Shop,
) -> None:
    booking = await shop.paid()
    stage = shop.api.stage
    partition = stage.partition()
    await stage.drained()
    cursor = (await stage.reads.cursors())[partition].sequence
    assert await stage.engine.bookings.evict(partition, cursor, 0, 10) == 1
    assert await shop.read(booking["id"]) == booking
    told = await operate(shop, booking, "refund")
    assert (told["status"], told["payment"]["status"]) == ("CANCELLED", "REFUNDING")
    assert await shop.api.levels() == [(10, 0, 0)]
    await shop.work()
    assert (await shop.read(booking["id"]))["payment"]["status"] == "REFUNDED"
    await given_back(shop, booking)


async def test_a_refund_of_what_was_used_up_gives_no_units_back(shop: Shop) -> None:
    booking = await shop.paid()
    assert (await operate(shop, booking, "complete"))["status"] == "COMPLETED"
    told = await operate(shop, booking, "refund")
    assert (told["status"], told["payment"]["status"]) == ("COMPLETED", "REFUNDING")
    await shop.work()
    now = await shop.read(booking["id"])
    assert (now["status"], now["payment"]["status"]) == ("COMPLETED", "REFUNDED")
    assert await shop.api.levels() == [(9, 0, 1)]
    await given_back(shop, booking)


async def test_only_captured_money_is_refunded_and_only_by_an_operator(shop: Shop) -> None:
    booking = await shop.hold()
    path = f"/v1/bookings/{booking['id']}/refund"
    refused(await shop.api.post(path, **OPERATOR), 409, "invalid_state")
    refused(await shop.api.post(path), 403, "forbidden")
    other = "1" if booking["id"].endswith("0") else "0"
    nobodys = f"/v1/bookings/{booking['id'][:-1]}{other}/refund"
    refused(await shop.api.post(nobodys, **OPERATOR), 404, "not_found")
    waiting = await shop.pay(booking["id"], ASKS_BUYER)
    assert waiting.status_code == 202
    refused(await shop.api.post(path, **OPERATOR), 409, "invalid_state")


async def test_a_refund_whose_answer_never_came_is_made_once(shop: Shop) -> None:
    booking = await shop.paid()
    await operate(shop, booking, "refund")
    lost = shop.proxy.plan(Kind.DROP_ANSWER, "/v1/refunds")
    await shop.work()
    assert lost.fired.is_set()
    if (await shop.read(booking["id"]))["payment"]["status"] != "REFUNDED":
        # On a slow machine the pause was over, and the refund asked again, while `work` still ran.
        await looked_at(shop)
    assert (await shop.read(booking["id"]))["payment"]["status"] == "REFUNDED"
    await given_back(shop, booking)


async def looked_at(shop: Shop) -> None:
    """Work once the saga's first pause is over."""
    while not await shop.due():  # noqa: ASYNC110 - Redis's clock sets no event
        await asyncio.sleep(0.05)
    await shop.work()


@pytest.mark.parametrize("who", ["customer", "operator"])
async def test_a_cancelled_paid_booking_is_refunded(who: str, shop: Shop) -> None:
    booking = await shop.paid()
    caller = OPERATOR if who == "operator" else {}
    path = f"/v1/bookings/{booking['id']}/cancel"
    answer = await shop.api.post(path, **caller)
    assert (answer.status_code, answer.json()["cancel_reason"]) == (200, who)
    assert answer.json()["payment"]["status"] == "REFUNDING"
    assert await shop.api.levels() == [(10, 0, 0)]
    await shop.work()
    now = await shop.read(booking["id"])
    assert now["payment"]["status"] == "REFUNDED"
    assert (await shop.api.post(path, **caller)).json() == now
    await given_back(shop, booking)


async def test_a_hold_that_is_cancelled_while_its_buyer_should_act_is_never_charged(
    shop: Shop,
) -> None:
    booking = await shop.hold()
    waiting = await shop.pay(booking["id"], ASKS_BUYER)
    assert waiting.status_code == 202
    cancelled = await shop.api.post(f"/v1/bookings/{booking['id']}/cancel")
    assert cancelled.json()["status"] == "CANCELLED"
    assert await shop.api.levels() == [(10, 0, 0)]
    await shop.work()
    assert await shop.due() == []
    assert await shop.charges(booking["id"]) == []
    # The page that the buyer still has open leads nowhere.
    with pytest.raises(AssertionError):
        await shop.act(waiting.json())
    assert (await shop.read(booking["id"]))["payment"]["status"] in {"DECLINED", "VOIDED"}


@pytest.mark.parametrize(
    ("step", "end"), [("/v1/payment_intents", "VOIDED"), ("/capture", "REFUNDED")]
)
async def test_a_booking_that_is_cancelled_while_the_gateway_is_asked_holds_no_money(
    step: str, end: str, shop: Shop
) -> None:
    booking = await shop.hold()
    held_up = shop.proxy.plan(Kind.HOLD_ANSWER, step)
    paying = asyncio.create_task(shop.pay(booking["id"]))
    await held_up.fired.wait()
    cancelled = await shop.api.post(f"/v1/bookings/{booking['id']}/cancel")
    assert cancelled.json()["status"] == "CANCELLED"
    assert await shop.api.levels() == [(10, 0, 0)], "at once, whatever the gateway does"
    held_up.release()
    refused(await paying, 409, "invalid_state")
    await shop.work()
    now = await shop.read(booking["id"])
    assert (now["status"], now["cancel_reason"]) == ("CANCELLED", "customer")
    assert now["payment"]["status"] == end
    (charge,) = await shop.charges(booking["id"])
    # What is only authorized is not taken first, to be given back then.
    assert (charge["captured_ms"] is None) == (charge["released_ms"] is not None)
    assert (charge["captured_ms"] is None) == (end == "VOIDED")
    assert charge["amount_refunded"] == charge["amount_captured"]
    assert await shop.api.levels() == [(10, 0, 0)]


async def test_only_what_is_captured_is_completed(shop: Shop) -> None:
    booking = await shop.hold()
    path = f"/v1/bookings/{booking['id']}/complete"
    refused(await shop.api.post(path, **OPERATOR), 409, "invalid_state")
    capturing = shop.proxy.plan(Kind.HOLD_ANSWER, "/capture")
    paying = asyncio.create_task(shop.pay(booking["id"]))
    await capturing.fired.wait()
    assert (await shop.read(booking["id"]))["status"] == "CONFIRMED"
    refused(await shop.api.post(path, **OPERATOR), 409, "invalid_state")
    capturing.release()
    assert (await paying).status_code == 200
    assert (await operate(shop, booking, "complete"))["status"] == "COMPLETED"


async def test_what_was_paid_for_nothing_is_not_refunded(shop: Shop) -> None:
    await shop.api.put_sale("free")
    free = await shop.api.hold("free")
    answer = await shop.pay(free["id"], None, key=str(uuid.uuid4()))
    assert answer.status_code == 200
    path = f"/v1/bookings/{free['id']}/refund"
    refused(await shop.api.post(path, **OPERATOR), 409, "invalid_state")
