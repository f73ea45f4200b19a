"""Plans that once went red, made small by hypothesis, with what was wrong: run first, for ever."""

from __future__ import annotations

from typing import Final

from tests.simulation.plan import Event, Kind, Plan

PLANS: Final[dict[str, Plan]] = {
    "a call that waited for a new connection was run by a server that lacked entries": Plan(
        (
            Event(Kind.HOLD, 5, 0, 1),
            Event(Kind.DRAIN, 5, 0, 3),
            Event(Kind.REDIS_TAIL, 3, 5, 4),
            Event(Kind.AGAIN, 2, 7, 5),
            Event(Kind.EXTEND, 0, 0, 5),
        ),
        610,
    ),
}
"""By what was wrong."""

SHOW: Final[dict[str, Plan]] = {
    "what is learned on the way is not carried": next(iter(PLANS.values())),
    "not found is believed": Plan(
        (
            Event(Kind.HOLD, 0, 0, 1),
            Event(Kind.GATEWAY_ERROR, 0, 0, 3),
            Event(Kind.PAY, 0, 0, 3),
            Event(Kind.EXTEND, 0, 0, 5),
        ),
        0,
    ),
    "a commit does not look at the cursor": Plan(
        (
            Event(Kind.DRAIN, 1, 6, 4),
            Event(Kind.DRAIN, 0, 3, 5),
            Event(Kind.DRAIN, 0, 0, 2),
            Event(Kind.HOLD, 1, 4, 0),
            Event(Kind.DATABASE_FAILOVER, 1, 4, 1),
        ),
        0,
    ),
    "a refused void is taken for done": Plan(
        (
            Event(Kind.GATEWAY_LATE, 2, 4, 0),
            Event(Kind.HOLD, 2, 4, 0),
            Event(Kind.PAY, 0, 2, 4),
            Event(Kind.HOLD, 4, 6, 6),
            Event(Kind.CANCEL, 7, 0, 3),
        ),
        64,
    ),
}
"""By the planted bug that they show: those that take many seeds to find, for the fast part."""
