"""The stories, told to the model."""

from __future__ import annotations

import pytest

from engine.model import Operation, PartitionState, decide, fold
from engine.types import Levels
from tests.helpers.scripted import Result
from tests.stories import STORIES
from tests.stories.telling import tell


class ModelListener:
    """A partition that exists only as the model's state."""

    def __init__(self) -> None:
        self.state = PartitionState()
        self.now_ms = 0
        self.journal: list[object] = []

    def move_clock(self, now_ms: int) -> None:
        self.now_ms = now_ms

    def perform(self, operation: Operation) -> Result:
        before = self.state.copy()
        decision = decide(self.state, operation, self.now_ms)
        assert self.state == before, "decide changed the state it was given"
        assert decision.state == fold(decision.entries, before)
        self.state = decision.state
        self.journal += decision.entries
        return Result(
            decision.outcome,
            decision.state.sequence,
            decision.booking,
            decision.item_id,
            decision.expired,
            decision.warned,
        )

    def levels(self, sale_id: str) -> dict[str, Levels]:
        sale = self.state.sales.get(sale_id)
        return dict(sale.levels) if sale else {}

    def dump(self) -> object:
        return self.state.copy(), list(self.journal)

    def books(self) -> object:
        return self.dump()

    def end_lease(self, booking_id: str) -> None:
        self.state.leases.pop(booking_id, None)

    def check(self) -> None:
        for sale in self.state.sales.values():
            for item in sale.definition.items:
                assert sale.levels[item.item_id].capacity == item.capacity


@pytest.mark.parametrize("name", STORIES)
def test_the_model_tells_the_same_story(name: str) -> None:
    tell(STORIES[name], ModelListener())
