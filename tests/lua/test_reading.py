"""The scripts that read, and the journal's trimming."""

from __future__ import annotations

from typing import Any

import orjson

from engine.model import Cancel, Expire, Extend
from engine.outcomes import Outcome
from engine.types import Booking, Status
from tests.helpers.scripted import START_MS, ScriptedPartition
from tests.lua.furnished import furnish
from tests.stories.story import CUSTOMER, HOLD_MS, hold, put, sale

MUCH = 1_000_000


def test_a_booking_tells_whether_it_is_due(partition: ScriptedPartition) -> None:
    partition.perform(put(sale()))
    held = partition.perform(hold("b1", "A:1")).booking
    partition.move_clock(START_MS + HOLD_MS - 1)
    outcome, _, text, due = partition.raw("get_booking", "b1", "ann")
    assert (outcome, Booking.from_json(text), due) == (b"found", held, 0)
    partition.move_clock(START_MS + HOLD_MS)
    assert partition.raw("get_booking", "b1", "")[3] == 1
    partition.perform(Expire("gig"))
    _, _, text, due = partition.raw("get_booking", "b1", "ann")
    assert (Booking.from_json(text).status, due) == (Status.CANCELLED, 0)


def test_another_customers_booking_is_as_absent_as_none(partition: ScriptedPartition) -> None:
    partition.perform(put(sale()))
    partition.perform(hold("b1", "A:1"))
    assert partition.raw("get_booking", "b1", "bob")[0::2] == [b"absent", b"other_customer"]
    assert partition.raw("get_booking", "b2", "bob")[0::2] == [b"absent", b""]


def test_a_sale_is_read_whole_with_its_due_holds(partition: ScriptedPartition) -> None:
    definition = sale("A:5:0 B:2:300:1", max_units_per_customer=7)
    partition.perform(put(definition))
    partition.perform(hold("b1", "A:1 B:1"))
    partition.move_clock(START_MS + 1)
    partition.perform(hold("b2", "A:2"))
    partition.move_clock(START_MS + HOLD_MS)
    outcome, _, text, version, created, updated, now, stock, due = partition.raw(
        "get_sale", "gig", 10
    )
    assert outcome == b"found"
    assert orjson.loads(text)["max_units_per_customer"] == 7
    assert (version, created, updated) == (b"1", b"%d" % START_MS, b"%d" % START_MS)
    assert int(now) == START_MS + HOLD_MS
    assert dict(zip(stock[::2], stock[1::2], strict=True))[b"A:held"] == b"3"
    assert due == [b"A:1:0,B:1:300"]
    partition.move_clock(START_MS + HOLD_MS + 1)
    assert partition.raw("get_sale", "gig", 10)[8] == [b"A:1:0,B:1:300", b"A:2:0"]
    assert partition.raw("get_sale", "gig", 1)[8] == [b"A:1:0,B:1:300"]
    assert partition.raw("get_sale", "gig", 0)[8] == []
    assert partition.raw("get_sale", "other", 10)[0] == b"unknown_sale"


def test_sales_are_listed_by_name_in_pages(partition: ScriptedPartition) -> None:
    for name in ("c", "a", "b-1", "b"):
        partition.perform(put(sale(sale_id=name)))
    assert partition.raw("list_sales", "", 3)[2] == [b"a", b"b", b"b-1"]
    assert partition.raw("list_sales", "b-1", 3)[2] == [b"c"]
    assert partition.raw("list_sales", "c", 3)[2] == []


def test_sales_with_due_holds_are_named_and_none_is_late(partition: ScriptedPartition) -> None:
    def due() -> Any:
        return partition.raw("due", 10)[2]

    for at, name in enumerate(("one", "two")):
        partition.perform(put(sale(sale_id=name), f"put-{at}"))
        partition.move_clock(START_MS + at)
        partition.perform(hold(f"b{at}", "A:1", sale_id=name))
    assert due() == []
    partition.move_clock(START_MS + HOLD_MS)
    assert due() == [b"one"]
    partition.move_clock(START_MS + HOLD_MS + 1)
    assert due() == [b"one", b"two"]
    assert partition.raw("due", 1)[2] == [b"one"]
    partition.perform(Expire("one"))
    assert due() == [b"two"]
    partition.perform(Cancel("b1", CUSTOMER))
    assert due() == []


def test_a_place_in_due_follows_the_earliest_deadline(partition: ScriptedPartition) -> None:
    def place() -> float | None:
        score: float | None = partition.client.zscore(partition.key("due"), "gig")
        return score

    partition.perform(put(sale()))
    partition.perform(hold("b1", "A:1"))
    partition.move_clock(START_MS + 5)
    partition.perform(hold("b2", "A:1"))
    assert place() == START_MS + HOLD_MS
    assert partition.perform(Extend("b1")).outcome is Outcome.EXTENDED
    assert place() == START_MS + 5 + HOLD_MS
    partition.perform(Cancel("b1", CUSTOMER))
    partition.perform(Cancel("b2", CUSTOMER))
    assert place() is None


def test_a_place_in_due_moves_on_when_a_reserve_takes_holds_back(
    partition: ScriptedPartition,
) -> None:
    partition.perform(put(sale("A:1:0")))
    partition.perform(hold("b1", "A:1"))
    partition.move_clock(START_MS + HOLD_MS)
    partition.perform(hold("b2", "A:1", "bob"))
    place = partition.client.zscore(partition.key("due"), "gig")
    assert place == START_MS + 2 * HOLD_MS


def test_the_journal_is_read_from_a_sequence_on(partition: ScriptedPartition) -> None:
    furnish(partition)
    entries = partition.entries()
    _, tip, found, _ = partition.raw("read_journal", 3, 4, MUCH)
    assert [name for name, _ in found] == [b"3-0", b"4-0", b"5-0", b"6-0"]
    assert all(fields[0] == b"entry" for _, fields in found)
    assert tip == len(entries) == entries[-1].sequence
    assert partition.raw("read_journal", tip + 1, 4, MUCH)[2:] == [[], 0]


def test_trimming_never_takes_the_cursors_own_entry(partition: ScriptedPartition) -> None:
    partition.perform(put(sale("A:1000:0")))
    for at in range(300):
        partition.raw("put_sale", "gig", f"p{at}", *_definition(at))
    tip = int(partition.client.hget(partition.meta, "sequence"))
    assert int(partition.raw("trim", 250, tip, "")[2]) > 0
    left = [
        int(at.partition(b"-")[0]) for at, _ in partition.client.xrange(partition.key("journal"))
    ]
    assert left[0] <= 250
    assert left == list(range(left[0], tip + 1))
    assert partition.client.hget(partition.meta, "drained") == b"250"


def _definition(at: int) -> tuple[str | int, ...]:
    """Arguments of `put_sale` that change one capacity."""
    return (
        '{"sale_id":"gig","items":[]}',
        *(0, 0, HOLD_MS, 0, "USD", ""),
        *("A", 1000 + at, 0, 0),
    )


def test_what_postgresql_has_told_never_goes_down(partition: ScriptedPartition) -> None:
    furnish(partition)
    partition.raw("trim", 4, 0, "")
    partition.raw("trim", 2, 0, "")
    assert partition.client.hget(partition.meta, "drained") == b"4"
    assert len(partition.entries()) == int(partition.client.hget(partition.meta, "sequence"))
