"""What this process knows of each partition: its generation and the highest sequence seen.

Every call carries both (rule 5), so that a Redis that came back emptied, older or from before a
failover refuses the call instead of selling twice.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from engine.errors import Fenced
from engine.types import Floor

FloorSource = Callable[[], Awaitable[Mapping[int, Floor]]]
"""Asks PostgreSQL for the floors; raises `Unavailable` where it is away."""


class Partitions:
    """Generation and highest seen sequence by partition; only ever moves forward."""

    __slots__ = ("_generations", "_seen")

    def __init__(self, partitions: int) -> None:
        self._generations = [0] * partitions
        self._seen = [0] * partitions

    def __len__(self) -> int:
        return len(self._seen)

    def arguments(self, partition: int) -> tuple[int, int]:
        """Generation and sequence that a call on the partition must carry.

        Raises:
            Fenced: this process has never seen the partition alive.
        """
        generation = self._generations[partition]
        if not generation:
            raise Fenced(partition, "meta_missing")
        return generation, self._seen[partition]

    def saw(self, partition: int, generation: int, sequence: int) -> None:
        """Note the sequence that a reply of a call made under `generation` named."""
        if generation == self._generations[partition] and sequence > self._seen[partition]:
            self._seen[partition] = sequence

    def observe(self, partition: int, generation: int, sequence: int) -> None:
        """Raise the floor; a newer generation starts a new count."""
        if generation > self._generations[partition]:
            self._generations[partition] = generation
            self._seen[partition] = sequence
        else:
            self.saw(partition, generation, sequence)

    def floor(self, partition: int) -> Floor:
        """What is known of a partition; generation 0 is nothing."""
        return Floor(self._generations[partition], self._seen[partition])
