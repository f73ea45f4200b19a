"""The executable specification of the saga's scripts, in the order of checks of their Lua.

Leases are kept in the state without their time: they end where whoever drives the model says so.
"""

from __future__ import annotations

import orjson

from engine.model.apply import may_take_again
from engine.model.payment_operations import (
    BeginPayment,
    CaptureFailed,
    ClaimPayment,
    Confirm,
    PaymentFailed,
    PaymentOperation,
    PaymentUnknown,
    RecordCapture,
    Refund,
    Refunded,
    RequireAction,
    Voided,
)
from engine.model.state import is_paying
from engine.model.work import Decision, Work, over
from engine.outcomes import Outcome
from engine.payments.types import Payment, PaymentStatus, Step
from engine.types import Booking, CancelReason, Status

Owned = (
    Confirm
    | RequireAction
    | PaymentUnknown
    | PaymentFailed
    | RecordCapture
    | CaptureFailed
    | Voided
    | Refunded
)


def decide_payment(work: Work, operation: PaymentOperation) -> Decision:
    """What a script of the saga must do."""
    match operation:
        case BeginPayment():
            return _begin(work, operation)
        case ClaimPayment():
            return _claim(work, operation)
        case Refund():
            return _refund(work, operation)
        case _:
            return _record(work, operation)


def _begin(work: Work, wanted: BeginPayment) -> Decision:
    name = ("pay", wanted.booking_id, wanted.key, wanted.customer_id)
    if replay := work.replay(name, wanted.fingerprint):
        return replay
    booking = work.find(wanted.booking_id, wanted.customer_id)
    if booking is None:
        return work.answer(Outcome.ABSENT)
    payment = booking.payment
    if payment and payment.key == wanted.key:
        if payment.fingerprint != wanted.fingerprint:
            return work.answer(Outcome.IDEMPOTENCY_KEY_REUSED)
        return work.answer(Outcome.JOINED, booking)
    if booking.status is not Status.PENDING:
        return work.answer(over(booking), booking)
    if is_paying(booking):
        return work.answer(Outcome.INVALID_STATE, booking)
    if not work.is_live(booking):
        return work.answer(Outcome.HOLD_EXPIRED, booking)
    if booking.amount == 0:
        return work.answer(Outcome.PAYMENT_FREE, booking)
    attempt = payment.attempt + 1 if payment else 1
    if attempt > wanted.max_attempts:
        return work.answer(Outcome.ATTEMPTS_EXHAUSTED, booking)
    intent = Payment(
        status=PaymentStatus.AUTHORIZING,
        step=Step.AUTHORIZE,
        attempt=attempt,
        gateway=wanted.gateway,
        method=wanted.method,
        return_url=wanted.return_url,
        key=wanted.key,
        fingerprint=wanted.fingerprint,
        begun_ms=work.now_ms,
        authorization_id=None,
        capture_id=None,
        decline_code=None,
        next_action=None,
    )
    begun = work.changed(booking, payment=intent)
    work.append("payment_begun", begun, None)
    work.state.graces[booking.booking_id] = wanted.grace_ms
    work.state.leases[booking.booking_id] = wanted.owner
    return work.answer(Outcome.BEGUN, begun)


def _claim(work: Work, wanted: ClaimPayment) -> Decision:
    booking, leases = work.find(wanted.booking_id, ""), work.state.leases
    if booking is None:
        return work.answer(Outcome.ABSENT)
    if not is_paying(booking):
        leases.pop(wanted.booking_id, None)
        return work.answer(Outcome.UNCHANGED, booking)
    if leases.setdefault(wanted.booking_id, wanted.owner) != wanted.owner:
        return work.answer(Outcome.LEASE_LOST, booking)
    return work.answer(Outcome.DONE, booking)


def _refund(work: Work, wanted: Refund) -> Decision:
    booking = work.find(wanted.booking_id, "")
    if booking is None:
        return work.answer(Outcome.ABSENT)
    payment = booking.payment
    if payment and (payment.step is Step.REFUND or payment.status is PaymentStatus.REFUNDED):
        return work.answer(Outcome.UNCHANGED, booking)
    if not payment or payment.status is not PaymentStatus.CAPTURED:
        return work.answer(Outcome.INVALID_STATE, booking)
    refund = {"status": PaymentStatus.REFUNDING, "step": Step.REFUND}
    if booking.status is Status.CONFIRMED:
        changed = work.end(booking, CancelReason.OPERATOR, "refund_begun", **refund)
    else:
        changed = work.changed(booking, refund)
        work.append("refund_begun", changed, None)
    return work.answer(Outcome.REFUND_BEGUN, changed)


def _record(work: Work, wanted: Owned) -> Decision:
    """Record what the gateway did, as the owner of the lease, at the attempt and step thought."""
    booking = work.find(wanted.booking_id, "")
    if booking is None:
        return work.answer(Outcome.ABSENT)
    if work.state.leases.get(booking.booking_id) != wanted.owner:
        return work.answer(Outcome.LEASE_LOST, booking)
    payment = booking.payment
    if not payment or payment.step not in _steps(wanted) or payment.attempt != wanted.attempt:
        return work.answer(Outcome.MOVED_ON, booking)
    match wanted:
        case Confirm():
            return _confirm(work, booking, wanted)
        case RequireAction():
            action = {
                "status": PaymentStatus.REQUIRES_ACTION,
                "authorization_id": wanted.authorization_id,
                "next_action": orjson.loads(wanted.next_action),
            }
            known = payment.status is PaymentStatus.REQUIRES_ACTION
            changed = None if known else work.changed(booking, action)
            return _rest(work, booking, changed, "requires_action")
        case PaymentUnknown():
            known = payment.status is PaymentStatus.UNKNOWN
            changed = None if known else work.changed(booking, {"status": PaymentStatus.UNKNOWN})
            return _rest(work, booking, changed, "payment_unknown")
        case PaymentFailed():
            failure = {
                "status": PaymentStatus.DECLINED,
                "step": Step.NONE,
                "decline_code": wanted.decline_code,
                "next_action": None,
            }
            return _rest(work, booking, work.changed(booking, failure), "payment_failed")
        case RecordCapture():
            return _captured(work, booking, wanted)
        case CaptureFailed():
            ended = work.end(
                booking,
                CancelReason.PAYMENT_FAILED,
                status=PaymentStatus.AUTHORIZED,
                step=Step.VOID,
                decline_code=wanted.decline_code,
            )
            return work.answer(Outcome.CANCELLED, ended)
        case Voided():
            end = {"status": PaymentStatus.VOIDED, "step": Step.NONE}
            return _rest(work, booking, work.changed(booking, end), "voided")
        case Refunded():
            end = {"status": PaymentStatus.REFUNDED, "step": Step.NONE}
            return _rest(work, booking, work.changed(booking, end), "refunded")


def _steps(wanted: Owned) -> tuple[Step, ...]:
    """The steps at which something can be recorded."""
    match wanted:
        case PaymentUnknown():
            return (wanted.step,)
        case RecordCapture():
            return (Step.CAPTURE, Step.VOID)
        case CaptureFailed():
            return (Step.CAPTURE,)
        case Voided():
            return (Step.VOID,)
        case Refunded():
            return (Step.REFUND,)
    return (Step.AUTHORIZE,)


def _rest(work: Work, booking: Booking, changed: Booking | None, kind: str) -> Decision:
    """Write a change, if it is one, and let go of the lease."""
    del work.state.leases[booking.booking_id]
    if changed is None:
        return work.answer(Outcome.UNCHANGED, booking)
    work.append(kind, changed, None)
    return work.answer(Outcome(kind), changed)


def _confirm(work: Work, booking: Booking, wanted: Confirm) -> Decision:
    in_time = booking.status is Status.PENDING
    again = booking.cancel_reason is CancelReason.EXPIRED and may_take_again(
        work.state.sales[booking.sale_id], booking, work.now_ms
    )
    payment = {"authorization_id": wanted.authorization_id, "next_action": None}
    if in_time or again:
        confirmed = work.changed(
            booking,
            {**payment, "status": PaymentStatus.CAPTURING, "step": Step.CAPTURE},
            status=Status.CONFIRMED,
            cancel_reason=None,
        )
        kind, move = ("confirmed", "held") if in_time else ("late_money", "available")
        work.append(kind, confirmed, (move, "sold"))
        return work.answer(Outcome(kind), confirmed)
    void = {**payment, "status": PaymentStatus.AUTHORIZED, "step": Step.VOID}
    late = work.changed(booking, void)
    work.append("late_money", late, None)
    return work.answer(Outcome.LATE_MONEY, late)


def _captured(work: Work, booking: Booking, wanted: RecordCapture) -> Decision:
    capture = {"capture_id": wanted.capture_id}
    if booking.status is Status.CANCELLED:
        refund = {**capture, "status": PaymentStatus.REFUNDING, "step": Step.REFUND}
        begun = work.changed(booking, refund)
        work.append("refund_begun", begun, None)
        return work.answer(Outcome.REFUND_BEGUN, begun)
    done = {**capture, "status": PaymentStatus.CAPTURED, "step": Step.NONE}
    return _rest(work, booking, work.changed(booking, done), "captured")
