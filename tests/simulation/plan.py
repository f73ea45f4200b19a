"""What is done in a run, and what goes wrong: a list of small events, drawn from a seed.

An event is a word and two small numbers, and every list of events is a run: a number names a buyer,
a booking, a process or a length of time by its remainder. So any part of a plan is a plan, and
hypothesis can make a failing one small.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from hypothesis import HealthCheck, Phase, find, settings
from hypothesis import strategies as st
from hypothesis.errors import NoSuchExample

HIGHEST: Final = 7
"""The largest number in an event."""


class Kind(StrEnum):
    """What an event does."""

    # Buyers and operators.
    HOLD = "hold"
    PAY = "pay"
    AGAIN = "again"
    """Some request that was sent before, once more, answered or not."""
    EXTEND = "extend"
    CANCEL = "cancel"
    COMPLETE = "complete"
    REFUND = "refund"
    ACT = "act"
    """A buyer does what his bank asks of him, or gives up."""
    PUT = "put"
    REBUILD = "rebuild"
    # Workers.
    DRAIN = "drain"
    SWEEP = "sweep"
    RECOVER = "recover"
    RECONCILE = "reconcile"
    SNAPSHOT = "snapshot"
    WARN = "warn"
    WEBHOOK = "webhook"
    """The gateway tells something that happened, perhaps again, perhaps late."""
    # Processes.
    CRASH = "crash"
    PAUSE = "pause"
    HOST_CLOCK = "host_clock"
    # Between a process and Redis.
    LOSE_REQUEST = "lose_request"
    LOSE_REPLY = "lose_reply"
    DELAY_REQUEST = "delay_request"
    # Redis.
    REDIS_CRASH = "redis_crash"
    REDIS_PAUSE = "redis_pause"
    REDIS_CLOCK = "redis_clock"
    REDIS_TAIL = "redis_tail"
    REDIS_FLUSH = "redis_flush"
    # PostgreSQL.
    DATABASE_CRASH = "database_crash"
    COMMIT_UNKNOWN = "commit_unknown"
    DATABASE_FAILOVER = "database_failover"
    # The gateway.
    GATEWAY_LOSE_REQUEST = "gateway_lose_request"
    GATEWAY_LOSE_ANSWER = "gateway_lose_answer"
    GATEWAY_LATE = "gateway_late"
    GATEWAY_ERROR = "gateway_error"


KINDS: Final = tuple(Kind)
_RARE: Final = {
    Kind.HOST_CLOCK,
    Kind.DATABASE_CRASH,
    Kind.DATABASE_FAILOVER,
    Kind.PUT,
    Kind.REBUILD,
}
_HEAVY: Final = {Kind.REDIS_TAIL: 2, Kind.REDIS_FLUSH: 1}
"""After these a partition is mostly closed, and the rest of the run shows little."""
_OFTEN: Final = {
    Kind.HOLD: 50,
    Kind.PAY: 54,
    Kind.RECOVER: 30,
    Kind.DRAIN: 20,
    Kind.AGAIN: 16,
    Kind.CANCEL: 12,
    Kind.ACT: 12,
    Kind.SWEEP: 12,
    Kind.EXTEND: 8,
}
_WEIGHTS: Final = tuple((_OFTEN | _HEAVY).get(kind, 3 if kind in _RARE else 6) for kind in KINDS)

WAITS_MS: Final = (0, 1, 3, 40, 700, 5_000, 16_000, 45_000)
"""How long after the event before: mostly in the middle of what that one set off."""
_WAIT_WEIGHTS: Final = (16, 16, 16, 16, 16, 5, 2, 1)


@dataclass(frozen=True, slots=True)
class Event:
    """One event. `wait` is a place in `WAITS_MS`; `who` and `what` mean what the kind says."""

    kind: Kind
    who: int = 0
    what: int = 0
    wait: int = 0

    def __repr__(self) -> str:
        return f"Event(Kind.{self.kind.name}, {self.who}, {self.what}, {self.wait})"


@dataclass(frozen=True, slots=True)
class Plan:
    """A run: its events, and the seed of what is left to chance (latencies, jitter, ids)."""

    events: tuple[Event, ...]
    seed: int = 0

    def __repr__(self) -> str:
        events = "".join(f"        {event!r},\n" for event in self.events)
        return f"Plan(\n    (\n{events}    ),\n    {self.seed},\n)"


def plan_of(seed: int) -> Plan:
    """The plan of a seed."""
    chance = random.Random(seed)
    count = chance.randint(6, 40) if chance.random() < 0.98 else 150
    return Plan(
        tuple(
            Event(
                kind,
                chance.randint(0, HIGHEST),
                chance.randint(0, HIGHEST),
                chance.choices(range(len(WAITS_MS)), _WAIT_WEIGHTS)[0],
            )
            for kind in chance.choices(KINDS, _WEIGHTS, k=count)
        ),
        seed,
    )


def plans(most_events: int = 40) -> st.SearchStrategy[Plan]:
    """Every plan, for hypothesis: it shrinks towards fewer, earlier, simpler events."""
    number = st.integers(0, HIGHEST)
    event = st.builds(
        Event, st.sampled_from(KINDS), number, number, st.integers(0, len(WAITS_MS) - 1)
    )
    return st.builds(Plan, st.lists(event, max_size=most_events).map(tuple), st.integers(0, 2**16))


def shrink(plan: Plan, fails: Callable[[Plan], bool], tries: int = 600) -> Plan:
    """The smallest part of a failing plan that still fails, by hypothesis, within some tries."""
    # Long plans lose few events at first: a part that still fails has to be met by chance.
    keep = st.sampled_from((False, *[True] * max(3, len(plan.events) // 4)))

    def part(mask: list[bool]) -> Plan:
        kept = (event for event, stays in zip(plan.events, mask, strict=True) if stays)
        return Plan(tuple(kept), plan.seed)

    try:
        mask = find(
            st.lists(keep, min_size=len(plan.events), max_size=len(plan.events)),
            lambda mask: fails(part(mask)),
            settings=settings(
                max_examples=tries,
                database=None,
                deadline=None,
                phases=(Phase.generate, Phase.shrink),
                suppress_health_check=tuple(HealthCheck),
            ),
            random=random.Random(plan.seed),
        )
    except NoSuchExample:
        return plan
    return part(mask)
