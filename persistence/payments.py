"""Payments as rows: each attempt to pay for a booking, whatever became of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import asyncpg
import orjson

from engine.payments.types import Payment, PaymentStatus, Step
from engine.types import Booking

Row = tuple[Any, ...]
_STEP_MS: Final = 5
"""Place of `step_ms` in a row; `step` is before it."""


@dataclass(frozen=True, slots=True)
class PaymentRow:
    """An attempt as of the booking's `version`, the last one while it was the latest attempt.

    `step_ms` is since when the gateway is asked for the payment's step; None: nothing is asked.
    """

    booking_id: str
    payment: Payment
    version: int
    step_ms: int | None
    amount: int
    currency: str
    updated_ms: int


def payment_row(booking: Booking, payment: Payment, before: Row | None) -> Row:
    """What `upsert_payments` takes of a booking's payment; `before` is its row of just before."""
    step_ms: int | None = booking.updated_ms
    if before and before[_STEP_MS - 1] is payment.step:
        step_ms = before[_STEP_MS]
    return (
        booking.booking_id,
        payment.attempt,
        booking.version,
        payment.status,
        payment.step,
        None if payment.step is Step.NONE else step_ms,
        payment.gateway,
        payment.method,
        payment.return_url,
        payment.key,
        payment.fingerprint,
        booking.amount,
        booking.currency,
        payment.begun_ms,
        booking.updated_ms,
        payment.authorization_id,
        payment.capture_id,
        payment.decline_code,
        orjson.dumps(payment.next_action).decode() if payment.next_action else None,
    )


def payment_of(row: asyncpg.Record, prefix: str = "") -> Payment | None:
    """A payment from a row of `payments`, or with `payment_` of `whole_bookings`."""
    if row[f"{prefix}status"] is None:
        return None
    next_action = row[f"{prefix}next_action"]
    return Payment(
        status=PaymentStatus(row[f"{prefix}status"]),
        step=Step(row[f"{prefix}step"]),
        attempt=row[f"{prefix}attempt"],
        gateway=row[f"{prefix}gateway"],
        method=row[f"{prefix}method"],
        return_url=row[f"{prefix}return_url"],
        key=row[f"{prefix}key"],
        fingerprint=row[f"{prefix}fingerprint"],
        begun_ms=row[f"{prefix}begun_ms"],
        authorization_id=row[f"{prefix}authorization_id"],
        capture_id=row[f"{prefix}capture_id"],
        decline_code=row[f"{prefix}decline_code"],
        next_action=orjson.loads(next_action) if next_action else None,
    )


def payment_row_of(row: asyncpg.Record) -> PaymentRow:
    """A row of `payments`."""
    payment = payment_of(row)
    assert payment, "its status is never null"
    return PaymentRow(
        booking_id=row["booking_id"],
        payment=payment,
        version=row["version"],
        step_ms=row["step_ms"],
        amount=row["amount"],
        currency=row["currency"],
        updated_ms=row["updated_ms"],
    )
