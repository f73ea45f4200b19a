"""What PostgreSQL lacks, counted to the byte, and the marks above which new holds are shed."""

from __future__ import annotations

import pytest

from engine.model import Bounds, Cancel, ConfirmFree, Expire, Extend
from engine.outcomes import Outcome
from tests.helpers.scripted import START_MS, ScriptedPartition
from tests.stories.story import CUSTOMER, HOLD_MS, hold, put, sale


def meta(partition: ScriptedPartition, name: str) -> int:
    return int(partition.client.hget(partition.meta, name))


def lengths(partition: ScriptedPartition) -> list[int]:
    return [
        len(fields[b"entry"]) for _, fields in partition.client.xrange(partition.key("journal"))
    ]


@pytest.fixture
def busy(partition: ScriptedPartition) -> ScriptedPartition:
    """A sale, then a hold a second later each."""
    partition.perform(put(sale("A:9:0")))
    for at in (1, 2, 3):
        partition.move_clock(START_MS + at * 1000)
        partition.perform(hold(f"b{at}", "A:1"))
    return partition


def test_bytes_are_the_lengths_of_all_entries_ever_written(busy: ScriptedPartition) -> None:
    assert meta(busy, "bytes") == sum(lengths(busy))
    busy.move_clock(START_MS + 3 * HOLD_MS)
    busy.perform(Expire("gig"))
    assert len(lengths(busy)) == 7
    assert meta(busy, "bytes") == sum(lengths(busy))


def test_the_oldest_entry_that_waits_is_followed(busy: ScriptedPartition) -> None:
    assert meta(busy, "oldest_ms") == START_MS
    busy.raw("trim", 2, 0, sum(lengths(busy)[:2]))
    assert meta(busy, "oldest_ms") == START_MS + 2000
    assert meta(busy, "bytes") - meta(busy, "drained_bytes") == sum(lengths(busy)[2:])
    busy.raw("trim", 4, 0, sum(lengths(busy)))
    assert meta(busy, "oldest_ms") == 0
    assert meta(busy, "bytes") == meta(busy, "drained_bytes")
    busy.move_clock(START_MS + 9000)
    busy.perform(Cancel("b1", CUSTOMER))
    busy.move_clock(START_MS + 9500)
    busy.perform(Cancel("b2", CUSTOMER))
    assert meta(busy, "oldest_ms") == START_MS + 9000


def test_a_count_of_bytes_that_went_wrong_is_mended_when_nothing_waits(
    busy: ScriptedPartition,
) -> None:
    busy.client.hdel(busy.meta, "bytes")
    busy.raw("trim", 3, 0, 5_000)
    assert meta(busy, "bytes") == 0
    busy.raw("trim", 4, 0, 6_000)
    assert meta(busy, "bytes") == meta(busy, "drained_bytes") == 6_000


def test_who_does_not_know_the_bytes_leaves_their_count(busy: ScriptedPartition) -> None:
    busy.raw("trim", 2, 0, "")
    assert meta(busy, "drained_bytes") == 0
    busy.raw("trim", 4, 0, "")
    assert meta(busy, "drained_bytes") == meta(busy, "bytes") == sum(lengths(busy))


def test_a_poison_entry_that_waits_leaves_the_age_as_it_was(busy: ScriptedPartition) -> None:
    busy.client.xadd(busy.key("journal"), {"entry": b"\xff"}, id="5-0")
    busy.client.hset(busy.meta, "sequence", 5)
    busy.raw("trim", 4, 0, 1)
    assert meta(busy, "oldest_ms") == START_MS


@pytest.mark.parametrize(
    "bounds",
    [
        Bounds(max_backlog_entries=4),
        Bounds(max_backlog_bytes=1_000),
        Bounds(max_backlog_age_ms=3_000),
    ],
)
def test_above_a_mark_new_holds_are_shed_and_everything_else_goes_on(
    bounds: Bounds, busy: ScriptedPartition
) -> None:
    assert sum(lengths(busy)) > 1_000
    before = busy.dump()
    assert busy.perform(hold("b9", "A:1", bounds=bounds)).outcome is Outcome.BACKLOG_FULL
    assert busy.dump() == before
    again = busy.perform(hold("b1", "A:1", bounds=bounds))
    assert again.outcome is Outcome.REPLAYED, "a replay is no new hold"
    assert busy.perform(Extend("b1")).outcome is Outcome.EXTENDED
    assert busy.perform(ConfirmFree("b2", "ann", "k", "f")).outcome is Outcome.CONFIRMED
    assert busy.perform(Cancel("b3", CUSTOMER)).outcome is Outcome.CANCELLED
    tip = meta(busy, "sequence")
    busy.raw("trim", tip, 0, meta(busy, "bytes"))
    assert busy.perform(hold("b9", "A:1", bounds=bounds)).outcome is Outcome.HELD
    busy.check()


def test_just_below_the_marks_holds_are_taken(busy: ScriptedPartition) -> None:
    size = sum(lengths(busy))
    bounds = Bounds(5, size + 1, 3_001)
    assert busy.perform(hold("b9", "A:1", bounds=bounds)).outcome is Outcome.HELD


def test_a_workers_word_sheds_new_holds_until_it_runs_out(busy: ScriptedPartition) -> None:
    busy.raw("shed", "disk", 5_000)
    assert busy.client.hget(busy.meta, "shed_reason") == b"disk"
    before = busy.dump()
    assert busy.perform(hold("b9", "A:1")).outcome is Outcome.SHED
    assert busy.dump() == before
    assert busy.perform(Cancel("b3", CUSTOMER)).outcome is Outcome.CANCELLED
    busy.move_clock(START_MS + 3_000 + 4_999)
    assert busy.perform(hold("b9", "A:1")).outcome is Outcome.SHED
    busy.move_clock(START_MS + 3_000 + 5_000)
    assert busy.perform(hold("b9", "A:1")).outcome is Outcome.HELD


def test_entries_are_read_up_to_so_many_bytes(busy: ScriptedPartition) -> None:
    sizes = lengths(busy)

    def read(max_bytes: int, limit: int = 10) -> tuple[list[int], int]:
        _, _, found, cut = busy.raw("read_journal", 1, limit, max_bytes)
        return [int(name.partition(b"-")[0]) for name, _ in found], cut

    assert read(sum(sizes)) == ([1, 2, 3, 4], 0)
    assert read(sum(sizes[:3])) == ([1, 2, 3], 1)
    assert read(sum(sizes[:2]) + 1) == ([1, 2, 3], 1)
    assert read(1) == ([1], 1), "one at least, however long"
    assert read(sum(sizes), limit=2) == ([1, 2], 0)


def test_a_long_journal_is_read_in_one_answer(partition: ScriptedPartition) -> None:
    pipe = partition.client.pipeline()
    for sequence in range(1, 1_201):
        pipe.xadd(partition.key("journal"), {"entry": b"x" * 10}, id=f"{sequence}-0")
    pipe.execute()
    for limit, many in ((1_100, 1_100), (1_000, 1_000), (5_000, 1_200)):
        _, _, found, cut = partition.raw("read_journal", 1, limit, 1_000_000)
        assert [name for name, _ in found] == [b"%d-0" % at for at in range(1, many + 1)]
        assert cut == 0
    assert len(partition.raw("read_journal", 1, 5_000, 6_000)[2]) == 600
