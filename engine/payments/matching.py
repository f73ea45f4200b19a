"""Compares one charge of the gateway with the booking that it names. Pure.

The gateway is asked first and the booking is read after, so that the booking is the younger of the
two. A verdict that is not `agrees` or `in_flight` may still come from the moment between: who acts
on one reads both again before (`workers.reconciler`).
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from engine.payments.gateway import GatewayStatus
from engine.payments.gateway import Payment as Charge
from engine.payments.types import Payment, PaymentStatus, Step
from engine.types import Booking


class Verdict(StrEnum):
    """What a charge and a booking are to each other."""

    AGREES = "agrees"
    IN_FLIGHT = "in_flight"
    """The saga is at it, or a request of ours could still be under way."""
    ORPHAN = "orphan"
    """Money, or what may become money, that no attempt of ours has or will have use for."""
    DIFFERS = "differs"
    """Amount, currency, or how much of it was given back."""
    MISSING = "missing"
    """A booking is paid by our books, and the gateway has not captured it."""


DIFFERENCES: Final = frozenset({Verdict.ORPHAN, Verdict.DIFFERS, Verdict.MISSING})

_ENDED: Final = frozenset({GatewayStatus.DECLINED, GatewayStatus.VOIDED, GatewayStatus.REFUNDED})
"""Holds no money."""


def judge(charge: Charge, booking: Booking | None, now_ms: int, settled_ms: int) -> Verdict:
    """Say how a charge with our reference stands to its booking.

    Args:
        booking: None where we have none of this id, in Redis or archived.
        settled_ms: age of a charge from which no request of ours can be under way for it.
    """
    payment = _attempt_of(charge, booking)
    if payment is None or booking is None:
        return _unclaimed(charge, now_ms, settled_ms)
    if payment.step is not Step.NONE:
        return Verdict.IN_FLIGHT
    if payment.status is not PaymentStatus.CAPTURED:
        return _unclaimed(charge, now_ms, settled_ms)
    match charge.status:
        case GatewayStatus.CAPTURED:
            whole = (charge.amount_captured, charge.amount_refunded, charge.currency)
            same = whole == (booking.amount, 0, booking.currency)
            return Verdict.AGREES if same else Verdict.DIFFERS
        case GatewayStatus.REFUNDED:
            return Verdict.DIFFERS
        case _:
            return Verdict.MISSING


def _attempt_of(charge: Charge, booking: Booking | None) -> Payment | None:
    """Our record of the attempt that made a charge; None for one that has ended, or never was.

    An earlier attempt ended in a definite failure, or the next would not have begun.
    """
    payment, reference = booking and booking.payment, charge.reference
    if not payment or not reference or payment.attempt != reference.attempt:
        return None
    if payment.authorization_id not in {None, charge.authorization_id}:
        return None
    return payment


def _unclaimed(charge: Charge, now_ms: int, settled_ms: int) -> Verdict:
    """A charge that nothing of ours counts on: it must hold no money."""
    if charge.status in _ENDED:
        return Verdict.AGREES
    if charge.status is GatewayStatus.AUTHORIZING or now_ms - charge.created_ms < settled_ms:
        return Verdict.IN_FLIGHT
    return Verdict.ORPHAN
