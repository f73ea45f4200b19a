"""What decides after a load test, and how many users a shape has at each moment."""

from __future__ import annotations

from typing import Any

import pytest

from loadtests.checks import judge
from loadtests.plan import SCENARIOS, SHAPES, Plan


def plan(scenario: str = "rush", shape: str = "ramp", **changes: Any) -> Plan:
    given: dict[str, Any] = {
        "scenario": scenario,
        "shape": shape,
        "users": 100,
        "seconds": 60.0,
        "sale_id": "gig",
        "data": "/data",
        "summary": "/summary.json",
    }
    return Plan(**(given | changes))


def counts(**named: int) -> dict[str, dict[str, int]]:
    names = {
        "paid": "booking: paid",
        "unpaid": "booking: not paid",
        "held": "hold: 201",
        "replayed": "hold: replayed",
        "sold_out": "hold: sold_out",
        "not_open": "hold: sale_not_open",
        "double": "one key, two bookings",
    }
    return {names[name]: {"count": count, "failures": 0} for name, count in named.items()}


def level(available: int, held: int, sold: int, capacity: int = 100) -> dict[str, Any]:
    return {
        "item_id": "item-0",
        "available": available,
        "held": held,
        "sold": sold,
        "capacity": capacity,
    }


def charges(*booking_ids: str) -> list[dict[str, Any]]:
    return [{"booking_id": name, "captured_ms": 1} for name in booking_ids]


def test_a_run_whose_books_agree_has_no_faults_and_refusals_are_counted_apart() -> None:
    counted = counts(paid=2, held=3, replayed=1, sold_out=5, not_open=4)
    verdict = judge(plan(), counted, [level(97, 1, 2)], charges("a", "b"), [])
    assert verdict.faults == []
    assert (verdict.committed, verdict.held, verdict.refused) == (2, 3, 9)
    assert verdict.committed_per_s == pytest.approx(2 / 60)
    assert verdict.refused_per_s == pytest.approx(9 / 60)


@pytest.mark.parametrize(
    ("levels", "charged", "differences", "counted", "fault"),
    [
        (level(-1, 0, 101), [], [], {}, "101 of 100 units"),
        (level(98, 1, 2), ["a", "b"], [], {}, "does not add up"),
        (level(98, 0, 2), ["a", "a"], [], {}, "a was charged 2 times"),
        (level(98, 0, 2), ["a"], [], {}, "2 units are sold, 1 bookings were charged"),
        (level(99, 0, 1), ["a"], [], {"paid": 2}, "2 buyers were told they paid"),
        (level(100, 0, 0), [], ["Redis differs"], {}, "Redis differs"),
        (level(100, 0, 0), [], [], {"double": 1}, "one key was given two bookings"),
    ],
)
def test_each_wrong_book_is_a_fault(
    levels: dict[str, Any],
    charged: list[str],
    differences: list[str],
    counted: dict[str, int],
    fault: str,
) -> None:
    verdict = judge(plan(), counts(**counted), [levels], charges(*charged), differences)
    assert [found for found in verdict.faults if fault in found], verdict.faults


def test_with_ample_stock_nearly_every_attempt_must_be_paid() -> None:
    def faults(unpaid: int) -> list[str]:
        counted = counts(paid=2, unpaid=unpaid)
        levels = [level(999_998, 0, 2, 1_000_000)]
        return judge(plan("steady"), counted, levels, charges("a", "b"), []).faults

    assert faults(0) == []
    assert faults(1) == ["2 of 3 attempts were paid"]


def test_several_clients_may_be_told_of_one_booking_where_each_asks_several_times() -> None:
    levels = [level(999_999, 0, 1, 1_000_000)]
    assert judge(plan("retry_storm"), counts(paid=3), levels, charges("a"), []).faults == []


@pytest.mark.parametrize("shape", SHAPES)
def test_a_shape_ends_with_the_run_and_never_passes_its_users(shape: str) -> None:
    run = plan(shape=shape)
    users = [run.users_at(float(second)) for second in range(61)]
    assert users[-1] is None
    assert all(count is not None and 1 <= count <= 100 for count in users[:-1])
    assert 100 in users


def test_a_ramp_grows_and_a_spike_comes_and_goes() -> None:
    ramp = [plan(shape="ramp").users_at(float(second)) or 0 for second in range(60)]
    assert ramp == sorted(ramp)
    spike = [plan(shape="spike").users_at(second) for second in (0.0, 30.0, 59.0)]
    assert spike == [10, 100, 10]


def test_a_plan_crosses_the_environment_unchanged(monkeypatch: pytest.MonkeyPatch) -> None:
    run = plan("steady")
    for name, text in run.variables().items():
        monkeypatch.setenv(name, text)
    assert Plan.read() == run
    assert len(run.items) == SCENARIOS["steady"].items
