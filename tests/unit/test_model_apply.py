"""The fold believes nothing: an entry that does not follow from the state is a disagreement."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from engine.journal import Entry, UnknownEntry, parse_entry
from engine.limits import IDEMPOTENCY_TTL_MS
from engine.model import (
    Cancel,
    Complete,
    ConfirmFree,
    Disagreement,
    Expire,
    Extend,
    Operation,
    PartitionState,
    advance,
    apply,
    decide,
    fold,
)
from engine.outcomes import Outcome
from engine.types import CancelReason, Levels, Line, Status
from tests.stories.story import CUSTOMER, HOLD_MS, hold, put, sale

NOW_MS = 1_000_000

STEPS: tuple[tuple[int, Operation], ...] = (
    (0, put(sale("A:9:0 B:9:300"))),
    (1, hold("b1", "A:2 A:1 B:1")),
    (2, hold("b2", "A:1", "bob")),
    (3, Extend("b1")),
    (4, ConfirmFree("b2", "bob", "pay", "f")),
    (5, Complete("b2")),
    (6, Cancel("b1", CUSTOMER)),
    (7, hold("b3", "A:1", "cat")),
    (7 + HOLD_MS, Expire("gig")),
    (7 + HOLD_MS, put(sale("A:9:0 B:12:300"), "put-2")),
    (7 + HOLD_MS, put(sale("A:9:0", currency="USD", max_units_per_customer=2), "put-3")),
)
KINDS = [
    *("sale_put", "held", "held", "extended", "confirmed", "completed", "cancelled", "held"),
    *("expired", "stock_adjusted", "sale_put"),
]


def journal() -> list[Entry]:
    state = PartitionState()
    entries: list[Entry] = []
    for after_ms, operation in STEPS:
        decision = decide(state, operation, NOW_MS + after_ms)
        state = decision.state
        entries += decision.entries
    return entries


ENTRIES = journal()


def test_the_journal_of_these_tests_has_every_type() -> None:
    assert [entry.type for entry in ENTRIES] == KINDS


def test_a_fold_is_the_same_in_one_go_and_entry_by_entry() -> None:
    state = PartitionState()
    for entry in ENTRIES:
        before = state.copy()
        after = apply(state, entry)
        assert state == before, "apply changed the state it was given"
        assert after != before
        state = after
    assert state == fold(ENTRIES) == fold(ENTRIES[4:], fold(ENTRIES[:4]))
    assert state.sales["gig"].levels == {"A": Levels("A", 8, 0, 1)}
    assert state.sales["gig"].customers == {"bob": 1}
    assert {b.booking_id: b.status for b in state.bookings.values()} == {
        "b1": Status.CANCELLED,
        "b2": Status.COMPLETED,
        "b3": Status.CANCELLED,
    }
    assert sorted(state.records) == [
        ("hold", "gig", "key-b1", "ann"),
        ("hold", "gig", "key-b2", "bob"),
        ("hold", "gig", "key-b3", "cat"),
        ("pay", "b2", "pay", "bob"),
    ]


def booking(**fields: Any) -> Callable[[Entry], Entry]:
    """Change an entry's booking."""

    def change(entry: Entry) -> Entry:
        assert entry.booking
        return entry._replace(booking=entry.booking._replace(**fields))

    return change


def fields(**changed: Any) -> Callable[[Entry], Entry]:
    """Change an entry."""
    return lambda entry: entry._replace(**changed)


def definition(**changed: Any) -> Callable[[Entry], Entry]:
    """Change a sale's entry's definition."""
    return lambda entry: entry._replace(definition={**(entry.definition or {}), **changed})


PUT, HELD, EXTENDED, CONFIRMED, COMPLETED, CANCELLED, EXPIRED, ADJUSTED, REPUT = (
    *(0, 1, 3, 4, 5, 6, 8, 9, 10),
)

TAMPERED: dict[str, tuple[int, Callable[[Entry], Entry], str]] = {
    "a_gap": (HELD, fields(sequence=3), "not dense"),
    "a_repetition": (HELD, fields(sequence=1), "not dense"),
    "a_clock_gone_back": (CANCELLED, fields(at_ms=NOW_MS), "before"),
    "a_sale_that_is_not_there": (HELD, booking(sale_id="other"), "no sale other"),
    "a_booking_held_twice": (2, booking(booking_id="b1"), "held twice"),
    "a_booking_that_was_never_held": (CANCELLED, booking(booking_id="b9"), "no booking b9"),
    "a_hold_that_is_not_new": (HELD, booking(version=2), "not a new hold"),
    "a_hold_of_another_price": (HELD, booking(amount=301), "not a new hold"),
    "a_hold_of_another_length": (HELD, booking(hold_expires_ms=1), "not a new hold"),
    "a_hold_in_another_currency": (HELD, booking(currency="EUR"), "not a new hold"),
    "a_hold_without_its_key": (HELD, fields(key=None), "without its idempotency key"),
    "a_status_that_is_not_the_entrys": (HELD, booking(status=Status.CONFIRMED), "not a new hold"),
    "a_time_that_is_not_the_entrys": (CANCELLED, booking(updated_ms=1), "changed more"),
    "a_version_skipped": (EXTENDED, booking(version=3), "version 3 follows 1"),
    "another_customer": (CANCELLED, booking(customer_id="bob"), "changed more"),
    "other_lines": (CONFIRMED, booking(lines=(Line("A", 2, 0),)), "changed more"),
    "an_amount_changed": (CONFIRMED, booking(amount=1), "changed more"),
    "a_deadline_changed": (CONFIRMED, booking(hold_expires_ms=1), "changed more"),
    "an_extension_that_shortens": (EXTENDED, booking(hold_expires_ms=1), "shortened"),
    "a_cancel_without_a_reason": (CANCELLED, booking(cancel_reason=None), "without a reason"),
    "a_cancel_called_expired": (
        CANCELLED,
        booking(cancel_reason=CancelReason.EXPIRED),
        "without a reason",
    ),
    "an_expiry_with_another_reason": (EXPIRED, booking(cancel_reason=CUSTOMER), "changed more"),
    "a_delta_missing": (HELD, fields(deltas=(), levels=()), "deltas"),
    "a_delta_of_one_line_only": (
        HELD,
        fields(deltas=(Levels("A", -2, 2, 0), Levels("B", -1, 1, 0))),
        "deltas",
    ),
    "a_delta_twice": (
        2,
        fields(deltas=(Levels("A", -1, 1, 0), Levels("A", -1, 1, 0))),
        "deltas",
    ),
    "a_delta_to_the_wrong_side": (CONFIRMED, fields(deltas=(Levels("A", 1, -1, 0),)), "deltas"),
    "a_delta_where_nothing_moves": (COMPLETED, fields(deltas=(Levels("A", 0, 0, 0),)), "deltas"),
    "levels_that_do_not_follow": (CONFIRMED, fields(levels=(Levels("A", 5, 4, 1),)), "follow"),
    "levels_of_another_item": (CONFIRMED, fields(levels=(Levels("B", 5, 3, 1),)), "follow"),
    "levels_missing": (CONFIRMED, fields(levels=()), "as many levels"),
    "a_definition_of_another_sale": (ADJUSTED, definition(sale_id="x"), "not that of sale"),
    "a_sale_version_skipped": (ADJUSTED, fields(version=3), "version 3 of sale"),
    "an_adjustment_that_redefines": (ADJUSTED, definition(name="x"), "changes the definition"),
    "a_definition_that_sells": (
        ADJUSTED,
        fields(deltas=(Levels("B", 2, 0, 1),), levels=(Levels("B", 11, 0, 1),)),
        "sells nothing",
    ),
    "an_item_without_levels": (PUT, fields(deltas=(), levels=()), "without levels"),
    "an_item_removed_with_its_stock": (REPUT, fields(deltas=(), levels=()), "removed with stock"),
    "a_level_below_zero": (
        ADJUSTED,
        fields(deltas=(Levels("B", -10, 0, 0),), levels=(Levels("B", -1, 0, 0),)),
        "below zero",
    ),
}


@pytest.mark.parametrize("name", TAMPERED)
def test_a_tampered_entry_is_a_disagreement_and_changes_nothing(name: str) -> None:
    at, tamper, message = TAMPERED[name]
    state = fold(ENTRIES[:at])
    before = state.copy()
    tampered = tamper(ENTRIES[at])
    assert tampered != ENTRIES[at]
    with pytest.raises(Disagreement, match=message) as raised:
        advance(state, tampered)
    assert raised.value.sequence == tampered.sequence
    assert state == before
    advance(state, ENTRIES[at])


@pytest.mark.parametrize(
    ("kind", "after", "message"),
    [
        ("extended", CANCELLED, "extended of a booking that is CANCELLED"),
        ("cancelled", COMPLETED, "cancelled of a booking that is COMPLETED"),
        ("confirmed", COMPLETED, "confirmed of a booking that is COMPLETED"),
        ("completed", HELD, "completed of a booking that is PENDING"),
        ("expired", HELD, "expired before its deadline"),
    ],
)
def test_an_entry_that_the_status_does_not_allow_is_a_disagreement(
    kind: str, after: int, message: str
) -> None:
    state = fold(ENTRIES[: after + 1])
    last = ENTRIES[after].booking
    assert last
    entry = ENTRIES[after]._replace(
        sequence=state.sequence + 1,
        type=kind,
        booking=last._replace(version=last.version + 1),
    )
    with pytest.raises(Disagreement, match=message):
        advance(state, entry)


def test_what_happens_after_the_deadline_is_a_disagreement() -> None:
    state = fold(ENTRIES[:3])
    late_ms = ENTRIES[1].at_ms + HOLD_MS
    for at in (EXTENDED, CONFIRMED):
        entry = ENTRIES[at]
        assert entry.booking
        late = entry._replace(
            sequence=4,
            at_ms=late_ms + HOLD_MS,
            booking=entry.booking._replace(
                updated_ms=late_ms + HOLD_MS, hold_expires_ms=late_ms + HOLD_MS
            ),
        )
        with pytest.raises(Disagreement, match="after its deadline"):
            advance(state, late)


def test_a_record_lives_its_time_whatever_happens_to_the_booking() -> None:
    state = fold(ENTRIES)
    record = state.records["hold", "gig", "key-b1", "ann"]
    end_ms = ENTRIES[1].at_ms + IDEMPOTENCY_TTL_MS
    assert (record.lives(end_ms - 1), record.lives(end_ms)) == (True, False)
    again = hold("b9", "A:2 A:1 B:1", key="key-b1")
    assert decide(state, again, end_ms - 1).outcome is Outcome.REPLAYED
    assert decide(state, again, end_ms).outcome is Outcome.UNKNOWN_ITEM


@pytest.mark.parametrize(
    "text", [b'{"type":"held","v":2}', b'{"type":"teleported","v":1}', b'{"type":"","v":1}']
)
def test_an_entry_of_a_newer_writer_is_not_guessed_at(text: bytes) -> None:
    with pytest.raises(UnknownEntry):
        parse_entry(1, text)
