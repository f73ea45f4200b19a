"""The drain's hands let what trickles in share a commit, and hurry where there is much."""

from __future__ import annotations

import pytest

from engine.limits import DRAIN_GATHER_ENTRIES
from workers import drainer
from workers.drainer import Drainer


class Journals:
    """Partitions with entries to drain, by batches of some size."""

    def __init__(self, *left: int) -> None:
        self.left = list(left)
        self.looks = [0] * len(left)

    async def drain(self, partition: int) -> int:
        self.looks[partition] += 1
        count = min(self.left[partition], DRAIN_GATHER_ENTRIES)
        self.left[partition] -= count
        return count


@pytest.fixture(autouse=True)
def long_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DRAIN_GATHER_MS", "DRAIN_FEW_MS", "DRAIN_LOOK_MS"):
        monkeypatch.setattr(drainer, name, 600_000)


async def test_a_partition_with_little_or_nothing_rests_and_one_with_much_does_not() -> None:
    journals = Journals(3, 5 * DRAIN_GATHER_ENTRIES, 0, DRAIN_GATHER_ENTRIES - 1)
    work = Drainer(4, journals.drain)
    for _ in range(4):
        await work.run_once()
    assert journals.looks == [1, 4, 1, 1]
    assert journals.left == [0, DRAIN_GATHER_ENTRIES, 0, 0]


async def test_at_the_end_of_the_process_nobody_rests() -> None:
    journals = Journals(3, 7)
    work = Drainer(2, journals.drain)
    await work.run_once()
    journals.left = [2, 2]
    assert await work.finish()
    assert journals.left == [0, 0]
