"""What a load test does: scenarios, shapes, and the plan that the buyers' processes read."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Final

import orjson

VARIABLE: Final = "HOLDFAST_LOADTEST"
"""The environment variable that carries the plan to Locust, as JSON."""
UNIT_PRICE: Final = 4_500


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """Who comes, to what sale."""

    about: str
    items: int = 1
    capacity: int = 1_000_000
    """Of each item."""
    units_per_user: float = 0.0
    """Where it is set, the capacity is so much for each user instead."""
    hold_seconds: int = 600
    opens_after: float = 0.0
    """The sale opens after this part of the run: until then buyers wait in front of it."""
    must_pay: float = 0.0
    """The least part of attempts that must end paid; 0 where stock or buyers do not suffice."""


SCENARIOS: Final = {
    "rush": Scenario(
        about="everybody at opening, for few units of one item; who is refused tries again",
        units_per_user=1.0,
        opens_after=0.25,
    ),
    "steady": Scenario(
        about="buyers come, hold, pay; more stock than anybody takes",
        items=8,
        must_pay=0.99,
    ),
    "browse": Scenario(about="availability, again and again; one in twenty holds and cancels"),
    "hoarders": Scenario(
        about="holds that nobody pays: units must come back by themselves",
        capacity=500,
        hold_seconds=3,
    ),
    "retry_storm": Scenario(
        about="impatient clients: each request several times at once, under the same key",
        items=2,
    ),
}

Shape = Callable[[float], float]
"""The part of all users that there is at a part of the run."""


def ramp(at: float) -> float:
    """Evenly more until three quarters, then all of them."""
    return min(1.0, at / 0.75)


def spike(at: float) -> float:
    """A tenth; in the middle third all at once; a tenth again."""
    return 1.0 if 1 / 3 <= at < 2 / 3 else 0.1


def soak(_: float) -> float:
    """All of them from the start, for as long as it lasts."""
    return 1.0


SHAPES: Final[dict[str, Shape]] = {"ramp": ramp, "spike": spike, "soak": soak}


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One run of a scenario."""

    scenario: str
    shape: str
    users: int
    seconds: float
    sale_id: str
    data: str
    """The data directory of the system: whose key signs the buyers' tokens."""
    summary: str
    """The file that the counts are written to in the end."""

    @property
    def items(self) -> list[str]:
        """The ids of the sale's items."""
        return [f"item-{number}" for number in range(SCENARIOS[self.scenario].items)]

    @property
    def capacity(self) -> int:
        """Units of each item."""
        scenario = SCENARIOS[self.scenario]
        if scenario.units_per_user:
            return max(1, round(scenario.units_per_user * self.users))
        return scenario.capacity

    def users_at(self, elapsed_s: float) -> int | None:
        """How many users there are to be; None once it is over."""
        at = elapsed_s / self.seconds
        if at >= 1:
            return None
        return max(1, round(self.users * SHAPES[self.shape](at)))

    def variables(self) -> dict[str, str]:
        """The environment that carries it."""
        return {VARIABLE: orjson.dumps(asdict(self)).decode()}

    @classmethod
    def read(cls) -> Plan:
        """The plan of this process's environment."""
        fields: dict[str, Any] = orjson.loads(os.environ[VARIABLE])
        return cls(**fields)
