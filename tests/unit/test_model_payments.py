"""The fold believes nothing of payments either: what does not follow is a disagreement."""

from __future__ import annotations

from typing import Final

import pytest

from engine.journal import BOOKING_TYPES
from engine.model import Disagreement, PartitionState, advance, apply, fold
from engine.payments.types import PaymentStatus, Step
from engine.types import CancelReason, Levels, Status
from tests.stories.story import CUSTOMER, HOLD_MS
from tests.unit.payment_journals import (
    JOURNALS,
    NOW_MS,
    Change,
    also,
    booking,
    fields,
    journal,
    payment,
)

_REFUND: Final = {"status": PaymentStatus.REFUNDING, "step": Step.REFUND}
_VOID: Final = {"status": PaymentStatus.AUTHORIZED, "step": Step.VOID}
_MORE: Final = "changed more"

TAMPERED: Final[dict[str, tuple[str, str, Change, str]]] = {
    "no_payment_begun": ("asked", "payment_begun", booking(payment=None), "cannot begin"),
    "an_attempt_skipped": ("asked", "payment_begun", payment(attempt=3), _MORE),
    "an_attempt_begun_before_now": ("asked", "payment_begun", payment(begun_ms=1), _MORE),
    "an_attempt_that_is_authorized": (
        "asked", "payment_begun", payment(authorization_id="pi_1"), _MORE,
    ),
    "an_attempt_with_an_old_decline": (
        "asked", "payment_begun", payment(decline_code="declined"), _MORE,
    ),
    "an_attempt_that_captures": ("asked", "payment_begun", payment(step=Step.CAPTURE), _MORE),
    "an_attempt_that_moves_stock": (
        "asked",
        "payment_begun",
        fields(deltas=(Levels("P", -1, 1, 0),), levels=(Levels("P", 0, 3, 0),)),
        "deltas",
    ),
    "an_action_without_an_id": (
        "asked", "requires_action", payment(authorization_id=None), "lacks authorization_id",
    ),
    "an_action_that_is_none": (
        "asked", "requires_action", payment(next_action=None), "lacks next_action",
    ),
    "an_action_that_confirms": (
        "asked", "requires_action", booking(status=Status.CONFIRMED), _MORE,
    ),
    "an_action_of_another_attempt": ("asked", "requires_action", payment(attempt=2), _MORE),
    "an_unknown_that_moves_the_step": (
        "asked", "payment_unknown", payment(step=Step.CAPTURE), _MORE,
    ),
    "an_unknown_that_forgets_the_action": (
        "asked", "payment_unknown", payment(next_action=None), _MORE,
    ),
    "a_decline_that_stays_open": ("asked", "payment_failed", payment(step=Step.AUTHORIZE), _MORE),
    "a_decline_that_cancels": (
        "asked",
        "payment_failed",
        booking(status=Status.CANCELLED, cancel_reason=CancelReason.PAYMENT_FAILED),
        _MORE,
    ),
    "another_key": ("asked", "payment_failed", payment(key="k9"), _MORE),
    "another_method": ("asked", "payment_failed", payment(method="pm_y"), _MORE),
    "another_gateway": ("asked", "payment_failed", payment(gateway="other"), _MORE),
    "an_extension_that_pays": ("asked", "extended", payment(status=PaymentStatus.CAPTURED), _MORE),
    "a_confirmation_without_an_id": (
        "used", "confirmed", payment(authorization_id=None), "lacks authorization_id",
    ),
    "a_confirmation_that_asks_for_nothing": ("used", "confirmed", payment(step=Step.NONE), _MORE),
    "a_confirmation_that_takes_no_stock": ("used", "confirmed", fields(deltas=()), "deltas"),
    "a_confirmation_that_is_pending": ("used", "confirmed", booking(status=Status.PENDING), _MORE),
    "a_capture_without_an_id": ("used", "captured", payment(capture_id=None), "lacks capture_id"),
    "a_capture_of_another_authorization": (
        "used", "captured", payment(authorization_id="pi_2"), _MORE,
    ),
    "a_capture_of_another_amount": ("used", "captured", booking(amount=1), _MORE),
    "a_completion_that_pays_back": ("used", "completed", payment(**_REFUND), _MORE),
    "a_refund_that_cancels_what_was_used": (
        "used",
        "refund_begun",
        booking(status=Status.CANCELLED, cancel_reason=CancelReason.OPERATOR),
        _MORE,
    ),
    "a_refund_that_stays_open": ("used", "refunded", payment(step=Step.REFUND), _MORE),
    "a_refund_that_leaves_the_booking": (
        "given_back", "refund_begun", booking(status=Status.CONFIRMED, cancel_reason=None), _MORE,
    ),
    "a_refund_that_keeps_the_units": (
        "given_back", "refund_begun", fields(deltas=(), levels=()), "deltas",
    ),
    "a_refund_for_another_reason": (
        "given_back", "refund_begun", booking(cancel_reason=CUSTOMER), _MORE,
    ),
    "a_cancel_that_keeps_the_money": (
        "cancelled", "cancelled", payment(status=PaymentStatus.CAPTURED, step=Step.NONE), _MORE,
    ),
    "a_cancel_that_voids_what_was_captured": ("cancelled", "cancelled", payment(**_VOID), _MORE),
    "a_cancel_that_goes_on_to_capture": (
        "voided",
        "cancelled",
        payment(status=PaymentStatus.CAPTURING, step=Step.CAPTURE),
        _MORE,
    ),
    "a_cancel_with_a_decline": ("voided", "cancelled", payment(decline_code="x"), _MORE),
    "a_void_of_a_capture": ("voided", "voided", payment(capture_id="ch_1"), _MORE),
    "a_capture_after_a_cancel_that_is_kept": (
        "captured_too_late",
        "refund_begun",
        payment(status=PaymentStatus.CAPTURED, step=Step.NONE),
        _MORE,
    ),
    "a_capture_after_a_cancel_without_an_id": (
        "captured_too_late", "refund_begun", payment(capture_id=None), "lacks capture_id",
    ),
    "a_capture_refused_that_keeps_the_units": (
        "refused", "cancelled", fields(deltas=(), levels=()), "deltas",
    ),
    "an_expiry_that_declines": (
        "late_and_taken",
        "expired",
        payment(status=PaymentStatus.DECLINED, step=Step.NONE),
        _MORE,
    ),
    "late_money_that_is_not_taken_though_it_could_be": (
        "late_and_taken",
        "late_money",
        also(
            booking(status=Status.CANCELLED, cancel_reason=CancelReason.EXPIRED),
            payment(**_VOID),
            fields(deltas=(), levels=()),
        ),
        "late money does not take stock",
    ),
    "late_money_that_keeps_its_reason": (
        "late_and_taken", "late_money", booking(cancel_reason=CancelReason.EXPIRED), _MORE,
    ),
    "late_money_that_takes_what_is_held": (
        "late_and_taken",
        "late_money",
        fields(deltas=(Levels("P", 0, -2, 2),), levels=(Levels("P", 3, -2, 2),)),
        "deltas",
    ),
    "late_money_for_stock_that_is_not_there": (
        "late_and_sold_out",
        "late_money",
        also(
            booking(status=Status.CONFIRMED, cancel_reason=None),
            payment(status=PaymentStatus.CAPTURING, step=Step.CAPTURE),
        ),
        "late money takes stock",
    ),
    "late_money_after_a_cancel_that_takes_stock": (
        "late_after_a_cancel",
        "late_money",
        also(
            booking(status=Status.CONFIRMED, cancel_reason=None),
            payment(status=PaymentStatus.CAPTURING, step=Step.CAPTURE),
            fields(deltas=(Levels("P", -2, 0, 2),), levels=(Levels("P", 1, 0, 2),)),
        ),
        "late money takes stock",
    ),
    "late_money_that_is_captured_all_the_same": (
        "late_after_a_cancel",
        "late_money",
        payment(status=PaymentStatus.CAPTURING, step=Step.CAPTURE),
        _MORE,
    ),
}  # fmt: skip


def test_the_journals_of_these_tests_have_every_type_of_entry() -> None:
    types = {entry.type for name in JOURNALS for entry in journal(name)}
    assert types == BOOKING_TYPES | {"sale_put"}


@pytest.mark.parametrize("name", JOURNALS)
def test_a_fold_is_the_same_in_one_go_and_entry_by_entry(name: str) -> None:
    state = PartitionState()
    for entry in journal(name):
        before = state.copy()
        after = apply(state, entry)
        assert state == before, "apply changed the state it was given"
        state = after
    assert state == fold(journal(name))


@pytest.mark.parametrize("name", TAMPERED)
def test_a_tampered_entry_is_a_disagreement_and_changes_nothing(name: str) -> None:
    journal_name, kind, tamper, message = TAMPERED[name]
    entries = journal(journal_name)
    at = max(place for place, entry in enumerate(entries) if entry.type == kind)
    state = fold(entries[:at])
    before = state.copy()
    tampered = tamper(entries[at])
    assert tampered != entries[at]
    with pytest.raises(Disagreement, match=message):
        advance(state, tampered)
    assert state == before
    advance(state, entries[at])


STRANGE: Final[dict[str, tuple[str, str, str, str]]] = {
    "a_capture_before_an_authorization": (
        "used", "payment_begun", "captured", "captured of a booking that is PENDING",
    ),
    "a_capture_recorded_twice": ("used", "captured", "captured", "payment is at none"),
    "a_void_of_nothing": ("asked", "payment_failed", "voided", "booking that is PENDING"),
    "a_void_of_what_is_refunded": ("cancelled", "cancelled", "voided", "payment is at refund"),
    "a_refund_of_what_is_voided": ("voided", "voided", "refunded", "payment is at none"),
    "a_refund_begun_twice": ("used", "refund_begun", "refund_begun", "which is not captured"),
    "a_refund_of_what_is_not_captured": (
        "used", "confirmed", "refund_begun", "which is not captured",
    ),
    "an_action_twice": ("asked", "requires_action", "requires_action", "so already"),
    "an_unknown_twice": ("asked", "payment_unknown", "payment_unknown", "so already"),
    "a_decline_after_the_decline": ("asked", "payment_failed", "payment_failed", "at none"),
    "an_unknown_of_nothing": ("asked", "held", "payment_unknown", "at nothing begun"),
    "a_payment_begun_under_payment": ("asked", "payment_begun", "payment_begun", "cannot begin"),
    "an_extension_under_payment": ("used", "payment_begun", "extended", "under payment"),
    "a_completion_of_what_is_not_paid": ("used", "confirmed", "completed", "not paid"),
    "late_money_of_a_live_hold": ("used", "payment_begun", "late_money", "that is PENDING"),
    "late_money_after_its_end": ("voided", "voided", "late_money", "payment is at none"),
}  # fmt: skip


@pytest.mark.parametrize("name", STRANGE)
def test_an_entry_that_the_payment_does_not_allow_is_a_disagreement(name: str) -> None:
    journal_name, after, kind, message = STRANGE[name]
    entries = journal(journal_name)
    at = max(place for place, entry in enumerate(entries) if entry.type == after)
    state = fold(entries[: at + 1])
    last = entries[at].booking
    assert last
    entry = entries[at]._replace(
        sequence=state.sequence + 1,
        type=kind,
        deltas=(),
        levels=(),
        booking=last._replace(version=last.version + 1),
    )
    with pytest.raises(Disagreement, match=message):
        advance(state, entry)


def test_a_payment_begins_before_the_deadline_and_may_end_after_it() -> None:
    entries = journal("used")
    state = fold(entries[:2])
    late_ms = NOW_MS + 2 * HOLD_MS
    begun = also(fields(at_ms=late_ms), booking(updated_ms=late_ms), payment(begun_ms=late_ms))(
        entries[2]
    )
    with pytest.raises(Disagreement, match="after its deadline"):
        advance(state, begun)
    advance(state, entries[2])
    advance(state, also(fields(at_ms=late_ms), booking(updated_ms=late_ms))(entries[3]))


def test_a_hold_under_payment_expires_at_its_own_deadline_at_the_earliest() -> None:
    entries = journal("late_and_taken")
    state = fold(entries[:3])
    own_ms = entries[1].at_ms + HOLD_MS
    early = also(fields(at_ms=own_ms - 1), booking(updated_ms=own_ms - 1))(entries[3])
    with pytest.raises(Disagreement, match="before its deadline"):
        advance(state, early)
    advance(state, also(fields(at_ms=own_ms), booking(updated_ms=own_ms))(entries[3]))


@pytest.mark.parametrize(
    ("name", "kind"), [("used", "captured"), ("asked", "payment_failed"), ("voided", "voided")]
)
def test_a_final_answer_is_kept_for_its_attempts_key(name: str, kind: str) -> None:
    entries = journal(name)
    at = next(place for place, entry in enumerate(entries) if entry.type == kind)
    record = ("pay", "b1", "k1", "ann")
    assert record not in fold(entries[:at]).records
    kept = fold(entries).records[record]
    assert (kept.fingerprint, kept.answer, kept.at_ms) == (
        "f",
        entries[at].booking,
        entries[at].at_ms,
    )
