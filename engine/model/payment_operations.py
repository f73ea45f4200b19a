"""What can be asked about a booking's payment, as values: the arguments of the saga's scripts."""

from __future__ import annotations

from dataclasses import dataclass

from engine.payments.limits import (
    MAX_PAYMENT_ATTEMPTS,
    MAX_PAYMENT_RETRY_MS,
    PAYMENT_GRACE_MS,
)
from engine.payments.types import Step


@dataclass(frozen=True, slots=True)
class BeginPayment:
    """`begin_payment`: write down what will be asked of the gateway."""

    booking_id: str
    customer_id: str
    key: str
    fingerprint: str
    owner: str
    gateway: str = "simulator"
    method: str = "pm_card_visa"
    return_url: str | None = None
    grace_ms: int = PAYMENT_GRACE_MS
    max_attempts: int = MAX_PAYMENT_ATTEMPTS


@dataclass(frozen=True, slots=True)
class ClaimPayment:
    """`claim_payment`: take the lease of an open payment. It is not journaled."""

    booking_id: str
    owner: str


@dataclass(frozen=True, slots=True)
class Confirm:
    """`confirm`: the gateway has authorized."""

    booking_id: str
    owner: str
    attempt: int
    authorization_id: str


@dataclass(frozen=True, slots=True)
class RequireAction:
    """`requires_action`: the buyer has to act. `next_action` is a JSON object."""

    booking_id: str
    owner: str
    attempt: int
    authorization_id: str
    next_action: str


@dataclass(frozen=True, slots=True)
class PaymentUnknown:
    """`payment_unknown`: what the gateway did at a step is not known."""

    booking_id: str
    owner: str
    attempt: int
    step: Step
    retry_ms: int = MAX_PAYMENT_RETRY_MS


@dataclass(frozen=True, slots=True)
class PaymentFailed:
    """`payment_failed`: nothing was taken, for certain."""

    booking_id: str
    owner: str
    attempt: int
    decline_code: str


@dataclass(frozen=True, slots=True)
class RecordCapture:
    """`record_capture`: the gateway has captured."""

    booking_id: str
    owner: str
    attempt: int
    capture_id: str


@dataclass(frozen=True, slots=True)
class CaptureFailed:
    """`capture_failed`: the gateway refuses the capture for good."""

    booking_id: str
    owner: str
    attempt: int
    decline_code: str


@dataclass(frozen=True, slots=True)
class Voided:
    """`voided`: the authorization is void."""

    booking_id: str
    owner: str
    attempt: int


@dataclass(frozen=True, slots=True)
class Refund:
    """`refund`: an operator wants captured money to go back."""

    booking_id: str


@dataclass(frozen=True, slots=True)
class Refunded:
    """`refunded`: the money is back."""

    booking_id: str
    owner: str
    attempt: int


PaymentOperation = (
    BeginPayment
    | ClaimPayment
    | Confirm
    | RequireAction
    | PaymentUnknown
    | PaymentFailed
    | RecordCapture
    | CaptureFailed
    | Voided
    | Refund
    | Refunded
)
