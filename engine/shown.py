"""A booking as the world sees it: what the API answers with and public events carry.

Typed dictionaries, so that `show_booking` is checked against the very definitions that
`/openapi.json` is made from.
"""

from __future__ import annotations

from typing import Annotated, NotRequired

from pydantic import Field, WithJsonSchema
from typing_extensions import TypedDict

from engine.payments.types import Payment, PaymentStatus
from engine.times import rfc3339
from engine.types import Booking, CancelReason, Line, Status

Moment = Annotated[str, WithJsonSchema({"type": "string", "format": "date-time"})]
Minor = Annotated[int, Field(ge=0, description="In the currency's minor unit.")]


class LineShown(TypedDict):
    """A line at the price it had when it was held."""

    item_id: str
    quantity: int
    unit_price: Minor
    amount: Minor


class Total(TypedDict):
    """An amount of money."""

    amount: Minor
    currency: str


class NextActionShown(TypedDict):
    """What the buyer has to do: open `url`, or let the gateway's script act on `client_secret`."""

    type: str
    url: NotRequired[str]
    client_secret: NotRequired[str]


class PaymentShown(TypedDict):
    """The latest attempt to pay. `attempts` counts it and the ones before."""

    status: PaymentStatus
    gateway: str
    amount: Minor
    currency: str
    authorization_id: str | None
    capture_id: str | None
    attempts: int
    decline_code: str | None
    next_action: NextActionShown | None


class BookingShown(TypedDict):
    """A booking. A hold is a booking in `PENDING`; after `hold_expires_at` its units go back."""

    id: str
    sale_id: str
    customer_id: str
    status: Status
    cancel_reason: CancelReason | None
    lines: list[LineShown]
    total: Total
    hold_expires_at: Moment
    created_at: Moment
    updated_at: Moment
    payment: PaymentShown | None


def _line(line: Line) -> LineShown:
    return {
        "item_id": line.item_id,
        "quantity": line.quantity,
        "unit_price": line.unit_price,
        "amount": line.amount,
    }


def _payment(booking: Booking, payment: Payment) -> PaymentShown:
    action = payment.next_action
    shown: NextActionShown | None = None
    if action is not None:
        shown = {"type": action["type"]}
        if action.get("url"):
            shown["url"] = action["url"]
        if action.get("client_secret"):
            shown["client_secret"] = action["client_secret"]
    return {
        "status": payment.status,
        "gateway": payment.gateway,
        "amount": booking.amount,
        "currency": booking.currency,
        "authorization_id": payment.authorization_id,
        "capture_id": payment.capture_id,
        "attempts": payment.attempt,
        "decline_code": payment.decline_code,
        "next_action": shown,
    }


def show_booking(booking: Booking) -> BookingShown:
    """A booking as the contract spells it."""
    return {
        "id": booking.booking_id,
        "sale_id": booking.sale_id,
        "customer_id": booking.customer_id,
        "status": booking.status,
        "cancel_reason": booking.cancel_reason,
        "lines": [_line(line) for line in booking.lines],
        "total": {"amount": booking.amount, "currency": booking.currency},
        "hold_expires_at": rfc3339(booking.hold_expires_ms),
        "created_at": rfc3339(booking.created_ms),
        "updated_at": rfc3339(booking.updated_ms),
        "payment": _payment(booking, booking.payment) if booking.payment else None,
    }
