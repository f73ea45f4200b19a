"""The verdict of `holdfast demo`: what makes it fail."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast.demo_result import Result, judge, table
from holdfast.flash_sale import Tally


def sold_out(stock: int = 2) -> Tally:
    tally = Tally(refused=7, latencies_s=[0.001 * number for number in range(1, 101)])
    tally.confirmed = {f"b-{number}" for number in range(stock)}
    tally.begun_s, tally.sold_s, tally.ended_s = 10.0, 12.0, 17.0
    return tally


def charge(booking_id: str | None, **changes: Any) -> dict[str, Any]:
    captured = {"captured_ms": 1, "amount_captured": 45, "amount_refunded": 0}
    return {"booking_id": booking_id, **captured, **changes}


def judged(
    tally: Tally,
    *more: dict[str, Any],
    stock: int = 2,
    sold: int = 2,
    held: int = 0,
    differences: tuple[str, ...] = (),
) -> Result:
    levels = {"available": 0, "held": held, "sold": sold}
    charges = [*map(charge, sorted(tally.confirmed)), *more]
    return judge(5, stock, tally, levels, charges, (), differences)[0]


def test_a_sale_that_went_well_is_good() -> None:
    result = judged(sold_out())
    assert result.good
    assert (result.committed_per_s, result.refused_per_s) == (1.0, 1.0)
    assert (result.p50_ms, result.p99_ms) == (51.0, 100.0)
    assert table(result).row_count == 12


@pytest.mark.parametrize(
    ("tally", "options", "field", "value"),
    [
        (sold_out(3), {"sold": 3}, "oversold", 1),
        (sold_out(2), {"sold": 3}, "oversold", 1),
        (sold_out(2), {"held": 1}, "oversold", 1),
        (sold_out(1), {"sold": 1}, "committed", 1),
        (sold_out(2), {"sold": 1}, "errors", 1),
        (sold_out(2), {"differences": ("x",)}, "redis_equals_postgres", False),
    ],
)
def test_what_must_not_be_is_named_and_fails(
    tally: Tally, options: dict[str, int], field: str, value: int
) -> None:
    result = judged(tally, **options)  # type: ignore[arg-type]
    assert getattr(result, field) == value
    assert not result.good


def test_troubles_of_buyers_and_second_bookings_fail() -> None:
    tally = sold_out()
    tally.duplicates = 1
    assert not judged(tally).good
    tally = sold_out()
    tally.troubles.append("buyer 1: was answered 500")
    assert judged(tally).errors == 1
    assert not judged(tally).good


@pytest.mark.parametrize(
    ("more", "duplicates"),
    [
        (charge("b-1"), 1),
        (charge("b-9"), 1),
        (charge(None), 1),
        (charge("b-1", amount_refunded=44), 1),
        (charge("b-1", amount_refunded=45), 0),
        (charge("b-9", captured_ms=None), 0),
    ],
)
def test_a_second_capture_or_one_for_nothing_is_a_duplicate_unless_it_was_given_back(
    more: dict[str, Any], duplicates: int
) -> None:
    result = judged(sold_out(), more)
    assert (result.duplicate_charges, result.good) == (duplicates, duplicates == 0)


def test_what_was_confirmed_and_not_charged_is_an_error() -> None:
    levels = {"available": 0, "held": 0, "sold": 2}
    result, troubles = judge(5, 2, sold_out(), levels, [charge("b-0")], (), ())
    assert (result.errors, result.good) == (1, False)
    assert "not charged" in troubles[0]


def test_more_stock_than_buyers_is_sold_to_each() -> None:
    tally = sold_out(5)
    assert judged(tally, stock=9, sold=5).good


def test_a_sale_without_an_answer_has_no_latency() -> None:
    result = judged(Tally(), sold=0)
    assert (result.p50_ms, result.p99_ms, result.good) == (0.0, 0.0, False)
