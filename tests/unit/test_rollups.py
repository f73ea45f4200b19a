"""How entries count in the reports: by a table, and as a recount that does not know the table."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.journal import BOOKING_TYPES, Entry, parse_entry
from engine.limits import MAX_INTEGER, MAX_SERIES_STEPS
from engine.model import fold
from persistence.reports import interval_of
from persistence.rollups import COLUMNS, COUNTS, DAY_MS, GRAINS_MS, Rollups
from tests.helpers.ledger import booking_entry, sale_entry
from tests.helpers.made_journal import LIVES, MIDNIGHT_MS, MadeJournal
from tests.helpers.recount import Recount
from tests.unit.payment_journals import JOURNALS, journal

Days = dict[tuple[str, int, str], dict[str, int]]


def entries_of(texts: Iterable[bytes]) -> list[Entry]:
    return [parse_entry(sequence, text) for sequence, text in enumerate(texts, 1)]


def days_of(*batches: Sequence[Entry]) -> Days:
    """What tables would hold after batches: the sums of their rows."""
    found: Days = {}
    for batch in batches:
        rollups = Rollups()
        for entry in batch:
            rollups.add(entry)
        for sale_id, day_ms, currency, *numbers in rollups.days():
            sums = found.setdefault((sale_id, day_ms, currency), dict.fromkeys(COLUMNS, 0))
            for name, number in zip(COLUMNS, numbers, strict=True):
                sums[name] += int(number)
    return found


def steps_of(*batches: Sequence[Entry]) -> dict[tuple[str, int, int], tuple[int, int]]:
    found: dict[tuple[str, int, int], tuple[int, int]] = {}
    for batch in batches:
        rollups = Rollups()
        for entry in batch:
            rollups.add(entry)
        for sale_id, grain_ms, from_ms, sold, capacity in rollups.steps():
            before = found.get((sale_id, grain_ms, from_ms), (0, 0))
            found[sale_id, grain_ms, from_ms] = (before[0] + sold, before[1] + capacity)
    return found


def recounted(entries: Iterable[Entry]) -> Days:
    recount = Recount()
    for entry in entries:
        recount.add(entry)
    return {
        (sale_id, day_ms, currency): {name: counts[name] for name in COLUMNS}
        for (day_ms, sale_id, currency), counts in recount.days.items()
        if any(counts.values())
    }


def totals(entries: Iterable[Entry]) -> dict[str, int]:
    """The sums of all days, without what is 0."""
    sums = dict.fromkeys(COLUMNS, 0)
    for day in days_of(list(entries)).values():
        for name, number in day.items():
            sums[name] += number
    return {name: number for name, number in sums.items() if number}


MADE = entries_of(MadeJournal(480, ("a", "b", "c"), days=3, seed=7).texts())


def test_the_made_journal_follows_from_itself_and_has_every_life() -> None:
    state = fold(MADE)
    assert len(state.bookings) == 480
    assert {entry.type for entry in MADE} >= BOOKING_TYPES - {
        "extended",
        "warned",
        "requires_action",
    }
    assert {booking.status for booking in state.bookings.values()} == {
        "CONFIRMED",
        "COMPLETED",
        "CANCELLED",
    }


def test_a_journal_of_many_days_counts_as_its_recount() -> None:
    assert days_of(MADE) == recounted(MADE)
    assert len(days_of(MADE)) > 9


@pytest.mark.parametrize("name", JOURNALS)
def test_every_way_of_a_payment_that_the_model_knows_counts_as_its_recount(name: str) -> None:
    entries = journal(name)
    assert days_of(entries) == recounted(entries)


@pytest.mark.parametrize(
    ("life", "expected"),
    [
        ("expired", {"created": 1, "expired": 1}),
        ("left", {"created": 1, "cancelled": 1}),
        ("free", {"created": 1, "confirmed": 1, "completed": 1}),
        ("declined", {"created": 1, "declined": 1, "expired": 1}),
        ("paid", {"created": 1, "confirmed": 1, "authorized": 1, "captured": 1}),
        (
            "cancelled",
            {
                "created": 1,
                "confirmed": 1,
                "cancelled": 1,
                "authorized": 1,
                "captured": 1,
                "refunded": 1,
            },
        ),
        ("capture_refused", {"created": 1, "authorized": 1, "cancelled": 1}),
        ("captured_too_late", {"created": 1, "authorized": 1, "cancelled": 1, "refunded": 1}),
        ("late_and_taken", {"created": 1, "expired": 1, "authorized": 1, "captured": 1}),
    ],
)
def test_a_life_counts_for_this(life: str, expected: dict[str, int]) -> None:
    number = list(LIVES).index(life)
    made = entries_of(MadeJournal(number + 1, ("a",), days=1, seed=1).texts())
    last = next(
        e.booking
        for e in reversed(made)
        if e.booking and e.booking.booking_id[-2:] == f"{number:02d}"
    )
    own = [e for e in made if e.booking and e.booking.booking_id == last.booking_id]
    found = totals(own)
    amounts = {
        name: found.pop(name, 0) for name in ("captured_amount", "returned_amount", "pay_ms")
    }
    if life == "late_and_taken":
        expected = expected | {"confirmed": 1}
    assert found == expected
    captured, returned = "captured" in expected, life == "cancelled"
    assert amounts["captured_amount"] == (last.amount if captured else 0)
    assert amounts["returned_amount"] == (last.amount if returned else 0)
    assert (amounts["pay_ms"] > 0) is captured


@settings(max_examples=25)
@given(st.lists(st.integers(0, len(MADE)), max_size=8), st.randoms(use_true_random=False))
def test_batches_of_any_size_in_any_order_add_up_to_the_same(
    cuts: list[int], rng: random.Random
) -> None:
    """A batch tried in halves, or an entry that comes later, changes nothing."""
    places = [0, *sorted(cuts), len(MADE)]
    batches = [MADE[a:b] for a, b in itertools.pairwise(places)]
    rng.shuffle(batches)
    assert days_of(*batches) == days_of(MADE)
    assert steps_of(*batches) == steps_of(MADE)


def test_sums_are_exact_where_64_bits_end() -> None:
    def captured(number: int) -> bytes:
        payment: dict[str, Any] = {
            "status": "CAPTURED",
            "step": "none",
            "attempt": 1,
            "gateway": "g",
            "method": "m",
            "return_url": None,
            "key": "k",
            "fingerprint": "f",
            "begun_ms": 1,
            "authorization_id": "a",
            "capture_id": "c",
            "decline_code": None,
            "next_action": None,
        }
        return booking_entry("captured", number, 2, amount=MAX_INTEGER, payment=payment)

    found = totals(entries_of(captured(number) for number in range(2_000)))
    assert found["captured_amount"] == 2_000 * MAX_INTEGER > 2**63


def test_a_sale_and_its_stock_count_for_capacity_and_no_booking() -> None:
    entries = entries_of([sale_entry(), sale_entry(2, deltas="seat:-40:0:0", levels="seat:60:0:0")])
    assert days_of(entries) == {}
    for grain_ms in GRAINS_MS:
        at = entries[0].at_ms // grain_ms * grain_ms
        assert steps_of(entries)["concert", grain_ms, at] == (0, 60)


def test_a_hold_is_no_step_of_a_sale() -> None:
    held = booking_entry("held", 1, 1, deltas="seat:-2:2:0", levels="seat:98:2:0")
    assert steps_of(entries_of([held])) == {}


def test_an_entry_counts_on_the_day_it_was_written() -> None:
    midnight = MIDNIGHT_MS + DAY_MS
    texts = [
        booking_entry("held", 1, 1, at_ms=midnight - 1),
        booking_entry("expired", 1, 2, at_ms=midnight),
    ]
    found = days_of(entries_of(texts))
    assert found["concert", midnight - DAY_MS, "USD"]["created"] == 1
    assert found["concert", midnight, "USD"]["expired"] == 1


def test_only_types_of_bookings_count_and_only_for_columns() -> None:
    assert set(COUNTS) <= BOOKING_TYPES
    assert {name for counts in COUNTS.values() for name in counts} == set(COLUMNS)


@pytest.mark.parametrize(
    ("span_ms", "interval_ms"),
    [
        (0, 10_000),
        ((MAX_SERIES_STEPS - 1) * 10_000, 10_000),
        ((MAX_SERIES_STEPS - 1) * 10_000 + 1, 30_000),
        (86_400_000, 300_000),
        (365 * 86_400_000, 86_400_000),
        (8_000 * 86_400_000, 17 * 86_400_000),
    ],
)
def test_an_interval_is_the_shortest_that_a_chart_can_show(span_ms: int, interval_ms: int) -> None:
    assert interval_of(span_ms) == interval_ms
    assert span_ms // interval_ms < MAX_SERIES_STEPS
