"""The fold believes no snapshot: each must say the sums so far, of all items of its sale."""

from __future__ import annotations

import pytest

from engine.journal import parse_entry
from engine.model import Disagreement, PartitionState, fold
from tests.helpers.ledger import booking_entry, sale_entry

HELD = booking_entry(
    "held",
    1,
    1,
    deltas="seat:-2:2:0",
    levels="seat:98:2:0",
    key="k",
    fingerprint="f",
    hold_expires_ms=1_800_000_300_001,
    created_ms=1_800_000_000_001,
)


def folded(levels: str, *, deltas: str = "", sale: str = "concert") -> None:
    text = (
        f'{{"type":"snapshot","v":1,"at_ms":1900000000000,"sale_id":"{sale}",'
        f'"deltas":"{deltas}","levels":"{levels}","trace":""}}'
    )
    entries = [parse_entry(at, one) for at, one in enumerate((sale_entry(), HELD), 1)]
    before = fold(entries)
    after = fold([parse_entry(3, text.encode())], before)
    assert after == PartitionState(
        3, 1_900_000_000_000, before.sales, before.bookings, before.records
    )


def test_a_snapshot_of_the_sums_changes_nothing() -> None:
    folded("seat:98:2:0")


@pytest.mark.parametrize(
    "wrong",
    [
        {"levels": "seat:97:3:0"},
        {"levels": ""},
        {"levels": "seat:98:2:0,stand:1:0:0"},
        {"levels": "seat:98:2:0,seat:98:2:0"},
        {"levels": "seat:98:2:0", "sale": "other"},
        {"levels": "seat:98:2:0", "deltas": "seat:1:0:0"},
    ],
)
def test_a_snapshot_that_says_something_else_is_a_disagreement(wrong: dict[str, str]) -> None:
    with pytest.raises(Disagreement):
        folded(**wrong)
