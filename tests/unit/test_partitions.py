"""What a process knows of its partitions only moves forward."""

from __future__ import annotations

import pytest

from engine.errors import Fenced
from engine.partitions import Partitions
from engine.types import Floor


def test_a_partition_never_seen_is_fenced() -> None:
    partitions = Partitions(2)
    with pytest.raises(Fenced, match="partition 1 is fenced: meta_missing"):
        partitions.arguments(1)
    assert partitions.floor(1) == Floor(0, 0)


def test_the_highest_sequence_seen_is_sent() -> None:
    partitions = Partitions(1)
    partitions.observe(0, 1, 5)
    partitions.saw(0, 1, 9)
    partitions.saw(0, 1, 7)
    partitions.observe(0, 1, 6)
    assert partitions.arguments(0) == (1, 9)


def test_a_newer_generation_counts_anew() -> None:
    partitions = Partitions(1)
    partitions.observe(0, 1, 90)
    partitions.observe(0, 2, 5)
    assert partitions.arguments(0) == (2, 5)


def test_a_late_reply_of_an_older_generation_moves_nothing() -> None:
    partitions = Partitions(1)
    partitions.observe(0, 2, 5)
    partitions.saw(0, 1, 99)
    partitions.observe(0, 1, 99)
    assert partitions.arguments(0) == (2, 5)


def test_partitions_know_their_number() -> None:
    assert len(Partitions(7)) == 7
