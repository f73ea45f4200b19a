"""What Holdfast asks of a payment gateway, and what it may be told: the protocol and its values.

An answer is always one of the values below; an exception means a fault of ours. What matters in
them is certainty. `Declined` and `Failed` are definite: the attempt holds no money, and another
may begin. `Unknown` is everything else (rule 6): the request may have run, may still run, or may
run when a paused process wakes; only the same request under the same key, or what the gateway
itself lists, makes it definite.

Amounts are integers in the ISO 4217 minor unit (`engine.payments.currencies`), currencies are
upper-case codes, times are milliseconds since the epoch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class Step(StrEnum):
    """What a request does to an attempt's money; each is asked for under a key of its own."""

    AUTHORIZE = "authorize"
    CAPTURE = "capture"
    VOID = "void"
    REFUND = "refund"


@dataclass(frozen=True, slots=True)
class Reference:
    """Our name for a payment, which the gateway keeps with it. Attempts count from 1."""

    booking_id: str
    attempt: int


def idempotency_key(reference: Reference, step: Step) -> str:
    """Return the key of a step: the same for ever, whoever sends the request, and however often."""
    return f"holdfast-{reference.booking_id}-{reference.attempt}-{step}"


@dataclass(frozen=True, slots=True)
class Intent:
    """Everything an authorization is asked with, durable before the first request (rule 9).

    A gateway refuses a key that comes back with other parameters, so nothing that goes into the
    request may come from anywhere else.
    """

    reference: Reference
    amount: int
    currency: str
    payment_method: str
    return_url: str | None = None
    """Where the buyer comes back to after an action on the gateway's or the bank's page. With it,
    `RequiresAction` names a page (`url`); without, a `client_secret` for the gateway's script."""


class GatewayStatus(StrEnum):
    """How a payment stands in the gateway's own book; words as in a booking's `payment.status`."""

    AUTHORIZING = "AUTHORIZING"
    """Begun and not decided."""
    REQUIRES_ACTION = "REQUIRES_ACTION"
    """Waits for the buyer. May still become anything."""
    DECLINED = "DECLINED"
    """Holds no money. Whoever has its client secret may try it again: void it to end it."""
    AUTHORIZED = "AUTHORIZED"
    CAPTURED = "CAPTURED"
    VOIDED = "VOIDED"
    """Holds no money and never will."""
    REFUNDED = "REFUNDED"
    """Captured, and given back whole."""


@dataclass(frozen=True, slots=True)
class NextAction:
    """What the buyer has to do: open `url`, or let the gateway's script act on `client_secret`."""

    type: str
    url: str | None
    client_secret: str | None


@dataclass(frozen=True, slots=True)
class Payment:
    """A payment as the gateway has it at one instant.

    `reference` is None where it was not made by this installation of Holdfast (an account can have
    other users, and other installations): such a payment is none of ours, whatever its amount.
    `capture_id`, `capture_before_ms` and `amount_refunded` are only known where the gateway told
    about the charge as well, which a webhook does not.
    """

    authorization_id: str
    reference: Reference | None
    status: GatewayStatus
    amount: int
    currency: str
    amount_captured: int
    amount_refunded: int
    created_ms: int
    capture_id: str | None = None
    capture_before_ms: int | None = None
    decline_code: str | None = None
    next_action: NextAction | None = None


@dataclass(frozen=True, slots=True)
class Approved:
    """The amount is reserved on the buyer's card until `capture_before_ms`, where that is known."""

    authorization_id: str
    amount: int
    currency: str
    capture_before_ms: int | None


@dataclass(frozen=True, slots=True)
class RequiresAction:
    """The buyer has to act; a webhook or `retrieve` tells what came of it.

    Who gives such an attempt up must void it first: the buyer may still complete it.
    """

    authorization_id: str
    next_action: NextAction


@dataclass(frozen=True, slots=True)
class Declined:
    """The card was refused; nothing is held, nothing is to be undone. Another attempt may begin."""

    code: str
    authorization_id: str | None = None


@dataclass(frozen=True, slots=True)
class Failed:
    """The request was refused for good and changed nothing.

    `status` is how the payment stood when it was looked at after the refusal; None for an
    authorization, which then does not exist.
    """

    code: str
    status: GatewayStatus | None = None


@dataclass(frozen=True, slots=True)
class Unknown:
    """No one can say yet whether the request ran, or will. `reason` is a machine word."""

    reason: str


@dataclass(frozen=True, slots=True)
class Captured:
    """The money is ours. Also the answer where it already was."""

    authorization_id: str
    capture_id: str
    amount: int
    currency: str


@dataclass(frozen=True, slots=True)
class Voided:
    """The reserved amount is free again. Also the answer where it already was."""

    authorization_id: str


@dataclass(frozen=True, slots=True)
class Refunded:
    """The whole captured amount goes back. Also the answer where it already did."""

    authorization_id: str
    refund_id: str
    amount: int
    currency: str


@dataclass(frozen=True, slots=True)
class Missing:
    """The gateway does not know this id, or not yet."""


@dataclass(frozen=True, slots=True)
class Page:
    """Payments, newest first; `next_cursor` continues, None is the end."""

    payments: tuple[Payment, ...]
    next_cursor: str | None


class EventType(StrEnum):
    """What a webhook says happened, as far as the saga cares."""

    REQUIRES_ACTION = "requires_action"
    AUTHORIZED = "authorized"
    CAPTURED = "captured"
    DECLINED = "declined"
    VOIDED = "voided"
    REFUNDED = "refunded"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class GatewayEvent:
    """A webhook that is what it claims to be.

    Events are repeated, reordered and late: `payment` is how things stood then, not now.
    """

    event_id: str
    type: EventType
    created_ms: int
    payment: Payment | None


class Rejection(StrEnum):
    """Why a webhook is not believed."""

    SIGNATURE_MISSING = "signature_missing"
    SIGNATURE_INVALID = "signature_invalid"
    SIGNATURE_STALE = "signature_stale"
    BODY_INVALID = "body_invalid"


Authorization = Approved | RequiresAction | Declined | Failed | Unknown


class Gateway(Protocol):
    """A payment gateway. Every call is bounded in time and is tried once: the saga tries again."""

    @property
    def name(self) -> str:
        """The word that a booking's `payment.gateway` and the webhook's route carry."""
        ...

    async def authorize(self, intent: Intent) -> Authorization:
        """Reserve the amount on the buyer's card, without taking it.

        Sent again, it answers as it first did, whatever became of the payment since: what was
        `RequiresAction` stays so. `retrieve` tells how the payment stands now.
        """
        ...

    async def capture(self, intent: Intent, authorization_id: str) -> Captured | Failed | Unknown:
        """Take the whole reserved amount."""
        ...

    async def void(self, reference: Reference, authorization_id: str) -> Voided | Failed | Unknown:
        """Free what is reserved, and end a payment that was never approved."""
        ...

    async def refund(
        self, reference: Reference, authorization_id: str
    ) -> Refunded | Failed | Unknown:
        """Give the whole captured amount back."""
        ...

    async def retrieve(self, authorization_id: str) -> Payment | Missing | Unknown:
        """Return a payment as it stands now."""
        ...

    async def find(self, reference: Reference) -> Page | Unknown:
        """Return the payments that carry our reference.

        An empty page proves nothing: the gateway may find late, and a request of ours may still
        be on its way.
        """
        ...

    async def list_created(
        self, since_ms: int, until_ms: int, cursor: str | None = None
    ) -> Page | Unknown:
        """Return a page of the payments made in [since_ms, until_ms), at the gateway's accuracy.

        Complete for a window that ended before the longest that a request of ours can take.
        """
        ...

    def parse_webhook(self, body: bytes, headers: Mapping[str, str]) -> GatewayEvent | Rejection:
        """Check the signature over the raw body, and read it. Header names are in lower case."""
        ...

    async def close(self) -> None:
        """Close its connections."""
        ...
