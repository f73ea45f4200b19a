"""Which public events a journal entry is, what they say, and that the page about them is right."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from engine.events import EVENTS, EventType, cloud_event, event_ids, events_of, spelled
from engine.journal import BOOKING_TYPES, SALE_TYPES, parse_entry
from engine.shown import show_booking
from tests.helpers.ledger import NOON_MS, booking_entry, booking_id, sale_entry
from tests.unit.payment_journals import JOURNALS, journal
from tests.unit.planned import cancelled, held, planned

PAGE = Path(__file__).resolve().parents[2] / "docs" / "events.md"

BEGUN = ["sale.changed", "booking.held", "payment.begun"]
AUTHORIZED = [*BEGUN, "payment.authorized"]
PAID = [*AUTHORIZED, "payment.captured", "booking.confirmed"]
TOLD: dict[str, list[str]] = {
    "asked": [
        *BEGUN,
        "payment.requires_action",
        "payment.unknown",
        "payment.declined",
        "booking.extended",
        "payment.begun",
    ],
    "used": [*PAID, "booking.completed", "payment.refund_begun", "payment.refunded"],
    "given_back": [*PAID, "booking.cancelled", "payment.refund_begun"],
    "cancelled": [*PAID, "booking.cancelled", "payment.refund_begun"],
    "voided": [*AUTHORIZED, "booking.cancelled", "payment.voided"],
    "captured_too_late": [
        *AUTHORIZED,
        "booking.cancelled",
        "payment.captured",
        "payment.refund_begun",
    ],
    "refused": [*AUTHORIZED, "payment.capture_failed", "booking.cancelled"],
    "warned": ["sale.changed", "booking.held", "booking.expiring", *AUTHORIZED[2:]],
    "late_and_taken": [*BEGUN, "booking.cancelled", "payment.authorized"],
    "late_and_sold_out": [*BEGUN, "booking.cancelled", "booking.held", "payment.authorized"],
    "late_after_a_cancel": [*BEGUN, "booking.cancelled", "payment.authorized"],
}


def test_every_type_of_entry_has_its_events_and_every_event_its_entry() -> None:
    assert set(EVENTS) == BOOKING_TYPES | SALE_TYPES
    told = {kind for cases in EVENTS.values() for case in cases for kind in case.types}
    assert told == set(EventType)


def test_the_last_case_of_an_entry_is_for_all_that_is_left() -> None:
    for cases in EVENTS.values():
        assert [bool(case.when) for case in cases] == [True] * (len(cases) - 1) + [False]


def test_every_journal_of_payments_is_told() -> None:
    assert set(TOLD) == set(JOURNALS)


@pytest.mark.parametrize("name", sorted(TOLD))
def test_a_journal_is_told_event_by_event(name: str) -> None:
    assert [kind for entry in journal(name) for kind in events_of(entry)] == TOLD[name]


def test_paid_means_captured() -> None:
    for name in JOURNALS:
        for entry in journal(name):
            if EventType.BOOKING_CONFIRMED in events_of(entry):
                assert entry.booking
                assert entry.booking.payment
                assert entry.booking.payment.status == "CAPTURED"


def test_ids_tell_where_the_entry_lies() -> None:
    assert event_ids(10, 2, 4711, 1) == ["00a-2-4711"]
    assert event_ids(10, 2, 4711, 2) == ["00a-2-4711-1", "00a-2-4711-2"]


def test_an_event_says_the_booking_as_the_api_showed_it() -> None:
    entry = journal("used")[-1]
    assert entry.booking
    said = cloud_event("00a-1-9", EventType.PAYMENT_REFUNDED, 9, entry, "/tests")
    assert orjson.loads(spelled(said)) == {
        "specversion": "1.0",
        "id": "00a-1-9",
        "source": "/tests",
        "type": "payment.refunded",
        "subject": entry.booking.booking_id,
        "time": "1970-01-01T00:16:40.009Z",
        "sequence": 9,
        "data": orjson.loads(orjson.dumps(show_booking(entry.booking))),
    }


def test_a_sale_says_its_definition_and_the_stock_that_changed() -> None:
    entry = parse_entry(7, sale_entry(3, deltas="seat:10:0:0", levels="seat:97:2:1"))
    said = cloud_event("000-1-7", EventType.SALE_CHANGED, 3, entry, "/tests")
    assert (said["subject"], said["sequence"]) == ("concert", 3)
    assert said["data"] == {
        "id": "concert",
        "name": "Concert",
        "opens_at": None,
        "closes_at": None,
        "hold_seconds": 300,
        "max_units_per_customer": None,
        "currency": "USD",
        "items": [{"id": "seat", "name": "Seat", "unit_price": 5_000, "max_per_booking": None}],
        "stock": [{"item_id": "seat", "capacity": 100, "available": 97, "held": 2, "sold": 1}],
        "version": 3,
        "updated_at": "2027-01-15T08:00:00.000Z",
    }
    assert entry.at_ms == NOON_MS


def test_the_page_about_events_has_the_same_table() -> None:
    rows = [
        f"| `{kind}` | {case.when} | {' '.join(f'`{told}`' for told in case.types)} |"
        for kind, cases in EVENTS.items()
        for case in cases
    ]
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    head = lines.index("| journal entry | when | events, in order |")
    assert lines[head + 2 : head + 2 + len(rows) + 1] == [*rows, ""]


def test_events_are_counted_for_each_booking_from_what_it_had() -> None:
    name, other = booking_id(1), booking_id(2)
    batch = planned(
        booking_entry("extended", 1, 5),
        held(2),
        cancelled(1, version=6),
        cancelled(2),
        sale_entry(4),
        versions={name: 4},
        events={name: 7},
        after=10,
    )
    assert batch.outbox == [
        ("003-1-11", "booking.extended", name, 8, 3, 11),
        ("003-1-12", "booking.held", other, 1, 3, 12),
        ("003-1-13", "booking.cancelled", name, 9, 3, 13),
        ("003-1-14", "booking.cancelled", other, 2, 3, 14),
        ("003-1-15", "sale.changed", "concert", 4, 3, 15),
    ]
    assert (batch.changes[name][-2], batch.bookings[other][-2]) == (9, 2)


def test_an_entry_that_is_several_events_counts_them_all_and_quarantine_is_none() -> None:
    failed = booking_entry("cancelled", 1, 2, cancel_reason="payment_failed")
    batch = planned(failed, cancelled(1, version=4), versions={booking_id(1): 1})
    assert [row[:4] for row in batch.outbox] == [
        ("003-1-1-1", "payment.capture_failed", booking_id(1), 1),
        ("003-1-1-2", "booking.cancelled", booking_id(1), 2),
    ]
    assert batch.changes[booking_id(1)][-2] == 2
