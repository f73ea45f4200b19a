"""What this room needs of an engine; `engine.engine.Engine` has it."""

from __future__ import annotations

from typing import Protocol

from engine.journal import Journal
from engine.keys import Keys
from engine.types import Floor


class Floors(Protocol):
    """What a process knows of the partitions (`engine.partitions`)."""

    def observe(self, partition: int, generation: int, sequence: int) -> None:
        """Raise a partition's floor."""

    def floor(self, partition: int) -> Floor:
        """What is known of a partition."""


class Source(Protocol):
    """Journals to drain, and who has to know how far PostgreSQL is."""

    @property
    def keys(self) -> Keys:
        """Knows the number of partitions."""

    @property
    def journal(self) -> Journal:
        """The journals to drain."""

    @property
    def partitions(self) -> Floors:
        """Where PostgreSQL's cursors are made known, so that an older Redis is refused."""
