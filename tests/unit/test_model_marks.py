"""Entries that change nothing and tell where the books stand are compared with where they do."""

from __future__ import annotations

from typing import Any

import pytest

from engine.journal import Entry, parse_entry
from engine.model import Disagreement, fold
from engine.types import Levels
from tests.unit.test_model_apply import journal


def mark(entries: list[Entry], **fields: Any) -> Entry:
    """A `rebuilt` entry after others, about the sale and with its levels unless told otherwise."""
    state = fold(entries)
    given: dict[str, Any] = {
        "sequence": state.sequence + 1,
        "type": "rebuilt",
        "at_ms": state.last_ms,
        "sale_id": "gig",
        "version": 0,
        "booking": None,
        "definition": None,
        "deltas": (),
        "levels": tuple(state.sales["gig"].levels.values()),
        "trace": "",
        "key": None,
        "fingerprint": None,
        "contact": False,
    }
    return Entry(**(given | fields))


@pytest.mark.parametrize("about", [{}, {"sale_id": "", "levels": ()}], ids=["sale", "partition"])
def test_a_mark_changes_nothing_but_the_place(about: dict[str, Any]) -> None:
    entries = journal()
    entry = mark(entries, **about)
    before, after = fold(entries), fold([*entries, entry])
    assert (after.sequence, after.last_ms) == (entry.sequence, entry.at_ms)
    assert (after.sales, after.bookings, after.records) == (
        before.sales,
        before.bookings,
        before.records,
    )


@pytest.mark.parametrize(
    "wrong",
    [
        {"levels": ()},
        {"levels": (Levels("A", 1, 0, 0),)},
        {"deltas": (Levels("A", 1, 0, 0),)},
        {"sale_id": "nowhere"},
        {"sale_id": ""},
    ],
)
def test_a_mark_that_tells_something_else_is_a_disagreement(wrong: dict[str, Any]) -> None:
    entries = journal()
    with pytest.raises(Disagreement, match="rebuilt"):
        fold([*entries, mark(entries, **wrong)])


def test_a_mark_is_read_from_what_the_script_writes() -> None:
    text = (
        b'{"type":"rebuilt","v":1,"at_ms":5,"generation":2,"sale_id":"","deltas":"","levels":"",'
        b'"trace":""}'
    )
    assert parse_entry(7, text) == mark(journal(), sequence=7, at_ms=5, sale_id="", levels=())
