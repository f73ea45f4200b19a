"""Asks Stripe once, and reads what comes back: the object, a refusal, or nothing to rely on."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from typing import Final, TypeAlias, cast

import aiohttp
import stripe
from stripe import StripeObject

from engine.payments.gateway import (
    Declined,
    Failed,
    GatewayStatus,
    Page,
    Payment,
    Refunded,
    Unknown,
)
from engine.payments.stripe_amounts import from_stripe
from engine.payments.stripe_errors import outcome_of
from engine.payments.stripe_objects import Json, payment_of

Refusal: TypeAlias = Declined | Failed | Unknown

UNREADABLE: Final = Unknown("unreadable")
"""Stripe answered, but not with what this version reads: as good as no answer."""
ODD: Final = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError)
"""What reading such an answer ends with, here and in the library."""


async def ask(request: Awaitable[StripeObject]) -> Json | Refusal:
    """Send a request once; return the object it answers with, or what its error means."""
    try:
        return cast(Json, (await request).to_dict())
    except stripe.StripeError as error:
        return outcome_of(error)
    except TimeoutError:
        return Unknown("timeout")
    except (aiohttp.ClientError, OSError):
        # While an answer's body is read, the library lets these through.
        return Unknown("connection")
    except ODD:
        # And these where the body is JSON, and not Stripe's: `{"error": "Bad Gateway"}`, `null`.
        return UNREADABLE


def read_payment(answer: Json, installation: str) -> Payment | Unknown:
    """Read a PaymentIntent."""
    try:
        return payment_of(answer, installation)
    except ODD:
        return UNREADABLE


def read_page(answer: Json | Refusal, installation: str) -> Page | Unknown:
    """Read a list, which is continued after its last object, or the first page of a search."""
    if isinstance(answer, Unknown):
        return answer
    if not isinstance(answer, Mapping):
        return Unknown(answer.code)
    rows = answer.get("data")
    if not isinstance(rows, list):
        return UNREADABLE
    read = (read_payment(row, installation) for row in rows)
    payments = tuple(payment for payment in read if isinstance(payment, Payment))
    more = bool(answer.get("has_more"))
    if len(payments) < len(rows) or (more and not rows):
        return UNREADABLE
    return Page(payments, payments[-1].authorization_id if more else None)


def refused(answer: Json | Refusal, payment: Payment) -> Failed | Unknown:
    """Say that a step did not lead where it should; the payment's standing is what is known."""
    if isinstance(answer, Declined | Failed) and payment.status is not GatewayStatus.AUTHORIZING:
        return Failed(answer.code, payment.status)
    return Unknown(f"status_{payment.status.lower()}")


def read_refund(refund: Json, authorization_id: str) -> Refunded | Failed | Unknown:
    """Read a Refund; `pending` is one that Stripe will make, and tells of if it cannot."""
    try:
        if refund.get("status") in {"failed", "canceled"}:
            return Failed(str(refund.get("failure_reason") or "refund_failed"))
        currency = str(refund["currency"]).upper()
        amount = from_stripe(int(refund["amount"]), currency)
        return Refunded(authorization_id, str(refund["id"]), amount, currency)
    except ODD:
        return UNREADABLE
