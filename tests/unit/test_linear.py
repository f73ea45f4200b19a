"""The check that judges histories can tell right from wrong."""

from __future__ import annotations

import pytest

from tests.helpers.linear import UNKNOWN, Operation, Told, is_linearizable

Row = tuple[str, str, float, float, Told]

RIGHT: dict[str, list[Row]] = {
    "nothing": [],
    "one after the other": [
        ("hold", "ann", 0, 1, "held"),
        ("hold", "bob", 2, 3, "sold_out"),
        ("cancel", "ann", 4, 5, "cancelled"),
        ("hold", "bob", 6, 7, "held"),
        ("confirm", "bob", 8, 9, "confirmed"),
        ("read", "", 10, 11, (0, 0, 1)),
    ],
    "the later of two at once was first": [
        ("hold", "ann", 0, 9, "sold_out"),
        ("hold", "bob", 1, 2, "held"),
    ],
    "the same request twice": [
        ("hold", "ann", 0, 1, "held"),
        ("hold", "ann", 2, 3, "held"),
        ("read", "", 4, 5, (0, 1, 0)),
    ],
    "an unknown one that was done long afterwards": [
        ("hold", "ann", 0, 1, UNKNOWN),
        ("read", "", 2, 3, (1, 0, 0)),
        ("hold", "bob", 4, 5, "sold_out"),
    ],
    "an unknown one that was never done": [
        ("hold", "ann", 0, 1, UNKNOWN),
        ("hold", "bob", 2, 3, "held"),
        ("read", "", 4, 5, (0, 1, 0)),
    ],
}

WRONG: dict[str, list[Row]] = {
    "a unit held twice": [
        ("hold", "ann", 0, 5, "held"),
        ("hold", "bob", 1, 6, "held"),
    ],
    "sold out while nobody had it": [("hold", "ann", 0, 1, "sold_out")],
    "a read from before": [
        ("hold", "ann", 0, 1, "held"),
        ("read", "", 2, 3, (1, 0, 0)),
    ],
    "reads that go back": [
        ("hold", "ann", 0, 9, "held"),
        ("read", "", 1, 2, (0, 1, 0)),
        ("read", "", 3, 4, (1, 0, 0)),
    ],
    "a cancel that gave nothing back": [
        ("hold", "ann", 0, 1, "held"),
        ("cancel", "ann", 2, 3, "cancelled"),
        ("hold", "bob", 4, 5, "sold_out"),
    ],
    "an unknown one that was done and undone": [
        ("hold", "ann", 0, 1, UNKNOWN),
        ("hold", "bob", 2, 3, "sold_out"),
        ("hold", "eve", 4, 5, "held"),
    ],
    "an acknowledged hold that is gone": [
        ("hold", "ann", 0, 1, "held"),
        ("confirm", "ann", 2, 3, "absent"),
    ],
    "an unknown one done before it began": [
        ("hold", "bob", 0, 1, "sold_out"),
        ("hold", "ann", 2, 3, UNKNOWN),
    ],
}


@pytest.mark.parametrize("name", RIGHT)
def test_what_some_order_explains_is_right(name: str) -> None:
    assert is_linearizable([Operation(*row) for row in RIGHT[name]], capacity=1)


@pytest.mark.parametrize("name", WRONG)
def test_what_no_order_explains_is_found(name: str) -> None:
    assert not is_linearizable([Operation(*row) for row in WRONG[name]], capacity=1)
