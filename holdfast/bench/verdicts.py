"""The targets, and what was reached: ratios of one run, each the median of its rounds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from holdfast.bench.orders import Measured

Rounds = Mapping[str, Sequence[Measured]]
"""What was measured by the name of the row, a round after the other."""


@dataclass(frozen=True, slots=True)
class Target:
    """One line of the verdict."""

    about: str
    reached: Callable[[Rounds], float | None]
    """None where it was not measured."""
    bound: float
    at_most: bool = False
    aim: float | None = None
    unit: str = ""

    def met(self, reached: float) -> bool:
        """Whether a value is on the right side of the bound."""
        return reached <= self.bound if self.at_most else reached >= self.bound


def ratio(above: str, below: str) -> Callable[[Rounds], float | None]:
    """Of two rates in the same round."""

    def reached(rounds: Rounds) -> float | None:
        pairs = list(zip(rounds.get(above, ()), rounds.get(below, ()), strict=True))
        return median(a.per_s / b.per_s for a, b in pairs if b.done) if pairs else None

    return reached


def best_of(above: str, form: str) -> Callable[[Rounds], float | None]:
    """Against the better of the conventional service's pools, in the same round."""

    def reached(rounds: Rounds) -> float | None:
        pools = [rounds.get(f"{form}-{pool}", ()) for pool in (8, 16)]
        holds = rounds.get(above, ())
        if not holds or not all(pools):
            return None
        best: list[float] = [max(one.per_s for one in those) for those in zip(*pools, strict=True)]
        return median(hold.per_s / most for hold, most in zip(holds, best, strict=True))

    return reached


def of(name: str, what: Callable[[Measured], float]) -> Callable[[Rounds], float | None]:
    """A value of one row."""

    def reached(rounds: Rounds) -> float | None:
        found = rounds.get(name, ())
        return median(what(one) for one in found) if found else None

    return reached


def spread(above: str, below: str) -> Callable[[Rounds], float | None]:
    """How much wider one row's p99 lies above its p50 than another's."""

    def reached(rounds: Rounds) -> float | None:
        pairs = list(zip(rounds.get(above, ()), rounds.get(below, ()), strict=True))
        spreads = [
            (a.p99_ms / a.p50_ms) / (b.p99_ms / b.p50_ms) for a, b in pairs if a.p50_ms and b.p50_ms
        ]
        return median(spreads) if spreads else None

    return reached


def slower(above: str, below: str) -> Callable[[Rounds], float | None]:
    """How many times as long one row's median answer takes as another's in the same round."""

    def reached(rounds: Rounds) -> float | None:
        pairs = list(zip(rounds.get(above, ()), rounds.get(below, ()), strict=True))
        return median(a.p50_ms / b.p50_ms for a, b in pairs if b.p50_ms) if pairs else None

    return reached


def _times_normal(rounds: Rounds) -> float | None:
    pairs = list(zip(rounds.get("overload", ()), rounds.get("hold_1000", ()), strict=True))
    return median(a.p99_ms / b.p99_ms for a, b in pairs if b.p99_ms) if pairs else None


def share_of(status: str) -> Callable[[Measured], float]:
    """How much of all answers had a status."""
    return lambda one: one.answers.get(status, 0) / max(1, sum(one.answers.values()))


def share_of_others(*statuses: str) -> Callable[[Measured], float]:
    """How much of all answers had none of these."""

    def share(one: Measured) -> float:
        known = sum(one.answers.get(status, 0) for status in statuses)
        return 1 - known / max(1, sum(one.answers.values()))

    return share


TARGETS: Final = (
    Target("holds ÷ Starlette echo", ratio("hold", "starlette"), 0.8, aim=1.0),
    Target("holds ÷ bare echo", ratio("hold", "bare"), 0.4),
    Target("holds with the drain beside ÷ Starlette echo", ratio("hold_drained", "starlette"), 0.8),
    Target("availability ÷ Starlette echo", ratio("availability", "starlette"), 1.0),
    Target("holds ÷ conventional, FOR UPDATE", best_of("hold", "for-update"), 10),
    Target("holds ÷ conventional, one statement", best_of("hold", "one-statement"), 6),
    Target("paid bookings ÷ holds", ratio("paid", "hold"), 0.05, aim=0.1),
    Target("paid bookings, told by mail ÷ untold", ratio("told", "untold"), 0.9, aim=1.0),
    Target("payments at 70 %, told ÷ untold: p50", slower("told_70", "untold_70"), 1.1, True),
    Target("p99 of a mail's age", of("mails", lambda one: one.p99_ms), 5_000, True, unit="ms"),
    Target("engine ÷ raw driver of the script", ratio("engine", "raw"), 0.6),
    Target("refusals ÷ holds", ratio("refusal", "hold"), 1.3),
    Target("drain ÷ holds", ratio("drain", "hold"), 1.5, aim=2.0),
    Target(
        "p99 of a hold, 64 connections", of("hold_64", lambda one: one.p99_ms), 300, True, unit="ms"
    ),
    Target("its spread ÷ the echo's, 64", spread("hold_64", "echo_64"), 1.5, True),
    Target(
        "p99 of a hold, 1,000 connections",
        of("hold_1000", lambda one: one.p99_ms),
        300,
        True,
        unit="ms",
    ),
    Target("its spread ÷ the echo's, 1,000", spread("hold_1000", "echo_1000"), 1.5, True),
    Target(
        "p99 of availability", of("availability_70", lambda one: one.p99_ms), 50, True, unit="ms"
    ),
    Target(
        "p99 of pay, gateway of 100 ms", of("pay_100", lambda one: one.p99_ms), 500, True, unit="ms"
    ),
    Target(
        "paid bookings ÷ attempts",
        of("pay_100", lambda one: one.done / max(1, one.done + one.failed)),
        0.99,
    ),
    Target("10,000 connections: answers ÷ bare echo's", ratio("crowd", "bare_crowd"), 0.4),
    Target("10,000 connections: 503s", of("crowd", share_of("503")), 0.05, True),
    Target(
        "10,000 connections: anything else",
        of("crowd", share_of_others("201", "409", "503")),
        0.0,
        True,
    ),
    Target("twice the most: p99 ÷ normal", _times_normal, 2.0, True),
    Target(
        "twice the most: anything but 201 and 503",
        of("overload", share_of_others("201", "503")),
        0.0,
        True,
    ),
)
