"""Where a booking's payment stands: what the buyer reads, and what is asked of the gateway next."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class PaymentStatus(StrEnum):
    """Where a booking's payment stands, as the buyer reads it."""

    AUTHORIZING = "AUTHORIZING"
    REQUIRES_ACTION = "REQUIRES_ACTION"
    AUTHORIZED = "AUTHORIZED"
    CAPTURING = "CAPTURING"
    CAPTURED = "CAPTURED"
    DECLINED = "DECLINED"
    VOIDED = "VOIDED"
    REFUNDING = "REFUNDING"
    REFUNDED = "REFUNDED"
    UNKNOWN = "UNKNOWN"


class Step(StrEnum):
    """What is asked of the gateway next; `none` where nothing is open."""

    AUTHORIZE = "authorize"
    CAPTURE = "capture"
    VOID = "void"
    REFUND = "refund"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Payment:
    """A booking's latest attempt to pay. `begun_ms` is when its intent was written down."""

    status: PaymentStatus
    step: Step
    attempt: int
    gateway: str
    method: str
    return_url: str | None
    key: str
    fingerprint: str
    begun_ms: int
    authorization_id: str | None
    capture_id: str | None
    decline_code: str | None
    next_action: dict[str, Any] | None

    @classmethod
    def from_fields(cls, fields: dict[str, Any]) -> Payment:
        """Build from the JSON object that scripts answer and journal entries carry."""
        return cls(
            **fields | {"status": PaymentStatus(fields["status"]), "step": Step(fields["step"])}
        )

    def spelled(self) -> dict[str, Any]:
        """The members of its JSON object, in the order of `lua/lib/booking_json.lua`."""
        return {
            "status": self.status,
            "step": self.step,
            "attempt": self.attempt,
            "gateway": self.gateway,
            "method": self.method,
            "return_url": self.return_url,
            "key": self.key,
            "fingerprint": self.fingerprint,
            "begun_ms": self.begun_ms,
            "authorization_id": self.authorization_id,
            "capture_id": self.capture_id,
            "decline_code": self.decline_code,
            "next_action": self.next_action,
        }
