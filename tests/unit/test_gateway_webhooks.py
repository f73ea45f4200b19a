"""A webhook is believed when one of our secrets signed its raw body, lately."""

from __future__ import annotations

import json
import time
from typing import Any, Final

import pytest
import stripe

from engine.payments.gateway import EventType, GatewayEvent, GatewayStatus, Reference, Rejection
from engine.payments.limits import MAX_WEBHOOK_BYTES
from engine.payments.stripe_webhooks import parse_webhook
from tests.helpers.gateways import BOOKING

OLD, NEW = "whsec_old", "whsec_new"
OURS = "ours"

INTENT: dict[str, Any] = {
    "id": "pi_1",
    "object": "payment_intent",
    "amount": 1250,
    "amount_received": 1250,
    "created": 1_790_000_000,
    "currency": "usd",
    "latest_charge": "ch_1",
    "metadata": {"installation": OURS, "booking_id": BOOKING, "attempt": "2"},
    "status": "succeeded",
}
CHARGE: dict[str, Any] = {
    "id": "ch_1",
    "object": "charge",
    "amount": 1250,
    "amount_captured": 1250,
    "amount_refunded": 1250,
    "captured": True,
    "created": 1_790_000_000,
    "currency": "usd",
    "metadata": {"installation": OURS, "booking_id": BOOKING, "attempt": "2"},
    "payment_intent": "pi_1",
}


def event(event_type: str = "payment_intent.succeeded", subject: Any = INTENT) -> bytes:
    """An event's body."""
    fields = {"id": "evt_1", "object": "event", "type": event_type, "created": 1_790_000_001}
    return json.dumps({**fields, "data": {"object": subject}}).encode()


def signed(body: bytes, secret: str = NEW, age_s: int = 0) -> dict[str, str]:
    """The headers of a genuine delivery."""
    sign = stripe.WebhookSignature.generate_signature_header
    return {"stripe-signature": sign(body.decode("latin-1"), secret, int(time.time()) - age_s)}


@pytest.mark.parametrize("secret", [OLD, NEW])
def test_a_webhook_that_either_secret_signed_is_believed(secret: str) -> None:
    found = parse_webhook(event(), signed(event(), secret), [NEW, OLD], OURS)
    assert isinstance(found, GatewayEvent)
    assert (found.event_id, found.type, found.created_ms) == (
        "evt_1",
        EventType.CAPTURED,
        1_790_000_001_000,
    )
    assert found.payment
    assert found.payment.reference == Reference(BOOKING, 2)
    assert found.payment.status is GatewayStatus.CAPTURED
    assert (found.payment.amount, found.payment.currency) == (1250, "USD")
    assert found.payment.capture_id == "ch_1"


def test_while_a_secret_is_rolled_one_of_two_signatures_is_enough() -> None:
    old, new = (signed(event(), secret)["stripe-signature"] for secret in (OLD, NEW))
    both = {"stripe-signature": f"{old},{new.partition(',')[2]}"}
    assert isinstance(parse_webhook(event(), both, [NEW], OURS), GatewayEvent)
    assert isinstance(parse_webhook(event(), both, [OLD], OURS), GatewayEvent)


def bad_headers(what: str, body: bytes) -> dict[str, str]:
    """Made when they are sent: signatures are good for five minutes."""
    fresh = signed(body)["stripe-signature"]
    stale = signed(body, age_s=301)["stripe-signature"]
    headers = {
        "no header": {},
        "an empty header": {"stripe-signature": ""},
        "another secret": signed(body, "whsec_x"),
        "a changed body": signed(body.removesuffix(b" ")),
        "an older scheme": {"stripe-signature": fresh.replace("v1=", "v0=")},
        "no signature": {"stripe-signature": "t=1"},
        "rubbish": {"stripe-signature": "x" * 5000},
        "bytes that are no text": signed(b"{}"),
        "a replay": {"stripe-signature": stale},
        "a replay's time changed": {
            "stripe-signature": f"t={int(time.time())},{stale.partition(',')[2]}"
        },
        "too much": signed(b""),
    }
    return headers.get(what, {"stripe-signature": fresh})


BAD: Final[list[tuple[str, bytes, Rejection]]] = [
    ("no header", event(), Rejection.SIGNATURE_MISSING),
    ("an empty header", event(), Rejection.SIGNATURE_MISSING),
    ("another secret", event(), Rejection.SIGNATURE_INVALID),
    ("a changed body", event() + b" ", Rejection.SIGNATURE_INVALID),
    ("an older scheme", event(), Rejection.SIGNATURE_INVALID),
    ("no signature", event(), Rejection.SIGNATURE_INVALID),
    ("rubbish", event(), Rejection.SIGNATURE_INVALID),
    ("bytes that are no text", b"\xff\xfe", Rejection.SIGNATURE_INVALID),
    ("a replay", event(), Rejection.SIGNATURE_STALE),
    ("a replay's time changed", event(), Rejection.SIGNATURE_INVALID),
    ("not JSON", b"{", Rejection.BODY_INVALID),
    ("not an event", b"[]", Rejection.BODY_INVALID),
    ("an empty object", b"{}", Rejection.BODY_INVALID),
    ("a status of tomorrow", event(subject=INTENT | {"status": "x"}), Rejection.BODY_INVALID),
    ("too much", b" " * (MAX_WEBHOOK_BYTES + 1), Rejection.BODY_INVALID),
]


@pytest.mark.parametrize(("what", "body", "reason"), BAD, ids=[row[0] for row in BAD])
def test_what_is_forged_stale_or_no_event_is_refused(
    what: str, body: bytes, reason: Rejection
) -> None:
    assert parse_webhook(body, bad_headers(what, body), [NEW], OURS) is reason


@pytest.mark.parametrize(
    ("name", "event_type"),
    [
        ("payment_intent.requires_action", EventType.REQUIRES_ACTION),
        ("payment_intent.amount_capturable_updated", EventType.AUTHORIZED),
        ("payment_intent.payment_failed", EventType.DECLINED),
        ("payment_intent.canceled", EventType.VOIDED),
    ],
)
def test_an_event_says_what_happened(name: str, event_type: EventType) -> None:
    found = parse_webhook(event(name), signed(event(name)), [NEW], OURS)
    assert isinstance(found, GatewayEvent)
    assert found.type is event_type
    assert found.payment


def test_a_refund_is_told_of_by_its_charge() -> None:
    body = event("charge.refunded", CHARGE)
    found = parse_webhook(body, signed(body), [NEW], OURS)
    assert isinstance(found, GatewayEvent)
    assert found.payment
    assert found.payment.authorization_id == "pi_1"
    assert found.payment.status is GatewayStatus.REFUNDED
    assert found.payment.reference == Reference(BOOKING, 2)
    in_part = event("charge.refunded", CHARGE | {"amount_refunded": 250})
    found = parse_webhook(in_part, signed(in_part), [NEW], OURS)
    assert isinstance(found, GatewayEvent)
    assert found.payment
    assert found.payment.status is GatewayStatus.CAPTURED
    assert found.payment.amount_refunded == 250


@pytest.mark.parametrize(
    ("name", "subject"),
    [
        ("customer.created", {"id": "cus_1"}),
        ("payment_intent.of_tomorrow", {}),
        ("charge.refunded", CHARGE | {"payment_intent": None}),
    ],
)
def test_what_is_not_about_a_payment_of_ours_carries_none(name: str, subject: Any) -> None:
    body = event(name, subject)
    found = parse_webhook(body, signed(body), [NEW], OURS)
    assert isinstance(found, GatewayEvent)
    assert found.payment is None
