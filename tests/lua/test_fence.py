"""A partition that cannot be trusted answers `fenced` to every script, and nothing is written."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import redis

from engine.calls import JOURNAL_AHEAD
from engine.keys import HASH_FUNCTION
from engine.model import Expire
from engine.outcomes import Outcome
from engine.scripts import load_script, script_names
from tests.helpers.scripted import START_MS, ScriptedPartition
from tests.lua.furnished import AUTHORIZING, CALLS, UNFENCED, furnish
from tests.stories.story import HOLD_MS, hold, put, sale


def lose_meta(partition: ScriptedPartition) -> None:
    partition.client.delete(partition.meta)


def know_a_newer_generation(partition: ScriptedPartition) -> None:
    partition.generation = 2


def know_an_older_generation(partition: ScriptedPartition) -> None:
    partition.client.hset(partition.meta, "generation", 2)


def have_seen_more(partition: ScriptedPartition) -> None:
    partition.seen = int(partition.client.hget(partition.meta, "sequence")) + 1


def close(partition: ScriptedPartition) -> None:
    partition.raw("fence", "operator")


FENCES: dict[str, tuple[Callable[[ScriptedPartition], None], bytes]] = {
    "a_missing_meta": (lose_meta, b"meta_missing"),
    "a_newer_generation": (know_a_newer_generation, b"generation"),
    "an_older_generation": (know_an_older_generation, b"generation"),
    "a_lower_sequence": (have_seen_more, b"sequence"),
    "a_closed_partition": (close, b"operator"),
}


def test_every_script_is_in_the_table() -> None:
    assert sorted(CALLS.keys() | UNFENCED) == script_names()


@pytest.mark.parametrize("name", CALLS)
def test_a_partition_that_is_well_runs_it(name: str, partition: ScriptedPartition) -> None:
    furnish(partition)
    arguments, outcome = CALLS[name]
    if name == "claim_payment":
        partition.end_lease(AUTHORIZING)
    before = partition.dump()
    assert partition.raw(name, *arguments)[0].decode() == outcome
    assert (partition.dump() == before) == ("no-writes" in load_script(name).flags)


@pytest.mark.parametrize("fence", FENCES)
@pytest.mark.parametrize("name", CALLS)
def test_a_fenced_script_writes_nothing(
    name: str, fence: str, partition: ScriptedPartition
) -> None:
    furnish(partition)
    bring_about, reason = FENCES[fence]
    bring_about(partition)
    before = partition.dump()
    assert partition.raw(name, *CALLS[name][0]) == [b"fenced", -1, reason]
    assert partition.dump() == before


def test_the_highest_sequence_seen_is_not_a_lower_one(partition: ScriptedPartition) -> None:
    furnish(partition)
    partition.seen = int(partition.client.hget(partition.meta, "sequence"))
    assert partition.perform(hold("b-new", "A:1")).outcome is Outcome.HELD


def test_the_first_reason_stays(partition: ScriptedPartition) -> None:
    assert partition.raw("fence", "first") == [b"fenced", -1, b"first"]
    assert partition.raw("fence", "second") == [b"fenced", -1, b"first"]
    assert partition.client.hget(partition.meta, "fenced") == b"first"


def test_who_has_not_heard_of_a_rebuild_closes_nothing(partition: ScriptedPartition) -> None:
    know_an_older_generation(partition)
    before = partition.dump()
    assert partition.raw("fence", "sequence_lost") == [b"fenced", -1, b"generation"]
    assert partition.dump() == before


def test_closing_a_partition_without_meta_makes_none(partition: ScriptedPartition) -> None:
    lose_meta(partition)
    assert partition.raw("fence", "why") == [b"fenced", -1, b"meta_missing"]
    assert partition.dump() == {}


def test_a_partition_is_initialised_once(partition: ScriptedPartition) -> None:
    furnish(partition)
    before = partition.dump()
    sequence = int(partition.client.hget(partition.meta, "sequence"))
    assert partition.raw("init_partition", 1, HASH_FUNCTION) == [b"unchanged", sequence, b"1"]
    assert partition.dump() == before


@pytest.mark.parametrize("shape", [(2, HASH_FUNCTION), (1, "fnv")])
def test_another_shape_than_the_recorded_one_is_refused(
    shape: tuple[int, str], partition: ScriptedPartition
) -> None:
    before = partition.dump()
    assert partition.raw("init_partition", *shape) == [b"fenced", -1, b"shape"]
    assert partition.dump() == before


def test_a_journal_without_meta_is_not_initialised_again(partition: ScriptedPartition) -> None:
    furnish(partition)
    lose_meta(partition)
    before = partition.dump()
    assert partition.raw("init_partition", 1, HASH_FUNCTION) == [b"fenced", -1, b"meta_missing"]
    assert partition.dump() == before


@pytest.mark.parametrize("looks", ["reserve", "expire"])
def test_a_booking_lost_behind_its_deadline_closes_the_partition(
    looks: str, partition: ScriptedPartition
) -> None:
    partition.perform(put(sale("A:2:0")))
    partition.perform(hold("b1", "A:1"))
    partition.perform(hold("b2", "A:1"))
    partition.client.delete(partition.key("booking", "b2"))
    partition.move_clock(START_MS + HOLD_MS)
    before = partition.dump()
    operation = Expire("gig") if looks == "expire" else hold("b3", "A:2", "bob")
    assert partition.perform(operation).outcome is Outcome.FENCED
    assert partition.raw("get_booking", "b1", "") == [b"fenced", -1, b"keys_missing"]
    after = partition.dump()
    assert [name for name in after if after[name] != before[name]] == [partition.meta.decode()]
    assert partition.client.hget(partition.meta, "fenced") == b"keys_missing"


def test_a_meta_older_than_its_journal_writes_nothing(partition: ScriptedPartition) -> None:
    furnish(partition)
    partition.client.hincrby(partition.meta, "sequence", -2)
    before = partition.dump()
    journaled = [name for name in CALLS if load_script(name).entries]
    assert len(journaled) > 15
    for name in journaled:
        with pytest.raises(redis.exceptions.ResponseError, match=JOURNAL_AHEAD):
            partition.raw(name, *CALLS[name][0])
        assert partition.dump() == before
