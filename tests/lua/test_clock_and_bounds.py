"""The scripts' clock, a forgotten script cache, and the largest calls there are."""

from __future__ import annotations

import random

from engine import limits
from engine.limits import MAX_INTEGER
from engine.model import Cancel, ConfirmFree
from engine.outcomes import Outcome
from engine.types import LineRequest, Status
from tests.helpers.scripted import START_MS, ScriptedPartition
from tests.stories.story import CUSTOMER, HOLD_MS, hold, put, sale


def server_ms(partition: ScriptedPartition) -> int:
    seconds, micros = partition.client.time()
    return int(seconds) * 1000 + int(micros) // 1000


def test_deadlines_go_by_the_servers_clock(partition: ScriptedPartition) -> None:
    partition.move_clock(0)
    partition.perform(put(sale()))
    before_ms = server_ms(partition)
    booking = partition.perform(hold("b1", "A:1")).booking
    after_ms = server_ms(partition)
    assert booking
    assert before_ms <= booking.created_ms <= after_ms
    assert booking.hold_expires_ms == booking.created_ms + HOLD_MS
    assert int(partition.client.hget(partition.meta, "last_ms")) == booking.created_ms


def test_a_clock_that_went_back_makes_no_hold_live_longer(partition: ScriptedPartition) -> None:
    ahead_ms = server_ms(partition) + 3_600_000
    partition.move_clock(ahead_ms)
    partition.perform(put(sale("A:1:0", hold_ms=1_000)))
    first = partition.perform(hold("b1", "A:1")).booking
    assert first
    assert first.hold_expires_ms == ahead_ms + 1_000
    assert int(partition.client.hget(partition.meta, "last_ms")) == ahead_ms
    partition.move_clock(ahead_ms + 1_000)
    second = partition.perform(hold("b2", "A:1", "bob")).booking
    assert second
    assert second.created_ms == ahead_ms + 1_000
    partition.check()


def test_a_forgotten_script_is_told_again(partition: ScriptedPartition) -> None:
    partition.perform(put(sale()))
    partition.client.script_flush("SYNC")
    first = partition.perform(hold("b1", "A:1"))
    partition.client.script_flush("SYNC")
    again = partition.perform(hold("b2", "A:1", key="key-b1"))
    assert (first.outcome, again.outcome) == (Outcome.HELD, Outcome.REPLAYED)
    assert first.booking == again.booking
    partition.check()


def test_a_sale_of_the_most_items_can_be_replaced_whole(partition: ScriptedPartition) -> None:
    most = limits.MAX_ITEMS_PER_SALE
    first = sale(" ".join(f"{'x' * 58}-{at:05}:{MAX_INTEGER}:{MAX_INTEGER}" for at in range(most)))
    second = sale(" ".join(f"{'y' * 58}-{at:05}:1:0" for at in range(most)))
    assert partition.perform(put(first)).outcome is Outcome.CREATED
    assert partition.perform(put(second, "put-2")).outcome is Outcome.UPDATED
    partition.check()
    assert len(partition.levels("gig")) == most


def test_a_booking_of_the_most_lines_is_held_and_given_back(partition: ScriptedPartition) -> None:
    most, many = limits.MAX_LINES, limits.MAX_QUANTITY
    partition.perform(put(sale(" ".join(f"i{at}:{many}:0" for at in range(most)))))
    lines = " ".join(f"i{at}:{many}" for at in range(most))
    result = partition.perform(hold("b1", lines))
    assert result.outcome is Outcome.HELD
    assert result.booking
    assert [LineRequest(line.item_id, line.quantity) for line in result.booking.lines] == [
        LineRequest(f"i{at}", many) for at in range(most)
    ]
    partition.check()
    partition.perform(Cancel("b1", CUSTOMER))
    partition.check()
    assert all(level.available == many for level in partition.levels("gig").values())


def test_an_amount_comes_back_exact_from_every_place(partition: ScriptedPartition) -> None:
    price, rest = divmod(MAX_INTEGER, 7)
    partition.perform(put(sale(f"A:10:{price} R:9:{rest}")))
    booking = partition.perform(hold("b1", "A:7 R:1")).booking
    assert booking
    assert booking.amount == MAX_INTEGER
    assert partition.check().bookings["b1"].amount == MAX_INTEGER


def test_a_long_history_of_one_unit_ends_where_it_began(partition: ScriptedPartition) -> None:
    chance = random.Random(7)
    partition.perform(put(sale("A:1:0")))
    for at in range(40):
        partition.move_clock(START_MS + at * 1_000)
        assert partition.perform(hold(f"b{at}", "A:1")).outcome is Outcome.HELD
        if chance.random() < 0.5:
            confirmed = partition.perform(ConfirmFree(f"b{at}", "ann", "k", "f")).booking
            assert confirmed
            assert confirmed.status is Status.CONFIRMED
        partition.perform(Cancel(f"b{at}", CUSTOMER))
    state = partition.check()
    assert state.sales["gig"].levels["A"].available == 1
    assert state.sales["gig"].customers == {}
