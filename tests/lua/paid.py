"""Words for tests of payments."""

from __future__ import annotations

from typing import Any

from engine.payments.types import Payment
from engine.types import Booking
from tests.helpers.scripted import START_MS, ScriptedPartition


def look_ms(partition: ScriptedPartition, booking_id: str = "b1") -> int | None:
    """When a worker shall look at a payment, counted from the tests' start."""
    score = partition.client.zscore(partition.key("payments"), booking_id)
    return None if score is None else int(score) - START_MS


def payment_of(booking: Booking | None) -> Payment:
    assert booking
    assert booking.payment
    return booking.payment


def nudge(partition: ScriptedPartition, event_id: str, **told: Any) -> bytes:
    given: dict[str, Any] = {
        "booking_id": "b1",
        "attempt": 1,
        "amount": 1_000,
        "currency": "USD",
    } | told
    outcome: bytes = partition.raw(
        "nudge",
        given["booking_id"],
        "simulator",
        event_id,
        60_000,
        given["attempt"],
        given["amount"],
        given["currency"],
    )[0]
    return outcome
