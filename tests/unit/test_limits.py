"""Limits agree with each other and with what depends on them."""

from __future__ import annotations

import re

import pytest

from engine import limits
from engine.keys import new_booking_id
from engine.model import Bounds


def test_every_limit_is_positive() -> None:
    numbers = {name: value for name, value in vars(limits).items() if type(value) is int}
    assert len(numbers) > 30
    assert all(value > 0 for value in numbers.values())


def test_the_largest_integer_is_exact_as_a_double() -> None:
    assert int(float(limits.MAX_INTEGER)) == limits.MAX_INTEGER
    assert float(limits.MAX_INTEGER) + 1 == float(limits.MAX_INTEGER + 1)
    assert int(float(limits.MAX_INTEGER + 2)) != limits.MAX_INTEGER + 2


@pytest.mark.parametrize("name", ["a", "A-9_z", "x" * 64])
def test_an_id_is_an_id(name: str) -> None:
    assert re.match(limits.ID_PATTERN, name)


@pytest.mark.parametrize("name", ["", "x" * 65, "a b", "a:b", "a,b", "ä", "a.b", '"', "a\x00"])
def test_what_would_break_a_packed_line_is_no_id(name: str) -> None:
    assert not re.match(limits.ID_PATTERN, name)


def test_a_new_booking_id_fits_its_pattern_to_the_last_partition() -> None:
    for partition in (0, limits.MAX_PARTITIONS - 1):
        assert re.fullmatch(limits.BOOKING_ID_PATTERN, new_booking_id(partition))


def test_the_models_bounds_are_those_of_the_engine() -> None:
    assert Bounds() == Bounds(
        limits.MAX_BACKLOG_ENTRIES,
        limits.MAX_BACKLOG_BYTES,
        limits.MAX_BACKLOG_AGE_MS,
        limits.MAX_DUE_SCANNED,
        limits.MAX_TAKEN_BACK_PER_RESERVE,
        limits.MAX_INTEGER,
    )
