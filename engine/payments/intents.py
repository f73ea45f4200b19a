"""What a booking's payment asks of the gateway, and how what the gateway has is read. Pure."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence

from engine.payments.gateway import GatewayStatus, Intent, Reference
from engine.payments.gateway import Payment as Charge
from engine.payments.limits import MAX_PAYMENT_RETRY_MS, MIN_PAYMENT_RETRY_MS
from engine.payments.types import Payment
from engine.types import Booking


def reference_of(booking: Booking) -> Reference:
    """Our name for the booking's attempt, as the gateway keeps it."""
    return Reference(booking.booking_id, payment_of(booking).attempt)


def intent_of(booking: Booking) -> Intent:
    """What the gateway is asked for: all of it was written down by `begin_payment`."""
    return Intent(
        reference=reference_of(booking),
        amount=booking.amount,
        currency=booking.currency,
        payment_method=payment_of(booking).method,
        return_url=payment_of(booking).return_url,
    )


def authorization_of(booking: Booking) -> str:
    """The gateway's id of the payment, which every step after the first has."""
    authorization_id = payment_of(booking).authorization_id
    assert authorization_id is not None
    return authorization_id


def payment_of(booking: Booking) -> Payment:
    """The booking's payment, which the caller knows to be there."""
    assert booking.payment is not None
    return booking.payment


def retry_ms(waited_ms: int) -> int:
    """When to ask again: half as long again as was waited so far, bounded, with jitter."""
    base = min(max(waited_ms // 2, MIN_PAYMENT_RETRY_MS), MAX_PAYMENT_RETRY_MS)
    return int(base * random.uniform(0.75, 1.25))  # noqa: S311 - spreads retries


def best_of(charges: Sequence[Charge]) -> Charge:
    """Of several payments under one reference, the one that counts; the rest are orphans."""
    order = (
        GatewayStatus.CAPTURED,
        GatewayStatus.AUTHORIZED,
        GatewayStatus.AUTHORIZING,
        GatewayStatus.REQUIRES_ACTION,
    )
    return min(
        charges,
        key=lambda charge: order.index(charge.status) if charge.status in order else len(order),
    )


def was_taken(charge: Charge) -> bool:
    """Whether the money was captured, given back since or not."""
    return charge.status in {GatewayStatus.CAPTURED, GatewayStatus.REFUNDED}


def now_ms() -> int:
    """This host's clock; what it decides has margins of minutes."""
    return time.time_ns() // 1_000_000
