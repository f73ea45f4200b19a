"""What a journal entry may change of its booking, and which units it moves."""

from __future__ import annotations

from typing import Final

from engine.journal import Entry
from engine.model.payments import payment_after
from engine.model.state import Disagreement, awaits_late_money, is_paying
from engine.payments.types import PaymentStatus
from engine.types import Booking, CancelReason, Status

Move = tuple[int, int, int]
"""Units moved between (available, held, sold) for each unit of a booking."""

NO_MOVE: Final[Move] = (0, 0, 0)
HOLD: Final[Move] = (-1, 1, 0)
_SELL: Final[Move] = (0, -1, 1)
_SELL_AGAIN: Final[Move] = (-1, 0, 1)
_RELEASE: Final[Move] = (1, -1, 0)
_TAKE_BACK: Final[Move] = (1, 0, -1)

_ANY: Final = tuple(Status)
_FROM: Final = {
    "extended": (Status.PENDING,),
    "warned": (Status.PENDING,),
    "payment_begun": (Status.PENDING,),
    "requires_action": (Status.PENDING, Status.CANCELLED),
    "payment_unknown": _ANY,
    "payment_failed": (Status.PENDING, Status.CANCELLED),
    "confirmed": (Status.PENDING,),
    "late_money": (Status.CANCELLED,),
    "captured": (Status.CONFIRMED,),
    "voided": (Status.CANCELLED,),
    "refund_begun": (Status.CONFIRMED, Status.COMPLETED, Status.CANCELLED),
    "refunded": (Status.COMPLETED, Status.CANCELLED),
    "completed": (Status.CONFIRMED,),
    "cancelled": (Status.PENDING, Status.CONFIRMED, Status.CANCELLED),
    "expired": (Status.PENDING,),
}
_TO: Final = {
    "confirmed": Status.CONFIRMED,
    "completed": Status.COMPLETED,
    "cancelled": Status.CANCELLED,
    "expired": Status.CANCELLED,
}
"""The others leave the status, but for late money and refunds."""
_TIMELY: Final = ("extended", "warned", "payment_begun")
"""Only before the hold's deadline, like the confirmation of what costs nothing."""
_PAID: Final = (
    *("payment_begun", "requires_action", "payment_unknown", "payment_failed", "late_money"),
    *("captured", "voided", "refund_begun", "refunded"),
)
"""They tell of a payment."""


def check_change(entry: Entry, before: Booking, after: Booking, *, may_take_again: bool) -> None:
    """Compare a booking's entry with the booking before it: only what its type moves may differ.

    Args:
        may_take_again: whether late money may have all its units.

    Raises:
        Disagreement: the entry does not follow from the booking.
    """
    sequence = entry.sequence
    if after.version != before.version + 1:
        raise Disagreement(sequence, f"version {after.version} follows {before.version}")
    if before.status not in _FROM[entry.type]:
        raise Disagreement(sequence, f"{entry.type} of a booking that is {before.status}")
    free = entry.type == "confirmed" and before.amount == 0
    if (free or entry.type in _TIMELY) and before.hold_expires_ms <= entry.at_ms:
        raise Disagreement(sequence, f"{before.booking_id} is {entry.type} after its deadline")
    if after != _expected(entry, before, after, may_take_again=may_take_again):
        raise Disagreement(
            sequence, f"{entry.type} changed more of {before.booking_id} than it may"
        )


def _expected(entry: Entry, before: Booking, after: Booking, *, may_take_again: bool) -> Booking:
    sequence, kind = entry.sequence, entry.type
    expected = before._replace(
        version=after.version,
        status=_TO.get(kind, before.status),
        updated_ms=entry.at_ms,
        payment=payment_after(entry, before, after),
    )
    match kind:
        case "extended":
            if before.extended or after.hold_expires_ms < before.hold_expires_ms:
                raise Disagreement(sequence, f"{before.booking_id} extended twice, or shortened")
            if is_paying(before):
                raise Disagreement(sequence, f"{before.booking_id} extended under payment")
            return expected._replace(extended=True, hold_expires_ms=after.hold_expires_ms)
        case "warned":
            if before.warned or is_paying(before):
                raise Disagreement(sequence, f"{before.booking_id} is not to be warned of")
            return expected._replace(warned=True)
        case "expired":
            # Under payment it lives for a grace more, which no entry tells: only not less.
            if before.hold_expires_ms > entry.at_ms:
                raise Disagreement(sequence, f"{before.booking_id} expired before its deadline")
            return expected._replace(cancel_reason=CancelReason.EXPIRED)
        case "cancelled":
            if after.cancel_reason in (None, CancelReason.EXPIRED):
                raise Disagreement(sequence, f"{before.booking_id} is cancelled without a reason")
            if before.status is Status.CANCELLED and not awaits_late_money(before):
                raise Disagreement(sequence, f"{before.booking_id} is cancelled a second time")
            return expected._replace(cancel_reason=after.cancel_reason)
        case "late_money":
            taken = after.status is Status.CONFIRMED
            if taken != (may_take_again and before.cancel_reason is CancelReason.EXPIRED):
                what = "takes" if taken else "does not take"
                raise Disagreement(sequence, f"late money {what} stock for {before.booking_id}")
            if taken:
                return expected._replace(status=Status.CONFIRMED, cancel_reason=None)
        case "refund_begun" if before.status is Status.CONFIRMED:
            return expected._replace(status=Status.CANCELLED, cancel_reason=CancelReason.OPERATOR)
        case "completed":
            captured = before.payment and before.payment.status is PaymentStatus.CAPTURED
            if before.amount > 0 and not captured:
                raise Disagreement(sequence, f"{before.booking_id} is completed and not paid")
    return expected


def move_of(kind: str, before: Booking, after: Booking) -> Move:
    """The units that an entry moves, for each unit of its booking."""
    match kind:
        case "confirmed":
            return _SELL
        case "late_money" if after.status is Status.CONFIRMED:
            return _SELL_AGAIN
        case "cancelled" | "expired" if before.status is Status.PENDING:
            return _RELEASE
        case "cancelled" if before.status is Status.CONFIRMED:
            return _TAKE_BACK
        case "refund_begun" if before.status is Status.CONFIRMED:
            return _TAKE_BACK
    return NO_MOVE


def booking_before(entry: Entry, after: Booking) -> Booking:
    """What an entry tells of its booking before it: the version, and the status by what moves.

    The rest of it is not told, and stands as it is after. So it does for `check_first` only.
    """
    return after._replace(version=after.version - 1, status=_status_before(entry, after))


def _status_before(entry: Entry, after: Booking) -> Status:
    match entry.type:
        case "confirmed" | "expired":
            return Status.PENDING
        case "cancelled" if entry.deltas:
            held = any(delta.held for delta in entry.deltas)
            return Status.PENDING if held else Status.CONFIRMED
        case "late_money":
            return Status.CANCELLED
        case "completed":
            return Status.CONFIRMED
        case "refund_begun" if entry.deltas:
            return Status.CONFIRMED
    return after.status


def check_first(entry: Entry, before: Booking, after: Booking) -> None:
    """Compare a booking's first entry after a base with itself: before is only `booking_before`.

    Raises:
        Disagreement: no booking could have come to this by an entry of its type.
    """
    kind, at_ms = entry.type, entry.at_ms
    became = {_TO.get(kind, before.status)}
    if kind == "late_money":
        became.add(Status.CONFIRMED)
    elif kind == "refund_begun" and before.status is Status.CONFIRMED:
        became = {Status.CANCELLED}
    reason = after.cancel_reason
    expired = reason is CancelReason.EXPIRED
    free = kind == "confirmed" and after.payment is None
    sound = (
        after.version > 1
        and after.updated_ms == at_ms
        and before.status in _FROM[kind]
        and after.status in became
        and (reason is not None) == (after.status is Status.CANCELLED)
        and (kind != "expired" or (expired and after.hold_expires_ms <= at_ms))
        and (kind != "cancelled" or not expired)
        and (after.hold_expires_ms > at_ms or not (free or kind in _TIMELY))
        and (after.extended or kind != "extended")
        and (after.warned or kind != "warned")
        and (not free or after.amount == 0)
        and (after.payment is not None or kind not in _PAID)
    )
    if not sound:
        raise Disagreement(
            entry.sequence, f"{kind} can have made {after.booking_id} this of no booking"
        )
