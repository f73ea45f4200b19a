"""Payments over HTTP whose end is not known when the request is answered: 202, and what follows."""

from __future__ import annotations

import asyncio
import uuid
from contextlib import AsyncExitStack
from pathlib import Path
from typing import NoReturn

import pytest

from api.app import create_app
from engine.errors import Fenced, HoldfastError, Overloaded
from engine.payments.books import PaymentBooks
from tests.helpers.api import refused
from tests.helpers.fault_proxy import Kind
from tests.helpers.gateways import payment_settings
from tests.helpers.shop import ASKS_BUYER, CallingSimulator, Shop, open_shop
from tests.helpers.stage import eventually

CAPTURE = "/capture"


def key() -> str:
    return str(uuid.uuid4())


@pytest.mark.parametrize("with_page", [True, False])
async def test_the_buyer_acts_and_the_webhook_moves_the_payment_on(
    with_page: bool,
    redis_url: str,
    database_url: str,
    tmp_path: Path,
    calling_simulator: CallingSimulator,
) -> None:
    back = {"stripe_return_url": "https://shop.example/back"} if with_page else {}
    async with open_shop(redis_url, database_url, tmp_path, calling_simulator, **back) as shop:
        booking, used = await shop.hold(), key()
        answer = await shop.pay(booking["id"], ASKS_BUYER, key=used)
        assert answer.status_code == 202
        payment = answer.json()["payment"]
        assert payment["status"] == "REQUIRES_ACTION"
        assert ("url" in payment["next_action"]) is with_page
        assert ("client_secret" in payment["next_action"]) is not with_page
        await shop.act(answer.json())
        await shop.told()
        assert shop.webhook_of(booking["id"])[2].json() == {"taken": True}
        assert await shop.due() == [booking["id"]]
        await shop.work()
        now = await shop.read(booking["id"])
        assert (now["status"], now["payment"]["status"]) == ("CONFIRMED", "CAPTURED")
        assert now["payment"]["next_action"] is None
        # The same key now gets the final answer.
        final = await shop.pay(booking["id"], ASKS_BUYER, key=used)
        assert (final.status_code, final.json()) == (200, now)
        assert final.headers["idempotency-replayed"] == "true"
        assert len(await shop.charges(booking["id"])) == 1


async def test_a_buyer_who_fails_to_act_may_try_another_card(shop: Shop) -> None:
    booking, used = await shop.hold(), key()
    waiting = await shop.pay(booking["id"], ASKS_BUYER, key=used)
    await shop.act(waiting.json(), "fail")
    await shop.told()
    await shop.work()
    assert (await shop.read(booking["id"]))["payment"]["status"] == "DECLINED"
    refused(await shop.pay(booking["id"], ASKS_BUYER, key=used), 402, "payment_declined")
    assert (await shop.pay(booking["id"])).status_code == 200


async def test_past_the_pay_deadline_the_payment_goes_on_and_the_same_key_gets_its_end(
    redis_url: str, database_url: str, tmp_path: Path, calling_simulator: CallingSimulator
) -> None:
    async with open_shop(
        redis_url, database_url, tmp_path, calling_simulator, pay_deadline_ms=50
    ) as shop:
        booking, used = await shop.hold(), key()
        authorizing = shop.proxy.plan(Kind.HOLD_ANSWER, "/v1/payment_intents")
        slow = await shop.pay(booking["id"], key=used)
        assert (slow.status_code, slow.json()["payment"]["status"]) == (202, "AUTHORIZING")
        assert authorizing.fired.is_set()
        joined = await shop.pay(booking["id"], key=used)
        assert (joined.status_code, joined.json()["status"]) == (202, "PENDING")
        assert "idempotency-replayed" not in joined.headers
        capturing = shop.proxy.plan(Kind.HOLD_ANSWER, CAPTURE)
        authorizing.release()
        await capturing.fired.wait()
        sold = await shop.pay(booking["id"], key=used)
        assert (sold.status_code, sold.json()["status"]) == (202, "CONFIRMED")
        assert sold.json()["payment"]["status"] == "CAPTURING"
        capturing.release()

        async def is_captured() -> bool:
            now = await shop.read(booking["id"])
            return bool(now["payment"]["status"] == "CAPTURED")

        await eventually(is_captured, "the payment ends without its request")
        final = await shop.pay(booking["id"], key=used)
        assert final.status_code == 200
        assert final.headers["idempotency-replayed"] == "true"
        assert len(await shop.charges(booking["id"])) == 1


@pytest.mark.parametrize("path", ["/v1/payment_intents", CAPTURE])
async def test_webhooks_that_come_before_the_gateways_own_answer_change_nothing(
    path: str, shop: Shop
) -> None:
    booking = await shop.hold()
    held_back = shop.proxy.plan(Kind.HOLD_ANSWER, path)
    paying = asyncio.create_task(shop.pay(booking["id"]))
    await held_back.fired.wait()

    async def is_told() -> bool:
        return any(booking["id"].encode() in body for body, *_ in shop.webhooks)

    await eventually(is_told, "the webhook about the payment comes")
    await shop.told()
    assert shop.webhook_of(booking["id"])[2].json() == {"taken": True}
    assert await shop.due() == [booking["id"]]
    before = await shop.api.sequences()
    await shop.work()
    assert await shop.due() == [], "the owner is at it: a worker comes when the lease is over"
    assert await shop.api.sequences() == before
    held_back.release()
    answer = await paying
    assert (answer.status_code, answer.json()["payment"]["status"]) == (200, "CAPTURED")
    assert len(await shop.charges(booking["id"])) == 1


async def test_a_payment_outlives_a_client_that_hangs_up(shop: Shop) -> None:
    booking, used = await shop.hold(), key()
    authorizing = shop.proxy.plan(Kind.HOLD_ANSWER, "/v1/payment_intents")
    paying = asyncio.create_task(shop.pay(booking["id"], key=used))
    await authorizing.fired.wait()
    paying.cancel()
    with pytest.raises(asyncio.CancelledError):
        await paying
    authorizing.release()

    async def is_captured() -> bool:
        return bool((await shop.read(booking["id"]))["payment"]["status"] == "CAPTURED")

    await eventually(is_captured, "the payment ends without its client")
    again = await shop.pay(booking["id"], key=used)
    assert (again.status_code, again.headers["idempotency-replayed"]) == (200, "true")
    assert len(await shop.charges(booking["id"])) == 1


async def test_a_process_that_stops_lets_its_payments_end(shop: Shop) -> None:
    booking = await shop.hold()
    authorizing = shop.proxy.plan(Kind.HOLD_ANSWER, "/v1/payment_intents")
    app, running = create_app(shop.api.stage.settings, shop.settings), AsyncExitStack()
    await running.enter_async_context(app.router.lifespan_context(app))
    path, body = f"/v1/bookings/{booking['id']}/pay", {"payment_method": "pm_card_visa"}
    paying = asyncio.create_task(shop.api.over(app).post(path, body, key=key()))
    await authorizing.fired.wait()
    paying.cancel()
    stopping = asyncio.create_task(running.aclose())
    await asyncio.wait({paying})
    assert not stopping.done()
    authorizing.release()
    await stopping
    # Nobody else is there who could have done it.
    assert (await shop.read(booking["id"]))["payment"]["status"] == "CAPTURED"
    assert await shop.due() == []


@pytest.mark.parametrize("kind", [Kind.DROP_REQUEST, Kind.DROP_ANSWER])
@pytest.mark.parametrize("path", ["/v1/payment_intents", CAPTURE])
async def test_an_answer_that_never_came_is_asked_for_again_under_the_same_key(
    kind: Kind, path: str, shop: Shop
) -> None:
    booking, used = await shop.hold(), key()
    fault = shop.proxy.plan(kind, path)
    unknown = await shop.pay(booking["id"], key=used)
    assert fault.fired.is_set()
    assert (unknown.status_code, unknown.json()["payment"]["status"]) == (202, "UNKNOWN")
    final = await shop.pay(booking["id"], key=used)
    assert (final.status_code, final.json()["status"]) == (200, "CONFIRMED")
    (charge,) = await shop.charges(booking["id"])
    assert charge["id"] == final.json()["payment"]["capture_id"]


async def test_an_error_that_the_gateway_keeps_is_looked_up_and_is_no_decline(
    shop: Shop,
) -> None:
    booking, used = await shop.hold(), key()
    change = shop.simulator.faults
    # It did what it was asked, says for ever that it failed, and finds nothing yet.
    await asyncio.to_thread(change, kept_error_rate=1, search_lag_ms=60_000)
    try:
        unknown = await shop.pay(booking["id"], key=used)
    finally:
        await asyncio.to_thread(change, kept_error_rate=0, search_lag_ms=0)
    assert (unknown.status_code, unknown.json()["payment"]["status"]) == (202, "UNKNOWN")
    final = await shop.pay(booking["id"], key=used)
    assert (final.status_code, final.json()["status"]) == (200, "CONFIRMED")
    (charge,) = await shop.charges(booking["id"])
    assert charge["id"] == final.json()["payment"]["capture_id"]


async def test_a_gateway_that_is_away_leaves_the_payment_open_and_nothing_sold(
    shop: Shop,
) -> None:
    app = create_app(shop.api.stage.settings, payment_settings())
    async with app.router.lifespan_context(app):
        booking, used = await shop.hold(), key()
        path, body = f"/v1/bookings/{booking['id']}/pay", {"payment_method": "pm_card_visa"}
        answer = await shop.api.over(app).post(path, body, key=used)
        assert (answer.status_code, answer.json()["payment"]["status"]) == (202, "UNKNOWN")
        assert await shop.api.levels() == [(9, 1, 0)]
    final = await shop.pay(booking["id"], key=used)
    assert (final.status_code, final.json()["status"]) == (200, "CONFIRMED")


@pytest.mark.parametrize("refusal", [Overloaded("too many calls wait"), Fenced(0, "operator")])
async def test_a_payment_that_has_begun_is_not_said_to_be_untried(
    refusal: HoldfastError, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_: object) -> NoReturn:
        raise refusal

    booking, used = await shop.hold(), key()
    with monkeypatch.context() as patch:
        patch.setattr(PaymentBooks, "confirm", refuse)
        refused(await shop.pay(booking["id"], key=used), 503, "unavailable")
    assert len(await shop.charges(booking["id"])) == 1, "the gateway was asked"
    assert (await shop.read(booking["id"]))["payment"]["status"] == "AUTHORIZING"
