"""A customer's rate. These tests go by the server's own clock, with buckets that fill in hours."""

from __future__ import annotations

from typing import Any

from engine.limits import IDEMPOTENCY_TTL_MS
from engine.model import Bounds, Reserve
from tests.helpers.script_calls import script_call
from tests.helpers.scripted import START_MS, ScriptedPartition
from tests.stories.story import HOLD_MS, hold, put, sale

HOUR_US = 3_600_000_000
BURST = 2


def spend(partition: ScriptedPartition, customer_id: str = "ann", burst: int = BURST) -> list[Any]:
    return partition.raw("rate_limit", customer_id, HOUR_US, burst * HOUR_US)


def reserve(partition: ScriptedPartition, operation: Reserve) -> list[Any]:
    """Reserve under the rate of BURST calls at once, one more an hour."""
    _, arguments = script_call(operation)
    assert arguments[5:8] == (IDEMPOTENCY_TTL_MS, 0, 0)
    limited = (*arguments[:6], HOUR_US, BURST * HOUR_US, *arguments[8:])
    return partition.raw("reserve", *limited)


def test_a_burst_is_allowed_and_then_the_wait_is_told(partition: ScriptedPartition) -> None:
    assert [spend(partition)[0] for _ in range(BURST)] == [b"allowed"] * BURST
    outcome, _, wait_ms = spend(partition)
    assert outcome == b"rate_limited"
    assert 3_500_000 < int(wait_ms) <= 3_600_000
    assert spend(partition, "bob")[0] == b"allowed"


def test_a_refusal_by_the_rate_costs_nothing(partition: ScriptedPartition) -> None:
    for _ in range(BURST):
        spend(partition)
    before = partition.dump()
    spend(partition)
    assert partition.dump() == before


def test_a_bucket_is_forgotten_when_it_is_full_again(partition: ScriptedPartition) -> None:
    spend(partition)
    ttl_ms = partition.client.pttl(partition.key("rate", "ann"))
    assert 0 < ttl_ms <= HOUR_US // 1000


def test_a_reserve_spends_the_rate_whatever_comes_of_it(partition: ScriptedPartition) -> None:
    partition.perform(put(sale("A:2:0")))
    assert reserve(partition, hold("b1", "A:3"))[0] == b"sold_out"
    assert reserve(partition, hold("b2", "A:1"))[0] == b"held"
    before = partition.dump()
    assert reserve(partition, hold("b3", "A:1"))[0] == b"rate_limited"
    assert partition.dump() == before


def test_a_replay_costs_no_rate_and_is_not_limited(partition: ScriptedPartition) -> None:
    partition.perform(put(sale("A:2:0")))
    for _ in range(BURST + 3):
        answer = reserve(partition, hold("b1", "A:1", key="k"))
    assert answer[0] == b"replayed"
    assert reserve(partition, hold("b2", "A:1"))[0] == b"held"
    assert reserve(partition, hold("b3", "A:1", key="k"))[0] == b"replayed"
    assert reserve(partition, hold("b4", "A:9", key="k"))[0] == b"idempotency_key_reused"
    assert reserve(partition, hold("b5", "A:1"))[0] == b"rate_limited"


def test_a_due_backlog_costs_no_rate(partition: ScriptedPartition) -> None:
    partition.perform(put(sale("A:3:0")))
    for at in range(3):
        partition.perform(hold(f"b{at}", "A:1", "bob"))
    partition.move_clock(START_MS + HOLD_MS)
    before = partition.dump()
    for _ in range(BURST + 1):
        answer = reserve(partition, hold("b9", "A:3", bounds=Bounds(max_taken=2)))
        assert answer[0] == b"due_backlog"
    assert partition.dump() == before


def test_a_backlog_at_its_bound_costs_no_rate(partition: ScriptedPartition) -> None:
    partition.perform(put(sale("A:3:0")))
    before = partition.dump()
    assert reserve(partition, hold("b1", "A:1", bounds=Bounds(1)))[0] == b"backlog_full"
    assert partition.dump() == before


def test_a_clock_that_stepped_back_does_not_lock_a_customer_out(
    partition: ScriptedPartition,
) -> None:
    seconds, _ = partition.client.time()
    a_day_ahead_us = (seconds + 86_400) * 1_000_000
    partition.client.set(partition.key("rate", "ann"), a_day_ahead_us)
    assert spend(partition)[0] == b"allowed"
    assert int(partition.client.get(partition.key("rate", "ann"))) < a_day_ahead_us


def refuse(partition: ScriptedPartition, sequence: int, *asked: str) -> list[Any]:
    return partition.raw("refuse", sequence, "gig", HOUR_US, BURST * HOUR_US, *asked)


def test_many_refusals_spend_the_rate_of_each_and_pass_known_keys_by(
    partition: ScriptedPartition,
) -> None:
    partition.perform(put(sale("A:2:0")))
    assert reserve(partition, hold("b1", "A:2", "ann", key="k1"))[0] == b"held"
    outcome, sequence, item, lasts_ms = reserve(partition, hold("b2", "A:1", "bob"))
    assert (outcome, item) == (b"sold_out", b"A")
    assert 0 < int(lasts_ms) <= HOLD_MS
    outcome, _, words = refuse(
        partition, sequence, "ann", "k1", "bob", "k2", "bob", "k3", "cat", "k1"
    )
    assert outcome == b"done"
    assert words[:2] == [-1, 0]
    assert words[2] > 3_500_000
    assert words[3] == 0
    assert refuse(partition, sequence - 1, "cat", "k2")[0] == b"stale"


def test_what_is_sold_out_is_so_until_the_next_deadline_or_closing(
    partition: ScriptedPartition,
) -> None:
    partition.perform(put(sale("A:1:0", closes_ms=START_MS + HOLD_MS // 2)))
    partition.perform(hold("b1", "A:1", "ann"))
    assert int(reserve(partition, hold("b2", "A:1", "bob"))[3]) == HOLD_MS // 2
    partition.perform(put(sale("A:1:0"), "put-2"))
    partition.move_clock(START_MS + HOLD_MS // 4)
    assert int(reserve(partition, hold("b3", "A:1", "cat"))[3]) == HOLD_MS - HOLD_MS // 4
    partition.perform(put(sale("A:1:0", max_units_per_customer=1), "put-3"))
    assert int(reserve(partition, hold("b4", "A:1", "dan"))[3]) == 0
