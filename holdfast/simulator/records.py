"""What the simulator keeps, and how Stripe would show it.

Times are kept in milliseconds and shown in seconds; amounts are as Stripe writes them
(`engine.payments.stripe_amounts`).
"""

from __future__ import annotations

import secrets
import string
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

from holdfast.simulator.cards import CARDS

API_VERSION: Final = "2026-10-28.endive"
_ALPHABET: Final = string.ascii_letters + string.digits


def new_id(prefix: str) -> str:
    """A random id like `pi_3MtwBwLkdIwHu7ix28a3tqPa`."""
    return prefix + "".join(secrets.choice(_ALPHABET) for _ in range(24))


@dataclass(slots=True)
class PaymentIntent:
    """An attempt to pay: https://docs.stripe.com/api/payment_intents/object."""

    kind: ClassVar[str] = "payment_intent"

    id: str
    created_ms: int
    amount: int
    currency: str
    status: str
    capture_method: str
    client_secret: str
    metadata: dict[str, str]
    payment_method: str | None = None
    return_url: str | None = None
    latest_charge: str | None = None
    next_action: dict[str, Any] | None = None
    last_payment_error: dict[str, Any] | None = None
    canceled_ms: int | None = None
    cancellation_reason: str | None = None

    @property
    def parent(self) -> str:
        """Whose it is: its own."""
        return self.id


@dataclass(slots=True)
class Charge:
    """An authorization, and what became of it: https://docs.stripe.com/api/charges/object."""

    kind: ClassVar[str] = "charge"

    id: str
    created_ms: int
    payment_intent: str
    amount: int
    currency: str
    payment_method: str
    metadata: dict[str, str]
    status: str = "succeeded"
    capture_before_ms: int | None = None
    captured_ms: int | None = None
    amount_captured: int = 0
    amount_refunded: int = 0
    released_ms: int | None = None
    failure_code: str | None = None
    failure_message: str | None = None

    @property
    def parent(self) -> str:
        """The intent it belongs to."""
        return self.payment_intent


@dataclass(slots=True)
class Refund:
    """Money that went back: https://docs.stripe.com/api/refunds/object."""

    kind: ClassVar[str] = "refund"

    id: str
    created_ms: int
    payment_intent: str
    charge: str
    amount: int
    currency: str
    metadata: dict[str, str]
    reason: str | None = None

    @property
    def parent(self) -> str:
        """The intent it belongs to."""
        return self.payment_intent


@dataclass(slots=True)
class Endpoint:
    """Where events go: https://docs.stripe.com/api/webhook_endpoints/object."""

    kind: ClassVar[str] = "webhook_endpoint"

    id: str
    created_ms: int
    url: str
    secret: str
    enabled_events: list[str] = field(default_factory=lambda: ["*"])

    @property
    def parent(self) -> str:
        """Whose it is: its own."""
        return self.id


Record = PaymentIntent | Charge | Refund | Endpoint


def show_charge(charge: Charge) -> dict[str, Any]:
    """The charge as an answer or an event shows it."""
    captured = charge.captured_ms is not None
    card = {"brand": CARDS[charge.payment_method].brand, "last4": "4242"}
    return {
        "id": charge.id,
        "object": "charge",
        "amount": charge.amount,
        "amount_captured": charge.amount_captured,
        "amount_refunded": charge.amount_refunded,
        "captured": captured,
        "created": charge.created_ms // 1000,
        "currency": charge.currency,
        "failure_code": charge.failure_code,
        "failure_message": charge.failure_message,
        "livemode": False,
        "metadata": charge.metadata,
        "paid": charge.status == "succeeded",
        "payment_intent": charge.payment_intent,
        "payment_method": charge.payment_method,
        "payment_method_details": {
            "type": "card",
            "card": card
            if charge.capture_before_ms is None
            else {**card, "capture_before": charge.capture_before_ms // 1000},
        },
        "refunded": captured and charge.amount_refunded >= charge.amount_captured,
        "status": charge.status,
    }


def show_intent(
    intent: PaymentIntent, charge: Charge | None, expand: Collection[str] = ()
) -> dict[str, Any]:
    """The intent as an answer or an event shows it; `charge` is its latest."""
    open_charge = charge and charge.status == "succeeded" and intent.status == "requires_capture"
    return {
        "id": intent.id,
        "object": "payment_intent",
        "amount": intent.amount,
        "amount_capturable": charge.amount if charge and open_charge else 0,
        "amount_received": charge.amount_captured if charge else 0,
        "canceled_at": intent.canceled_ms and intent.canceled_ms // 1000,
        "cancellation_reason": intent.cancellation_reason,
        "capture_method": intent.capture_method,
        "client_secret": intent.client_secret,
        "confirmation_method": "automatic",
        "created": intent.created_ms // 1000,
        "currency": intent.currency,
        "last_payment_error": intent.last_payment_error,
        "latest_charge": show_charge(charge)
        if charge and "latest_charge" in expand
        else intent.latest_charge,
        "livemode": False,
        "metadata": intent.metadata,
        "next_action": intent.next_action,
        "payment_method": intent.payment_method,
        "payment_method_types": ["card"],
        "status": intent.status,
    }


def show_refund(refund: Refund) -> dict[str, Any]:
    """The refund as an answer shows it."""
    return {
        "id": refund.id,
        "object": "refund",
        "amount": refund.amount,
        "charge": refund.charge,
        "created": refund.created_ms // 1000,
        "currency": refund.currency,
        "metadata": refund.metadata,
        "payment_intent": refund.payment_intent,
        "reason": refund.reason,
        "status": "succeeded",
    }


def show_endpoint(endpoint: Endpoint, *, secret: bool = False) -> dict[str, Any]:
    """The endpoint as an answer shows it; its secret only when it is made."""
    shown = {
        "id": endpoint.id,
        "object": "webhook_endpoint",
        "created": endpoint.created_ms // 1000,
        "enabled_events": endpoint.enabled_events,
        "livemode": False,
        "status": "enabled",
        "url": endpoint.url,
    }
    return {**shown, "secret": endpoint.secret} if secret else shown
