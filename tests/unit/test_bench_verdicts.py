"""The bench's verdict: medians of ratios of the same round, and what they are held against."""

from __future__ import annotations

import io

from rich.console import Console

from holdfast.bench import report
from holdfast.bench.command import ABOUT, strange_answers
from holdfast.bench.orders import Measured
from holdfast.bench.rows import ROWS
from holdfast.bench.verdicts import TARGETS, best_of, of, ratio, share_of, spread


def rate(per_s: float, p50_ms: float = 1.0, p99_ms: float = 2.0, **answers: int) -> Measured:
    named = {status.removeprefix("s"): count for status, count in answers.items()}
    return Measured(
        seconds=1.0, done=int(per_s), p50_ms=p50_ms, p99_ms=p99_ms, answers=named or {"201": 1}
    )


def test_a_ratio_is_the_median_of_the_ratios_of_each_round() -> None:
    rounds = {
        "hold": [rate(100), rate(10), rate(300)],
        "starlette": [rate(200), rate(100), rate(400)],
    }
    assert ratio("hold", "starlette")(rounds) == 0.5


def test_what_was_not_measured_has_no_ratio() -> None:
    assert ratio("hold", "starlette")({}) is None
    assert best_of("hold", "for-update")({"hold": [rate(1)]}) is None
    assert of("hold", share_of("503"))({}) is None
    assert spread("hold_64", "echo_64")({}) is None


def test_the_conventional_service_is_taken_at_its_better_pool_in_each_round() -> None:
    rounds = {
        "hold": [rate(100), rate(100)],
        "for-update-8": [rate(10), rate(50)],
        "for-update-16": [rate(20), rate(25)],
    }
    assert best_of("hold", "for-update")(rounds) == 3.5


def test_the_spread_compares_how_far_the_slowest_are_from_the_middle() -> None:
    rounds = {"hold_64": [rate(1, 2.0, 12.0)], "echo_64": [rate(1, 1.0, 2.0)]}
    assert spread("hold_64", "echo_64")(rounds) == 3.0


def test_a_share_counts_all_answers() -> None:
    assert share_of("503")(rate(1, s503=1, s201=3)) == 0.25
    assert share_of("503")(rate(1, s201=3)) == 0.0


def test_every_target_is_judged_and_one_that_was_not_measured_says_so() -> None:
    nothing = report.verdict({})
    assert [line["met"] for line in nothing] == [None] * len(TARGETS)
    rounds = {name: [rate(100), rate(100)] for name in ABOUT}
    judged = report.verdict(rounds)
    assert all(line["met"] in {True, False} for line in judged)
    bounds = {line["measure"]: line for line in judged}
    assert bounds["holds ÷ Starlette echo"]["met"] is True
    assert bounds["holds ÷ conventional, FOR UPDATE"]["met"] is False
    assert bounds["p99 of a hold, 64 connections"]["met"] is True


def test_the_tables_name_every_row_and_every_target() -> None:
    rounds = {name: [rate(100), rate(300)] for name in ABOUT}
    console = Console(width=300, file=io.StringIO(), record=True)
    console.print(report.rows_table(rounds, ABOUT))
    console.print(report.verdict_table(report.verdict(rounds)))
    text = console.export_text()
    assert all(row.about in text for row in ROWS)
    assert all(target.about in text for target in TARGETS)
    assert "MISSED" in text


def test_a_row_is_summed_up_as_medians_with_all_answers() -> None:
    found = [rate(100, s201=5), rate(300, s201=6, s503=1), rate(200)]
    summary = report.summary(found)
    assert summary["per_s"] == 200.0
    assert summary["answers"] == {"201": 12, "503": 1}
    assert len(summary["rounds"]) == 3


def test_only_answers_that_nobody_should_be_given_are_strange() -> None:
    found = {"hold": [rate(1, s201=5, s409=2, s503=1), rate(1, s500=1, lost=2)]}
    assert strange_answers(found) == [
        "holds, everything on: 1 answers 500",
        "holds, everything on: 2 answers lost",
    ]
