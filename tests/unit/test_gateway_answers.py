"""Every answer of Stripe's is a value, and only what is certain is called certain.

The adapter and Stripe's library are real; what answers them is a script.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiohttp import web

from engine.payments.gateway import (
    Approved,
    Declined,
    Failed,
    GatewayStatus,
    NextAction,
    RequiresAction,
    Unknown,
)
from tests.helpers.gateways import BOOKING, adapter, an_intent, listening
from tests.helpers.stripe_script import (
    CANCELED,
    CAPTURED,
    INTENT,
    Script,
    error,
)

APPROVED = Approved("pi_1", 1250, "USD", 1_800_000_000_000)

DEFINITE: list[tuple[Any, Any]] = [
    ((200, INTENT), APPROVED),
    ((200, INTENT | {"latest_charge": "ch_1"}), Approved("pi_1", 1250, "USD", None)),
    (
        (
            200,
            INTENT
            | {
                "status": "requires_action",
                "next_action": {
                    "type": "redirect_to_url",
                    "redirect_to_url": {"url": "https://bank.example/3ds"},
                },
            },
        ),
        RequiresAction("pi_1", NextAction("redirect_to_url", "https://bank.example/3ds", None)),
    ),
    (
        (200, INTENT | {"status": "requires_action", "next_action": {"type": "use_stripe_sdk"}}),
        RequiresAction("pi_1", NextAction("use_stripe_sdk", None, "pi_1_secret_2")),
    ),
    (
        error(
            402,
            type="card_error",
            code="card_declined",
            decline_code="insufficient_funds",
            payment_intent={"id": "pi_1"},
        ),
        Declined("insufficient_funds", "pi_1"),
    ),
    (error(402, type="card_error", code="expired_card"), Declined("expired_card")),
    (error(402, type="card_error"), Declined("card_declined")),
    (error(402, type="card_error", code=["a"], payment_intent={}), Declined("card_declined")),
    (
        error(400, type="invalid_request_error", code="resource_missing", param="payment_method"),
        Failed("resource_missing"),
    ),
    (error(400, type="invalid_request_error", param="amount"), Failed("invalid_request")),
    (error(404, type="invalid_request_error"), Failed("invalid_request")),
    ((200, CANCELED), Failed("canceled", GatewayStatus.VOIDED)),
]

UNCERTAIN: list[tuple[Any, str]] = [
    (error(400, type="idempotency_error"), "idempotency_mismatch"),
    (error(400, type="invalid_request_error", code="lock_timeout"), "lock_timeout"),
    (error(400, type="invalid_request_error", code="rate_limit"), "rate_limit"),
    (error(401, type="invalid_request_error"), "unauthenticated"),
    (error(403, type="invalid_request_error"), "forbidden"),
    (error(409, type="idempotency_error", code="idempotency_key_in_use"), "idempotency_key_in_use"),
    (error(409, type="invalid_request_error"), "http_409"),
    (error(424, type="api_error"), "http_424"),
    (error(429, type="invalid_request_error", code="lock_timeout"), "lock_timeout"),
    (error(429, type="api_error"), "rate_limited"),
    (error(500, type="api_error"), "http_500"),
    (error(502, type="api_error"), "http_502"),
    ((503, "the proxy in between has its own words"), "http_503"),
    ((404, {"detail": "not Stripe at all"}), "http_404"),
    (b"<html>not JSON</html>", "http_200"),
    (b'{"object": "payment_intent"}', "unreadable"),
    ((200, INTENT | {"id": 'pi"1'}), "unreadable"),
    ((200, INTENT | {"latest_charge": 'ch"1'}), "unreadable"),
    (b"null", "unreadable"),
    (b"[]", "unreadable"),
    (b"\xff\xfe", "unreadable"),
    ((502, {"error": "Bad Gateway"}), "unreadable"),
    ((502, {"error": None}), "unreadable"),
    ((200, INTENT | {"amount": 1e999}), "unreadable"),
    ((200, INTENT | {"status": "a status of tomorrow"}), "unreadable"),
    ((200, INTENT | {"status": "processing"}), "status_authorizing"),
    ((200, CAPTURED), "status_captured"),
    (None, "connection"),
]


@pytest.mark.parametrize(("answer", "result"), DEFINITE)
async def test_an_authorization_is_told_what_is_certain(answer: Any, result: Any) -> None:
    script = Script(answer)
    async with listening(script.application) as url, adapter(url) as gateway:
        assert await gateway.authorize(an_intent()) == result
    assert script.keys == [f"holdfast-{BOOKING}-1-authorize"]


@pytest.mark.parametrize(("answer", "reason"), UNCERTAIN)
async def test_everything_else_is_unknown_and_is_not_tried_again(answer: Any, reason: str) -> None:
    script = Script(answer)
    async with listening(script.application) as url, adapter(url) as gateway:
        assert await gateway.authorize(an_intent()) == Unknown(reason)
    assert len(script.asked) == 1


async def test_no_answer_in_time_is_unknown() -> None:
    silent = asyncio.Event()

    async def wait(_: web.Request) -> web.Response:
        await silent.wait()
        return web.Response()

    application = web.Application()
    application.router.add_post("/v1/payment_intents", wait)
    async with listening(application) as url, adapter(url, gateway_timeout_ms=100) as gateway:
        assert await gateway.authorize(an_intent()) == Unknown("timeout")


async def test_an_answer_that_stops_half_way_is_unknown() -> None:
    async def stop(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"Content-Length": "1000"})
        await answer.prepare(request)
        await answer.write(b'{"id": "pi_1"')
        assert request.transport
        request.transport.close()
        return answer

    application = web.Application()
    application.router.add_post("/v1/payment_intents", stop)
    async with listening(application) as url, adapter(url) as gateway:
        assert await gateway.authorize(an_intent()) == Unknown("connection")


async def test_a_gateway_that_is_away_is_unknown() -> None:
    async with listening(web.Application()) as url:
        pass
    async with adapter(url) as gateway:
        assert await gateway.authorize(an_intent()) == Unknown("connection")
        assert await gateway.retrieve("pi_1") == Unknown("connection")
        assert await gateway.list_created(0, 1) == Unknown("connection")


async def test_an_amount_that_stripe_cannot_write_is_not_asked_for() -> None:
    script = Script()
    async with listening(script.application) as url, adapter(url) as gateway:
        intent = an_intent(amount=5124, currency="KWD")
        assert await gateway.authorize(intent) == Failed("amount_not_representable")
    assert script.asked == []


async def test_a_page_that_is_empty_and_goes_on_is_not_the_end_of_a_list() -> None:
    script = Script((200, {"object": "list", "data": [], "has_more": True}))
    async with listening(script.application) as url, adapter(url) as gateway:
        assert await gateway.list_created(0, 1) == Unknown("unreadable")
