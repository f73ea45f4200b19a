"""A fold that begins in the middle believes what a booking's first entry tells, and no more."""

from __future__ import annotations

from typing import Any

import pytest

from engine.journal import Entry
from engine.model import Disagreement, PartitionState, advance, apply, booking_before, fold
from engine.types import CancelReason, Status
from tests.unit.payment_journals import JOURNALS, Change, booking, fields, journal


def begin_before(entries: list[Entry], at: int) -> tuple[PartitionState, PartitionState]:
    """The state before an entry about a booking, and the same where only the entry tells of it."""
    whole = fold(entries[:at])
    entry = entries[at]
    assert entry.booking
    begun = whole.copy()
    begun.bookings[entry.booking.booking_id] = booking_before(entry, entry.booking)
    begun.believed.add(entry.booking.booking_id)
    return whole, begun


def changes(entries: list[Entry]) -> list[int]:
    return [at for at, one in enumerate(entries) if one.booking and one.type != "held"]


@pytest.mark.parametrize("name", JOURNALS)
def test_from_any_entry_on_the_fold_comes_to_the_same(name: str) -> None:
    entries = journal(name)
    for at in changes(entries):
        entry = entries[at]
        assert entry.booking
        whole, begun = begin_before(entries, at)
        was = whole.bookings[entry.booking.booking_id]
        told = booking_before(entry, entry.booking)
        assert (told.version, told.status) == (was.version, was.status)
        advance(begun, entry)
        assert begun == apply(whole, entry)
        assert not begun.believed
        assert fold(entries[at + 1 :], begun) == fold(entries)


@pytest.mark.parametrize("name", JOURNALS)
def test_only_the_first_entry_is_taken_at_its_word(name: str) -> None:
    entries = journal(name)
    for at in changes(entries)[:-1]:
        _, begun = begin_before(entries, at)
        after = fold([entries[at]], begun)
        following = next(one for one in changes(entries) if one > at)
        after = fold(entries[at + 1 : following], after)
        second = entries[following]
        assert second.booking
        assert second.booking.booking_id == "b1"
        altered = second._replace(booking=second.booking._replace(amount=1))
        with pytest.raises(Disagreement, match="changed more"):
            advance(after, altered)


TAMPERED: dict[str, tuple[str, str, Change]] = {
    "first_version": ("used", "captured", booking(version=1)),
    "status": ("used", "captured", booking(status=Status.PENDING)),
    "not_confirmed": ("used", "confirmed", booking(status=Status.PENDING)),
    "time": ("used", "captured", booking(updated_ms=1)),
    "a_reason": ("used", "captured", booking(cancel_reason=CancelReason.CUSTOMER)),
    "no_reason": ("cancelled", "cancelled", booking(cancel_reason=None)),
    "expired_by_hand": ("cancelled", "cancelled", booking(cancel_reason=CancelReason.EXPIRED)),
    "cancelled_by_time": (
        "late_and_taken",
        "expired",
        booking(cancel_reason=CancelReason.CUSTOMER),
    ),
    "too_early": ("late_and_taken", "expired", booking(hold_expires_ms=2**50)),
    "too_late": ("warned", "warned", booking(hold_expires_ms=1)),
    "not_extended": ("asked", "extended", booking(extended=False)),
    "not_warned": ("warned", "warned", booking(warned=False)),
    "no_payment": ("used", "captured", booking(payment=None)),
    "paid_for_nothing": ("used", "confirmed", booking(payment=None)),
    "units_that_do_not_move": ("used", "confirmed", fields(deltas=(), levels=())),
    "units_that_move": ("cancelled", "cancelled", fields(deltas=(), levels=())),
}


@pytest.mark.parametrize("name", TAMPERED)
def test_a_first_entry_that_no_booking_can_have_had_is_a_disagreement(name: str) -> None:
    which, kind, change = TAMPERED[name]
    entries = journal(which)
    at = next(at for at, one in enumerate(entries) if one.type == kind)
    _, begun = begin_before(entries, at)
    before: Any = begun.copy()
    with pytest.raises(Disagreement):
        advance(begun, change(entries[at]))
    assert begun == before
    assert begun.believed == {"b1"}
