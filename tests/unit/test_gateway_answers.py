"""Every answer of Stripe's is a value, and only what is certain is called certain.

The adapter and Stripe's library are real; what answers them is a script.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from aiohttp import web

from engine.payments.gateway import (
    Approved,
    Captured,
    Declined,
    Failed,
    GatewayStatus,
    Missing,
    NextAction,
    Page,
    Payment,
    Refunded,
    RequiresAction,
    Unknown,
    Voided,
)
from tests.helpers.gateways import BOOKING, adapter, an_intent, listening

CHARGE: dict[str, Any] = {
    "id": "ch_1",
    "object": "charge",
    "amount_refunded": 0,
    "captured": False,
    "payment_method_details": {"card": {"capture_before": 1_800_000_000}},
}
INTENT: dict[str, Any] = {
    "id": "pi_1",
    "object": "payment_intent",
    "amount": 1250,
    "amount_received": 0,
    "client_secret": "pi_1_secret_2",
    "created": 1_790_000_000,
    "currency": "usd",
    "latest_charge": CHARGE,
    "metadata": {"booking_id": BOOKING, "attempt": "1"},
    "status": "requires_capture",
}
REFUND: dict[str, Any] = {
    "id": "re_1",
    "object": "refund",
    "amount": 1250,
    "currency": "usd",
    "status": "succeeded",
}
CAPTURED = INTENT | {"status": "succeeded", "amount_received": 1250}
REFUNDED = CAPTURED | {"latest_charge": CHARGE | {"amount_refunded": 1250}}
CANCELED = INTENT | {"status": "canceled"}


def error(status: int, **fields: Any) -> tuple[int, Any]:
    """An error of Stripe's."""
    return status, {"error": {"message": "no", **fields}}


class Script:
    """Answers each path with what is next for it: status and JSON, raw bytes, or None for a cut."""

    def __init__(self, *answers: tuple[int, Any] | bytes | None) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, str]] = []
        self.keys: list[str | None] = []

    async def answer(self, request: web.Request) -> web.Response:
        await request.read()
        self.asked.append((request.method, request.path))
        self.keys.append(request.headers.get("Idempotency-Key"))
        answer = self.answers.pop(0)
        if answer is None:
            assert request.transport
            request.transport.abort()
            return web.Response()
        if isinstance(answer, bytes):
            return web.Response(body=answer, content_type="application/json")
        status, body = answer
        return web.Response(
            status=status, body=json.dumps(body).encode(), content_type="application/json"
        )

    @property
    def application(self) -> web.Application:
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", self.answer)
        return application


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


UNEXPECTED = error(400, type="invalid_request_error", code="payment_intent_unexpected_state")

STEPS: list[tuple[str, list[Any], Any]] = [
    ("capture", [(200, CAPTURED)], Captured("pi_1", "ch_1", 1250, "USD")),
    ("capture", [UNEXPECTED, (200, CAPTURED)], Captured("pi_1", "ch_1", 1250, "USD")),
    ("capture", [UNEXPECTED, (200, REFUNDED)], Captured("pi_1", "ch_1", 1250, "USD")),
    (
        "capture",
        [UNEXPECTED, (200, CANCELED)],
        Failed("payment_intent_unexpected_state", GatewayStatus.VOIDED),
    ),
    (
        "capture",
        [error(402, type="card_error", code="card_declined"), (200, INTENT)],
        Failed("card_declined", GatewayStatus.AUTHORIZED),
    ),
    (
        "capture",
        [UNEXPECTED, (200, INTENT | {"status": "processing"})],
        Unknown("status_authorizing"),
    ),
    ("capture", [UNEXPECTED, error(500, type="api_error")], Unknown("http_500")),
    (
        "capture",
        [UNEXPECTED, error(404, type="invalid_request_error", code="resource_missing")],
        Failed("payment_intent_unexpected_state"),
    ),
    # Stripe never says so, localstripe does: capturing what was cancelled is no capture.
    ("capture", [(200, CANCELED)], Unknown("status_voided")),
    ("capture", [error(500, type="api_error")], Unknown("http_500")),
    ("void", [(200, CANCELED)], Voided("pi_1")),
    ("void", [UNEXPECTED, (200, CANCELED)], Voided("pi_1")),
    (
        "void",
        [UNEXPECTED, (200, CAPTURED)],
        Failed("payment_intent_unexpected_state", GatewayStatus.CAPTURED),
    ),
    ("void", [None], Unknown("connection")),
    ("refund", [(200, REFUND)], Refunded("pi_1", "re_1", 1250, "USD")),
    ("refund", [(200, REFUND | {"status": "pending"})], Refunded("pi_1", "re_1", 1250, "USD")),
    (
        "refund",
        [(200, REFUND | {"status": "failed", "failure_reason": "lost_or_stolen_card"})],
        Failed("lost_or_stolen_card"),
    ),
    ("refund", [(200, {"object": "refund"})], Unknown("unreadable")),
    (
        "refund",
        [
            error(400, type="invalid_request_error", code="charge_already_refunded"),
            (200, REFUNDED),
            (200, {"object": "list", "has_more": False, "data": [REFUND]}),
        ],
        Refunded("pi_1", "re_1", 1250, "USD"),
    ),
    (
        "refund",
        [UNEXPECTED, (200, REFUNDED), (200, {"object": "list", "has_more": False, "data": []})],
        Unknown("unreadable"),
    ),
    ("refund", [UNEXPECTED, (200, REFUNDED), error(500, type="api_error")], Unknown("http_500")),
    (
        "refund",
        [UNEXPECTED, (200, INTENT)],
        Failed("payment_intent_unexpected_state", GatewayStatus.AUTHORIZED),
    ),
]


@pytest.mark.parametrize(("step", "answers", "result"), STEPS)
async def test_a_refused_step_is_judged_by_how_the_payment_stands(
    step: str, answers: list[Any], result: Any
) -> None:
    script = Script(*answers)
    intent = an_intent()
    async with listening(script.application) as url, adapter(url) as gateway:
        found = (
            await gateway.capture(intent, "pi_1")
            if step == "capture"
            else await getattr(gateway, step)(intent.reference, "pi_1")
        )
    assert found == result
    assert script.answers == []
    assert script.keys[0] == f"holdfast-{BOOKING}-1-{step}"


async def test_a_payment_is_read_as_it_stands() -> None:
    missing = error(404, type="invalid_request_error", code="resource_missing")
    script = Script((200, REFUNDED), missing, error(404, type="invalid_request_error"))
    async with listening(script.application) as url, adapter(url) as gateway:
        payment = await gateway.retrieve("pi_1")
        assert await gateway.retrieve("pi_2") == Missing()
        # Not Stripe's word for it: a wrong address answers 404 as well.
        assert await gateway.retrieve("pi_3") == Unknown("invalid_request")
    assert isinstance(payment, Payment)
    assert payment.status is GatewayStatus.REFUNDED
    assert payment.amount_captured == payment.amount_refunded == 1250
    assert payment.created_ms == 1_790_000_000_000
    assert payment.capture_before_ms == 1_800_000_000_000


async def test_a_list_goes_on_where_it_ended() -> None:
    page = {"object": "list", "has_more": True, "data": [INTENT, INTENT | {"id": "pi_2"}]}
    broken = {"object": "list", "has_more": False, "data": [{"object": "payment_intent"}]}
    script = Script((200, page), (200, broken), (200, {"object": "list"}), UNEXPECTED)
    async with listening(script.application) as url, adapter(url) as gateway:
        first = await gateway.list_created(0, 10)
        assert isinstance(first, Page)
        assert first.next_cursor == "pi_2"
        # One that cannot be read is not left out: the reconciler would take it for missing.
        assert await gateway.list_created(0, 10) == Unknown("unreadable")
        assert await gateway.list_created(0, 10) == Unknown("unreadable")
        assert await gateway.find(an_intent().reference) == Unknown(
            "payment_intent_unexpected_state"
        )
