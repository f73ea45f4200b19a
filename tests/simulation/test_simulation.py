"""The simulation's fast part: what was red once, many seeds, and that it finds what is planted.

A failure prints the seed, what broke, and the smallest plan that shows it; put that into
`regressions.py`. `python -m tests.simulation` runs on for as long as it is told.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from itertools import chain

import pytest
from hypothesis import HealthCheck, given, settings

from tests.simulation.plan import KINDS, Plan, plan_of, plans, shrink
from tests.simulation.planted import BUGS, planted
from tests.simulation.regressions import PLANS, SHOW
from tests.simulation.report import Report, is_red
from tests.simulation.run import run

# It runs the same few hundred lines a million times, and counting each time doubles what it takes.
# Other tests cover them.
pytestmark = pytest.mark.no_cover

SEEDS = range(250)
FRESH = 10
"""Seeds that nobody ever ran; they are printed."""
ENOUGH = 1_000
"""Schedules within which every planted bug is found."""
SMALL = 9
"""Events that are enough to show a planted bug."""
MUST_COME = {
    "reserve held",
    "reserve replayed",
    "reserve sold_out",
    "begin_payment begun",
    "begin_payment joined",
    "claim_payment done",
    "claim_payment lease_lost",
    "confirm confirmed",
    "confirm late_money",
    "record_capture captured",
    "record_capture refund_begun",
    "capture_failed cancelled",
    "payment_failed payment_failed",
    "payment_unknown payment_unknown",
    "requires_action requires_action",
    "voided voided",
    "refunded refunded",
    "confirm_free confirmed",
    "extend extended",
    "cancel cancelled",
    "expire fenced",
    "fence fenced",
}
"""Answers without which the seeds prove too little."""


@pytest.mark.parametrize("name", PLANS)
def test_what_was_red_once_stays_green(name: str) -> None:
    run(PLANS[name]).require()


def test_thousands_of_schedules_a_minute_break_nothing() -> None:
    first = secrets.randbits(40)
    print(f"fresh seeds: {first} to {first + FRESH - 1}")
    report = Report()
    report.try_seeds(SEEDS)
    for name, plan in SHOW.items():
        report.try_plan(plan, name)
    report.try_seeds(range(first, first + FRESH))
    print(report)
    assert set(KINDS) <= report.fired.keys(), "not everything that is drawn happens"
    missing = MUST_COME - report.outcomes.keys()
    assert not missing, f"the seeds prove too little: {sorted(missing)}"


@settings(
    max_examples=40, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow]
)
@given(plans(20))
def test_no_plan_that_hypothesis_makes_up_breaks_anything(plan: Plan) -> None:
    run(plan).require()


def test_the_same_seed_makes_the_same_run_on_every_machine() -> None:
    seeds = [str(seed) for seed in range(20, 26)]
    here = [run(plan_of(int(seed))).digest for seed in seeds]
    assert here == [run(plan_of(int(seed))).digest for seed in seeds]
    assert len(set(here)) == len(here)
    # Sets of words have another order in each process.
    command = (sys.executable, "-m", "tests.simulation", "--digest", *seeds)
    there = subprocess.run(
        command, env={**os.environ, "PYTHONHASHSEED": "7"}, capture_output=True, check=True
    )
    assert there.stdout.decode().split() == here


@pytest.mark.parametrize("name", BUGS)
def test_a_planted_bug_is_found(name: str) -> None:
    with planted(name):
        first = (SHOW[name],) if name in SHOW else ()
        plans_of_seeds = (plan_of(seed) for seed in range(ENOUGH))
        assert any(map(is_red, chain(first, plans_of_seeds))), f"not found: {name}"


def test_what_a_planted_bug_breaks_is_made_small() -> None:
    with planted("the journal is trimmed at once"):
        found = next(plan for seed in range(ENOUGH) if is_red(plan := plan_of(seed)))
        small = shrink(found, is_red, tries=80)
        assert is_red(small)
    assert len(small.events) <= SMALL < len(found.events)
    run(small).require()
