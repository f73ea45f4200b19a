"""What entries mean for the tables: `understand` and `plan`, without a server."""

from __future__ import annotations

import hashlib

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.journal import JournalSlice, RawEntry
from engine.limits import MAX_INTEGER
from engine.types import Levels
from persistence.steps import (
    Position,
    advance,
    bookings_to_look_up,
    contacts_to_read,
    fault_of,
    salvage,
    understand,
)
from tests.helpers.ledger import NOON_MS, booking_entry, booking_id, sale_entry
from tests.unit.planned import cancelled, held, planned, raw

START = Position(1, 0, bytes(32), None)


def test_a_hold_is_a_booking_its_lines_and_a_change_of_stock() -> None:
    batch = planned(held(lines="seat:2:5000,stand:1:0,seat:1:5000"))
    name = booking_id(1)
    assert list(batch.bookings) == [name]
    assert batch.bookings[name] == (
        name,
        3,
        1,
        1,
        "concert",
        "ann",
        "PENDING",
        None,
        10_000,
        "USD",
        NOON_MS + 300_000,
        NOON_MS,
        NOON_MS + 1,
        False,
        1,
        False,
    )
    assert batch.lines == [
        (name, 0, "seat", 2, 5_000),
        (name, 1, "stand", 1, 0),
        (name, 2, "seat", 1, 5_000),
    ]
    assert batch.deltas == {("concert", "seat"): (-2, 2, 0)}
    assert batch.levels == {("concert", "seat"): Levels("seat", 98, 2, 0)}
    assert batch.history == [
        ("concert", "seat", 1, 3, NOON_MS + 1, "held", name, -2, 2, 0, 98, 2, 0)
    ]


def test_several_versions_of_a_booking_collapse_to_the_last_and_its_deltas_do_not() -> None:
    batch = planned(held(), booking_entry("extended", 1, 2), cancelled(version=3))
    row = batch.bookings[booking_id(1)]
    assert (row[2], row[3], row[6], row[7]) == (3, 3, "CANCELLED", "customer")
    assert batch.changes == {}
    assert len(batch.lines) == 1
    assert batch.deltas == {("concert", "seat"): (0, 0, 0)}
    assert [row[2] for row in batch.history] == [1, 3]
    assert len(batch.journal) == 3


def test_a_booking_that_was_there_before_is_only_changed() -> None:
    batch = planned(
        booking_entry("extended", 1, 2),
        cancelled(version=3),
        versions={booking_id(1): 1},
        events={booking_id(1): 4},
    )
    assert batch.bookings == {}
    assert batch.lines == []
    assert batch.changes == {
        booking_id(1): (
            booking_id(1),
            2,
            3,
            "CANCELLED",
            "customer",
            NOON_MS + 300_000,
            NOON_MS + 3,
            False,
            6,
            False,
        )
    }


def test_a_sale_is_its_last_definition_and_keeps_when_it_began() -> None:
    first = sale_entry()
    definition = orjson.loads(first)["definition"]
    item = {"item_id": "stand", "name": "Stand", "unit_price": 1, "max_per_booking": 4}
    definition |= {"name": "Again", "items": [item, *definition["items"]]}
    second = sale_entry(
        2, at_ms=NOON_MS + 9, definition=definition, deltas="stand:5:0:0", levels="stand:5:0:0"
    )
    batch = planned(first, second)
    assert batch.sales["concert"][2:4] == (2, "Again")
    assert batch.sales["concert"][-2:] == (NOON_MS, NOON_MS + 9)
    assert batch.items["concert"] == [
        ("concert", 2, "stand", 0, "Stand", 1, 4),
        ("concert", 2, "seat", 1, "Seat", 5_000, 0),
    ]
    assert batch.deltas == {("concert", "seat"): (100, 0, 0), ("concert", "stand"): (5, 0, 0)}


@given(
    st.lists(
        st.tuples(
            st.integers(-MAX_INTEGER, MAX_INTEGER),
            st.integers(-MAX_INTEGER, MAX_INTEGER),
            st.integers(-MAX_INTEGER, MAX_INTEGER),
        ),
        max_size=20,
    )
)
def test_deltas_are_summed_to_the_unit(changes: list[tuple[int, int, int]]) -> None:
    entries = [
        sale_entry(number, deltas=f"seat:{a}:{h}:{s}", levels="seat:0:0:0")
        for number, (a, h, s) in enumerate(changes, 1)
    ]
    batch = planned(*entries)
    sums = tuple(sum(column) for column in zip(*changes, strict=True))
    assert batch.deltas == ({("concert", "seat"): sums} if changes else {})
    assert len(batch.history) == len(changes)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"[]",
        b'"held"',
        b"\xff",
        b'{"type":"held"}',
        b'{"type":"held","v":1}',
        held(status="LOST"),
        held(cancel_reason="boredom"),
        held(lines="seat"),
        held(lines="seat:x:1"),
        held(deltas="seat:-2:2"),
        held(deltas="seat:-2:2:0,stand:0:0:0"),
        held(levels="stand:98:2:0"),
        held(levels=""),
        held(sale_id=None),
        held(booking_id=["x"]),
        held(customer_id=7),
        held(amount=0.5),
        held(at_ms="noon"),
        held(created_ms=True),
        sale_entry(definition=None),
        sale_entry(definition={}),
        sale_entry(sale_id={}),
    ],
)
def test_an_entry_that_is_malformed_is_set_aside_and_still_in_the_journal(text: bytes) -> None:
    batch = planned(text)
    assert [row[3] for row in batch.quarantine] == ["unreadable"]
    assert [row[7] for row in batch.journal] == [text]
    assert (batch.bookings, batch.lines, batch.sales, batch.history) == ({}, [], {}, [])


def test_an_entry_of_a_newer_writer_ends_the_batch_before_it() -> None:
    for newer in (held(2, type="teleported"), held(2, v=2)):
        steps, unknown = understand(raw([held(1), newer, held(3)]))
        assert [step.raw.sequence for step in steps] == [1]
        assert unknown


@pytest.mark.parametrize(
    ("known", "version", "applies"),
    [(0, 1, True), (0, 2, False), (1, 2, True), (2, 2, False), (2, 4, False), (3, 1, False)],
)
def test_an_entry_applies_only_after_the_one_before_it(
    known: int, version: int, applies: bool
) -> None:
    batch = planned(
        booking_entry("extended", 1, version), versions={booking_id(1): known} if known else {}
    )
    assert [row[3] for row in batch.quarantine] == ([] if applies else ["out_of_order"])
    assert bool(batch.bookings or batch.changes) is applies


def test_entries_behind_one_in_quarantine_wait_and_those_of_others_do_not() -> None:
    batch = planned(held(1, lines="?"), cancelled(1), held(2), cancelled(2))
    assert [(row[1], row[3]) for row in batch.quarantine] == [
        (1, "unreadable"),
        (2, "out_of_order"),
    ]
    assert list(batch.bookings) == [booking_id(2)]
    assert [row[1] for row in batch.journal] == [1, 2, 3, 4]


def test_what_can_be_told_of_a_bad_entry_is_told() -> None:
    told = salvage(held(1, status="LOST"))
    assert (told.type, told.booking_id, told.sale_id) == ("held", booking_id(1), "concert")
    assert (told.at_ms, told.deltas) == (NOON_MS + 1, "seat:-2:2:0")
    bad = salvage(held(1, sale_id="no id!", at_ms=-1, deltas="seat\0:1:1:1", type=7))
    assert (bad.type, bad.sale_id, bad.at_ms, bad.deltas) == (None, None, None, "")
    nothing = salvage(b"\xff\x00")
    assert (nothing.type, nothing.booking_id, nothing.at_ms) == (None, None, None)


def test_only_bookings_that_do_not_begin_in_the_batch_are_looked_up() -> None:
    steps, _ = understand(
        raw([sale_entry(), cancelled(1), held(2), cancelled(2), cancelled(1, 3), b"?"])
    )
    assert bookings_to_look_up(steps) == [booking_id(1)]


def test_only_contacts_of_bookings_held_with_one_are_read() -> None:
    texts = [held(1, contact=True), held(2, contact=False), held(3), cancelled(1)]
    steps, _ = understand(raw(texts))
    assert contacts_to_read(steps) == [booking_id(1)]


def test_the_chain_covers_every_byte_in_order() -> None:
    position, links = advance(START, raw([b"a", b"b"]))
    first = hashlib.sha256(bytes(32) + b"a").digest()
    second = hashlib.sha256(first + b"b").digest()
    assert links == [first, second]
    assert position == Position(1, 2, second, b"b", 2)
    assert advance(position, []) == (position, [])


AT_5 = Position(1, 5, bytes(32), b"e5")


@pytest.mark.parametrize(
    ("position", "sequences", "tip", "fault"),
    [
        (START, [], 0, None),
        (START, [1, 2], 2, None),
        (START, [], 1, "journal_gap"),
        (START, [2], 2, "journal_gap"),
        (START, [1, 3], 3, "journal_gap"),
        (START, [1, 2], 3, "journal_gap"),
        (START, [1], 0, "journal_gap"),
        (AT_5, [5], 5, None),
        (AT_5, [5, 6, 7], 7, None),
        (AT_5, [5, 6, 7, 8], 9, None),
        (AT_5, [], 5, "journal_gap"),
        (AT_5, [6], 6, "journal_gap"),
        (AT_5, [5, 7], 7, "journal_gap"),
        (AT_5, [5], 6, "journal_gap"),
        (AT_5, [5, 6], 5, "journal_gap"),
        (Position(1, 5, bytes(32), b"other"), [5, 6], 6, "journal_mismatch"),
        (Position(1, 5, bytes(32), None), [5, 6], 6, None),
    ],
)
def test_a_slice_follows_from_a_position_or_is_a_fault(
    position: Position, sequences: list[int], tip: int, fault: str | None
) -> None:
    entries = tuple(RawEntry(sequence, b"e%d" % sequence) for sequence in sequences)
    assert fault_of(position, JournalSlice(tip, entries), 4) == fault


def test_a_mark_has_the_levels_that_it_tells_compared_and_moves_none() -> None:
    text = orjson.dumps(
        {
            "type": "rebuilt",
            "v": 1,
            "at_ms": NOON_MS,
            "generation": 2,
            "trace": "",
            "sale_id": "concert",
            "deltas": "",
            "levels": "seat:98:2:0,stand:5:0:0",
        }
    )
    batch = planned(held(), text)
    assert batch.deltas == {("concert", "seat"): (-2, 2, 0)}
    (mark,) = batch.marks
    assert (mark.sequence, mark.sale_id) == (2, "concert")
    assert mark.levels == (Levels("seat", 98, 2, 0), Levels("stand", 5, 0, 0))
    assert mark.deltas_so_far == {"seat": (-2, 2, 0)}
    assert [row[-3] for row in batch.journal] == ["concert", "concert"]
    assert not batch.quarantine


def test_a_mark_of_a_whole_partition_is_about_no_sale() -> None:
    text = (
        b'{"type":"rebuilt","v":1,"at_ms":5,"generation":2,"sale_id":"","deltas":"","levels":"",'
        b'"trace":""}'
    )
    batch = planned(text)
    assert [row[-3] for row in batch.journal] == [None]
    assert (batch.deltas, batch.sales, batch.quarantine) == ({}, {}, [])
