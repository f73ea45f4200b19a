"""Capture, void, refund and the reads: what was refused is judged by how the payment stands."""

from __future__ import annotations

from typing import Any

import pytest

from engine.payments.gateway import (
    Captured,
    Failed,
    GatewayStatus,
    Missing,
    Page,
    Payment,
    Refunded,
    Unknown,
    Voided,
)
from tests.helpers.gateways import BOOKING, adapter, an_intent, listening
from tests.helpers.stripe_script import (
    CANCELED,
    CAPTURED,
    INTENT,
    REFUND,
    REFUNDED,
    Script,
    error,
)

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
