"""What decides after a run: nothing oversold, the books equal, nobody charged twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from loadtests.plan import SCENARIOS, Plan

Counted = Mapping[str, Mapping[str, Any]]
"""What the buyers counted, by name."""


@dataclass(slots=True)
class Verdict:
    """What came of a run."""

    committed: int
    held: int
    refused: int
    failures: int
    seconds: float
    faults: list[str] = field(default_factory=list)

    @property
    def committed_per_s(self) -> float:
        """Paid bookings by the second: sales, and nothing but sales."""
        return self.committed / self.seconds

    @property
    def refused_per_s(self) -> float:
        """Refusals by the second, for want of stock or of time."""
        return self.refused / self.seconds


def count_of(counted: Counted, *names: str) -> int:
    """How often any of these came of a request."""
    return sum(int(counted[name]["count"]) for name in names if name in counted)


def judge(
    plan: Plan,
    counted: Counted,
    levels: Sequence[Mapping[str, Any]],
    charges: Sequence[Mapping[str, Any]],
    differences: Sequence[str],
) -> Verdict:
    """Put the buyers' counts, availability, the gateway's charges and the books together.

    Args:
        levels: availability's items.
        charges: as the gateway's simulator lists them.
        differences: what `verify` found, and what kept it from looking.
    """
    scenario = SCENARIOS[plan.scenario]
    refusals = [name for name in counted if name.startswith("hold: ") and not _is_hold(name)]
    verdict = Verdict(
        committed=count_of(counted, "booking: paid"),
        held=count_of(counted, "hold: 201"),
        refused=count_of(counted, *refusals),
        failures=sum(int(entry["failures"]) for entry in counted.values()),
        seconds=plan.seconds,
        faults=[*differences],
    )
    faults = verdict.faults
    for level in levels:
        item_id, taken = level["item_id"], level["held"] + level["sold"]
        if level["available"] + taken != level["capacity"]:
            faults.append(f"{item_id}: {level} does not add up")
        if taken > plan.capacity or level["available"] < 0:
            faults.append(f"{item_id}: {taken} of {plan.capacity} units are held or sold")
    captures = Counter(charge["booking_id"] for charge in charges if charge["captured_ms"])
    for booking_id, times in captures.items():
        if times > 1:
            faults.append(f"{booking_id} was charged {times} times")
    sold = sum(level["sold"] for level in levels)
    if len(captures) != sold:
        faults.append(f"{sold} units are sold, {len(captures)} bookings were charged")
    if plan.scenario != "retry_storm" and verdict.committed > sold:
        # There several clients are told of one booking.
        faults.append(f"{verdict.committed} buyers were told they paid, {sold} units are sold")
    if count_of(counted, "one key, two bookings"):
        faults.append("one key was given two bookings")
    attempts = verdict.committed + count_of(counted, "booking: not paid")
    if attempts and verdict.committed / attempts < scenario.must_pay:
        faults.append(f"{verdict.committed} of {attempts} attempts were paid")
    return verdict


def _is_hold(name: str) -> bool:
    return name in {"hold: 201", "hold: replayed"}
