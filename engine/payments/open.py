"""Payments that are open, as Redis has them: for operators, metrics and the reconciler."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from engine.payments.types import PaymentStatus, Step
from engine.types import Status


@dataclass(frozen=True, slots=True)
class OpenPayment:
    """A payment that waits for the gateway, for a worker or for the buyer.

    `open_ms` is for how long its present step has been open, by Redis's clock.
    """

    booking_id: str
    status: Status
    payment_status: PaymentStatus
    step: Step
    open_ms: int

    @classmethod
    def of(cls, words: Sequence[bytes], now_ms: int) -> Self:
        """Read what `lua/open_payments.lua` answers."""
        booking_id, status, payment_status, step, begun_ms, updated_ms = (
            word.decode() for word in words
        )
        # While an authorization is open its booking changes with each look at the gateway; a later
        # step changes it when it begins, and once more when its first answer does not come.
        since_ms = begun_ms if step == Step.AUTHORIZE else updated_ms
        return cls(
            booking_id,
            Status(status),
            PaymentStatus(payment_status),
            Step(step),
            max(0, now_ms - int(since_ms)),
        )

    def is_stuck(self, stuck_ms: int) -> bool:
        """Whether somebody should look: it is old, and it is not the buyer who is waited for."""
        buyer_acts = (
            self.payment_status is PaymentStatus.REQUIRES_ACTION and self.status is Status.PENDING
        )
        return self.open_ms >= stuck_ms and not buyer_acts


@dataclass(frozen=True, slots=True)
class OpenPage:
    """Some open payments of a partition; `next_position` 0 is the end."""

    payments: tuple[OpenPayment, ...]
    next_position: int
