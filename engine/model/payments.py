"""What a journal entry may change of its booking's payment."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

from engine.journal import Entry
from engine.model.state import Disagreement
from engine.payments.types import Payment, PaymentStatus, Step
from engine.types import Booking, CancelReason, Status


@dataclass(frozen=True, slots=True)
class _Rule:
    """An entry that comes at one of some steps, and what the payment is after it.

    `step` None leaves the step. `told` are fields whose new values only the entry knows.
    """

    at: frozenset[Step]
    status: PaymentStatus
    step: Step | None
    told: tuple[str, ...] = ()
    settles: bool = False
    """Whether the buyer has nothing to do any more."""


_OPEN: Final = frozenset(Step) - {Step.NONE}
_AUTHORIZE: Final = frozenset({Step.AUTHORIZE})
_CAPTURE: Final = frozenset({Step.CAPTURE})
_VOID: Final = frozenset({Step.VOID})
_REFUND: Final = frozenset({Step.REFUND})

_TAKEN: Final = _Rule(
    _AUTHORIZE, PaymentStatus.CAPTURING, Step.CAPTURE, ("authorization_id",), settles=True
)
_TOO_LATE: Final = _Rule(
    _AUTHORIZE, PaymentStatus.AUTHORIZED, Step.VOID, ("authorization_id",), settles=True
)
_CAPTURED_TOO_LATE: Final = _Rule(_VOID, PaymentStatus.REFUNDING, Step.REFUND, ("capture_id",))
_GIVEN_BACK: Final = _Rule(frozenset({Step.NONE}), PaymentStatus.REFUNDING, Step.REFUND)
_RULES: Final = {
    "requires_action": _Rule(
        _AUTHORIZE,
        PaymentStatus.REQUIRES_ACTION,
        Step.AUTHORIZE,
        ("authorization_id", "next_action"),
    ),
    "payment_unknown": _Rule(_OPEN, PaymentStatus.UNKNOWN, None),
    "payment_failed": _Rule(
        _AUTHORIZE, PaymentStatus.DECLINED, Step.NONE, ("decline_code",), settles=True
    ),
    "confirmed": _TAKEN,
    "captured": _Rule(_CAPTURE, PaymentStatus.CAPTURED, Step.NONE, ("capture_id",)),
    "voided": _Rule(_VOID, PaymentStatus.VOIDED, Step.NONE),
    "refunded": _Rule(_REFUND, PaymentStatus.REFUNDED, Step.NONE),
}
_ONCE: Final = ("requires_action", "payment_unknown")
"""Said again while the payment stands there already, these are not written."""


def payment_after(entry: Entry, before: Booking, after: Booking) -> Payment | None:
    """The payment that an entry must lead to; of `after`, only what no rule can know is believed.

    Raises:
        Disagreement: the entry cannot come where the payment stands.
    """
    kind, payment = entry.type, before.payment
    match kind:
        case "payment_begun":
            return _begun(entry, before, after)
        case "cancelled":
            return _cancelled(before, after)
        case "confirmed" if before.amount == 0:
            return payment
        case "late_money":
            rule = _TAKEN if after.status is Status.CONFIRMED else _TOO_LATE
            return _follow(entry, rule, before, after)
        case "refund_begun":
            late = payment is not None and payment.step is Step.VOID
            if not late and (payment is None or payment.status is not PaymentStatus.CAPTURED):
                raise Disagreement(
                    entry.sequence, f"refund_begun of {before.booking_id}, which is not captured"
                )
            return _follow(entry, _CAPTURED_TOO_LATE if late else _GIVEN_BACK, before, after)
        case _ if kind in _RULES:
            return _follow(entry, _RULES[kind], before, after)
    return payment


def _follow(entry: Entry, rule: _Rule, before: Booking, after: Booking) -> Payment:
    payment, told = before.payment, after.payment
    if payment is None or payment.step not in rule.at:
        step = payment.step if payment else "nothing begun"
        raise Disagreement(
            entry.sequence, f"{entry.type} of {before.booking_id}, whose payment is at {step}"
        )
    if entry.type in _ONCE and payment.status is rule.status:
        raise Disagreement(
            entry.sequence, f"{entry.type} of {before.booking_id}, whose payment is so already"
        )
    new: dict[str, Any] = {"next_action": None} if rule.settles else {}
    for name in rule.told:
        new[name] = getattr(told, name) if told else None
        if new[name] is None and name != "decline_code":
            raise Disagreement(entry.sequence, f"{entry.type} of {before.booking_id} lacks {name}")
    return replace(payment, status=rule.status, step=rule.step or payment.step, **new)


def _begun(entry: Entry, before: Booking, after: Booking) -> Payment:
    last, told = before.payment, after.payment
    fresh = last is None or last.status is PaymentStatus.DECLINED
    if told is None or not fresh or before.amount == 0:
        raise Disagreement(entry.sequence, f"a payment of {before.booking_id} cannot begin")
    return Payment(
        status=PaymentStatus.AUTHORIZING,
        step=Step.AUTHORIZE,
        attempt=last.attempt + 1 if last else 1,
        gateway=told.gateway,
        method=told.method,
        return_url=told.return_url,
        key=told.key,
        fingerprint=told.fingerprint,
        begun_ms=entry.at_ms,
        authorization_id=None,
        capture_id=None,
        decline_code=None,
        next_action=None,
    )


def _cancelled(before: Booking, after: Booking) -> Payment | None:
    """A cancel asks the gateway for money or authorization back; an open authorization stays."""
    payment = before.payment
    if payment is None:
        return None
    if payment.status is PaymentStatus.CAPTURED:
        return replace(payment, status=PaymentStatus.REFUNDING, step=Step.REFUND)
    if payment.step is not Step.CAPTURE:
        return payment
    code = payment.decline_code
    if after.cancel_reason is CancelReason.PAYMENT_FAILED and after.payment:
        code = after.payment.decline_code
    return replace(payment, status=PaymentStatus.AUTHORIZED, step=Step.VOID, decline_code=code)
