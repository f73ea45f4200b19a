"""Units of one item, one for each who asks, as a thing to be asked one call at a time.

For histories of engines; `tests.helpers.one_item` is the same for histories of HTTP, by the model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from tests.helpers.linearizable import UNKNOWN as OPEN
from tests.helpers.linearizable import Call, order_of

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


class _Units:
    """The same as `tests.helpers.linearizable` takes it."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity

    def start(self) -> State:
        return frozenset()

    def perform(self, state: State, asked: Operation) -> tuple[Told, State]:
        return do(asked, state, self._capacity)

    def key(self, state: State) -> State:
        return state


def is_linearizable(history: Sequence[Operation], capacity: int) -> bool:
    """Whether some order explains everything that was told."""
    calls = [
        Call(one, OPEN if one.told is UNKNOWN else one.told, one.began_s, one.ended_s)
        for one in history
    ]
    return order_of(calls, _Units(capacity)) is not None
