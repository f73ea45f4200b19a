"""Runs many plans, says how many a minute, and makes one that goes red small."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from tests.simulation.auditor import Broken
from tests.simulation.plan import Plan, plan_of, shrink
from tests.simulation.run import run


@dataclass(slots=True)
class Report:
    """What many runs showed."""

    runs: int = 0
    changes: int = 0
    seconds: float = 0.0
    fired: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    """How often each script gave each answer."""

    def __str__(self) -> str:
        a_minute = self.runs / self.seconds * 60 if self.seconds else 0
        faults = ", ".join(f"{kind} {times}" for kind, times in sorted(self.fired.items()))
        return (
            f"simulation: {self.runs} schedules, {self.changes} changes of state, "
            f"{a_minute:,.0f} schedules a minute\n{faults}"
        )

    def try_seeds(self, seeds: Iterable[int]) -> None:
        """Run the plans of seeds; raises `Broken` with the smallest plan that shows it."""
        for seed in seeds:
            self.try_plan(plan_of(seed), f"seed {seed}")

    def try_plan(self, plan: Plan, name: str) -> None:
        """Run a plan; raises `Broken`."""
        begun_s = time.perf_counter()
        result = run(plan)
        self.seconds += time.perf_counter() - begun_s
        self.runs += 1
        self.changes += result.changes
        self.fired += result.fired
        for line in result.trace:
            words = line.split()
            if words[-2].startswith("b'"):
                self.outcomes[f"{words[1]} {words[-2][2:-1]}"] += 1
        if result.broken:
            raise Broken(told(plan, name))


def told(plan: Plan, name: str) -> str:
    """What is wrong with a plan, and the smallest part of it that shows something wrong."""
    small = shrink(plan, is_red)
    broken = run(small).broken or run(plan).broken
    return (
        f"{name}: {broken[0]}\nreplay: python -m tests.simulation --replay {plan.seed}\n"
        f"to be kept in tests/simulation/regressions.py:\n{small!r}"
    )


def is_red(plan: Plan) -> bool:
    """Whether something breaks."""
    return bool(run(plan).broken)
