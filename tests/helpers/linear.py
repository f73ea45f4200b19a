"""Is a short history of one item what some order of its operations, one by one, would have told?

The search of Wing and Gong ("Testing and verifying concurrent objects", 1993), with what was seen
before left out (Lowe, 2017): an operation may come next if no other has ended before it began. One
whose outcome is not known may have been done at any time after it began, or never.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

UNKNOWN: Final = None
"""What an operation was told whose answer did not come."""

Told = str | tuple[int, int, int] | None
State = frozenset[tuple[str, str]]
"""Who has held a unit, and what became of it."""


@dataclass(frozen=True, slots=True)
class Operation:
    """What somebody asked about the unit of `who`, and was told.

    `hold`, `confirm` and `cancel` are told a word, `read` the levels: available, held and sold.
    """

    name: str
    who: str
    began_s: float
    ended_s: float
    told: Told

    @property
    def latest_s(self) -> float:
        """When it had been done at the latest."""
        return math.inf if self.told is UNKNOWN else self.ended_s


def do(operation: Operation, state: State, capacity: int) -> tuple[Told, State]:
    """What an operation is told if nothing else happens meanwhile, and what it leaves."""
    units = dict(state)
    status = units.get(operation.who)
    held, sold = (sum(it == what for it in units.values()) for what in ("held", "sold"))
    match operation.name, status:
        case "read", _:
            return (capacity - held - sold, held, sold), state
        case "hold", None if held + sold == capacity:
            return "sold_out", state
        case "hold", None:
            return "held", _with(units, operation.who, "held")
        case "hold", _:
            return "held", state
        case _, None:
            return "absent", state
        case "confirm", "held":
            return "confirmed", _with(units, operation.who, "sold")
        case "confirm", "sold":
            # Every client has one key for it.
            return "confirmed", state
        case "confirm", _:
            return "invalid_state", state
        case "cancel", _:
            return "cancelled", _with(units, operation.who, "gone")
    raise AssertionError(operation)


def _with(units: dict[str, str], who: str, status: str) -> State:
    return frozenset({**units, who: status}.items())


def is_linearizable(history: Sequence[Operation], capacity: int) -> bool:
    """Whether some order explains everything that was told."""
    seen: set[tuple[frozenset[int], State]] = set()

    def explains(left: frozenset[int], state: State) -> bool:
        if all(history[at].told is UNKNOWN for at in left):
            return True
        if (left, state) in seen:
            return False
        seen.add((left, state))
        first_end_s = min(history[at].latest_s for at in left)
        for at in left:
            operation = history[at]
            if operation.began_s > first_end_s:
                continue
            told, after = do(operation, state, capacity)
            if operation.told in {told, UNKNOWN} and explains(left - {at}, after):
                return True
        return False

    return explains(frozenset(range(len(history))), frozenset())
