"""Whether a history of concurrent calls is what some order of them, one by one, would have told.

Wing and Gong's search ("Testing and Verifying Concurrent Objects", 1993) with the memory that Lowe
added ("Testing for Linearizability", 2017): a call may be the next in the order if it began before
any call that is left had ended. A call whose outcome is not known may have happened at any time
after it began, or never.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, Protocol, TypeVar

UNKNOWN: Final = "unknown"
"""What a call was told whose answer did not come."""

_State = TypeVar("_State")


@dataclass(frozen=True, slots=True)
class Call:
    """What somebody asked and was told, and between which times (seconds)."""

    asked: Any
    told: Hashable
    began_s: float
    ended_s: float

    @property
    def over_s(self) -> float:
        """From when on it cannot happen any more."""
        return math.inf if self.told == UNKNOWN else self.ended_s


class Specification(Protocol[_State]):
    """What a thing does when it is asked by one caller at a time."""

    def start(self) -> _State:
        """How it begins."""
        ...

    def perform(self, state: _State, asked: Any) -> tuple[Hashable, _State]:
        """What a call is told, and the state after it; `state` stays as it was."""
        ...

    def key(self, state: _State) -> Hashable:
        """What two states have in common that will tell the same for ever."""
        ...


class _Search(Generic[_State]):
    def __init__(self, history: Sequence[Call], specification: Specification[_State]) -> None:
        # Earlier ends first: what must come soon is tried soon.
        self.calls = sorted(history, key=lambda call: (call.over_s, call.began_s))
        self.specification = specification
        self.seen: set[tuple[int, Hashable]] = set()

    def explain(self, left: int, state: _State) -> list[Call] | None:
        """An order of the calls in the bit set `left` that tells what they were told."""
        remaining = [at for at in range(len(self.calls)) if left >> at & 1]
        ends_s = min((self.calls[at].over_s for at in remaining), default=math.inf)
        if ends_s == math.inf:
            return []
        for at in remaining:
            call = self.calls[at]
            if call.began_s > ends_s:
                continue
            told, after = self.specification.perform(state, call.asked)
            if call.told not in {told, UNKNOWN}:
                continue
            rest = left & ~(1 << at)
            place = (rest, self.specification.key(after))
            if place in self.seen:
                continue
            self.seen.add(place)
            order = self.explain(rest, after)
            if order is not None:
                return [call, *order]
        return None


def order_of(history: Sequence[Call], specification: Specification[Any]) -> list[Call] | None:
    """An order that explains a history, without what never happened; None where there is none."""
    search = _Search(history, specification)
    return search.explain((1 << len(history)) - 1, specification.start())
