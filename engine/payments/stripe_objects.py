"""Reads Stripe's JSON objects into the gateway's values, and writes what creates one. Pure.

The fields are those of https://docs.stripe.com/api/payment_intents/object and of a charge there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, TypeAlias

from engine.limits import BOOKING_ID_PATTERN
from engine.payments.gateway import (
    Approved,
    Authorization,
    Declined,
    EventType,
    Failed,
    GatewayEvent,
    GatewayStatus,
    Intent,
    NextAction,
    Payment,
    Reference,
    RequiresAction,
    Unknown,
)
from engine.payments.stripe_amounts import from_stripe, to_stripe

Json: TypeAlias = Mapping[str, Any]

_BOOKING_ID: Final = re.compile(BOOKING_ID_PATTERN)
_ATTEMPT: Final = re.compile(r"[1-9][0-9]{0,5}")
_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,255}")

_STATUSES: Final = {
    "requires_payment_method": GatewayStatus.DECLINED,
    "requires_confirmation": GatewayStatus.AUTHORIZING,
    "requires_action": GatewayStatus.REQUIRES_ACTION,
    "processing": GatewayStatus.AUTHORIZING,
    "requires_capture": GatewayStatus.AUTHORIZED,
    "canceled": GatewayStatus.VOIDED,
    "succeeded": GatewayStatus.CAPTURED,
}

_EVENTS: Final = {
    "payment_intent.requires_action": EventType.REQUIRES_ACTION,
    "payment_intent.amount_capturable_updated": EventType.AUTHORIZED,
    "payment_intent.succeeded": EventType.CAPTURED,
    "payment_intent.payment_failed": EventType.DECLINED,
    "payment_intent.canceled": EventType.VOIDED,
    "charge.refunded": EventType.REFUNDED,
}
"""https://docs.stripe.com/api/events/types"""


def metadata_of(reference: Reference, installation: str) -> dict[str, str]:
    """Return what Stripe keeps with a payment for us, and searches by."""
    return {
        "installation": installation,
        "booking_id": reference.booking_id,
        "attempt": str(reference.attempt),
    }


def reference_of(metadata: Json | None, installation: str) -> Reference | None:
    """Read our reference; None where the payment was not made by this installation of Holdfast."""
    told = metadata or {}
    booking_id, attempt = told.get("booking_id"), told.get("attempt")
    if told.get("installation") != installation:
        return None
    if not isinstance(booking_id, str) or not _BOOKING_ID.fullmatch(booking_id):
        return None
    if not isinstance(attempt, str) or not _ATTEMPT.fullmatch(attempt):
        return None
    return Reference(booking_id, int(attempt))


def creation_of(intent: Intent, installation: str) -> dict[str, Any]:
    """Return the parameters that create and confirm a PaymentIntent in one request.

    A function of what never changes alone, and so is the request under a key. Without
    `payment_method_types` Stripe would also offer methods that need a redirect, and then insist on
    a `return_url`. Raises NotRepresentable.
    """
    parameters: dict[str, Any] = {
        "amount": to_stripe(intent.amount, intent.currency),
        "currency": intent.currency.lower(),
        "payment_method": intent.payment_method,
        "payment_method_types": ["card"],
        "capture_method": "manual",
        "confirm": True,
        "metadata": metadata_of(intent.reference, installation),
        "expand": ["latest_charge"],
    }
    if intent.return_url is not None:
        parameters["return_url"] = intent.return_url
    return parameters


def payment_of(intent: Json, installation: str) -> Payment:
    """Read a PaymentIntent, whose charge may be expanded, an id, or absent."""
    currency = str(intent["currency"]).upper()
    latest = intent.get("latest_charge")
    charge: Json = latest if isinstance(latest, Mapping) else {}
    capture_id = charge.get("id") if charge else latest
    error: Json = intent.get("last_payment_error") or {}
    status = _STATUSES[str(intent["status"])]
    amount_captured = _captured(intent, charge)
    amount_refunded = int(charge.get("amount_refunded") or 0)
    if status is GatewayStatus.CAPTURED and charge and 0 < amount_captured <= amount_refunded:
        status = GatewayStatus.REFUNDED
    card: Json = (charge.get("payment_method_details") or {}).get("card") or {}
    capture_before = card.get("capture_before")
    return Payment(
        authorization_id=_id_of(intent["id"]),
        reference=reference_of(intent.get("metadata"), installation),
        status=status,
        amount=from_stripe(int(intent["amount"]), currency),
        currency=currency,
        amount_captured=from_stripe(amount_captured, currency),
        amount_refunded=from_stripe(amount_refunded, currency),
        created_ms=int(intent["created"]) * 1000,
        capture_id=_id_of(capture_id) if capture_id else None,
        capture_before_ms=int(capture_before) * 1000 if capture_before else None,
        decline_code=error.get("decline_code") or error.get("code"),
        next_action=_next_action(intent),
    )


def _id_of(told: Any) -> str:
    """Return an id as the journal can carry it. Raises ValueError for what is none."""
    if not isinstance(told, str) or not _ID.fullmatch(told):
        raise ValueError("not an id")
    return told


def _captured(intent: Json, charge: Json) -> int:
    """What was captured of an intent; its `amount_received` where that is told."""
    received = intent.get("amount_received")
    if received is None:
        received = intent["amount"] if charge.get("captured") else 0
    return int(received)


def _next_action(intent: Json) -> NextAction | None:
    action: Json | None = intent.get("next_action")
    if not action:
        return None
    url = (action.get("redirect_to_url") or {}).get("url")
    secret = None if url else intent.get("client_secret")
    return NextAction(str(action["type"]), url, secret)


def authorization_of(payment: Payment) -> Authorization:
    """Say what a payment's standing means for the attempt that asked for its authorization."""
    match payment.status:
        case GatewayStatus.AUTHORIZED:
            return Approved(
                payment.authorization_id,
                payment.amount,
                payment.currency,
                payment.capture_before_ms,
            )
        case GatewayStatus.REQUIRES_ACTION if payment.next_action:
            return RequiresAction(payment.authorization_id, payment.next_action)
        case GatewayStatus.DECLINED:
            return Declined(payment.decline_code or "declined", payment.authorization_id)
        case GatewayStatus.VOIDED:
            return Failed("canceled", payment.status)
        case _:
            return Unknown(f"status_{payment.status.lower()}")


def event_of(event: Json, installation: str) -> GatewayEvent:
    """Read an event whose signature was checked. A type we do not know carries no payment."""
    event_type = _EVENTS.get(str(event["type"]), EventType.OTHER)
    subject: Json = event["data"]["object"]
    payment = None
    if event_type is EventType.REFUNDED:
        payment = _payment_of_charge(subject, installation)
    elif event_type is not EventType.OTHER:
        payment = payment_of(subject, installation)
    return GatewayEvent(str(event["id"]), event_type, int(event["created"]) * 1000, payment)


def _payment_of_charge(charge: Json, installation: str) -> Payment | None:
    """Read a charge that was captured and refunded, in part or whole, as its payment."""
    if not charge.get("payment_intent"):
        return None
    intent = {
        "id": charge["payment_intent"],
        "status": "succeeded",
        "latest_charge": charge,
        **{name: charge.get(name) for name in ("amount", "currency", "created", "metadata")},
        "amount_received": charge.get("amount_captured"),
    }
    return payment_of(intent, installation)
