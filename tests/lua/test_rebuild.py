"""A partition is rebuilt by who closed it last, by nobody else; each script may be said twice."""

from __future__ import annotations

import pytest

from engine.keys import HASH_FUNCTION
from engine.outcomes import Outcome
from tests.helpers.scripted import START_MS, ScriptedPartition
from tests.lua.furnished import CALLS, REBUILDING, furnish
from tests.stories.story import hold, put, sale

TOKEN = "token-1"


def rebuild_call(
    partition: ScriptedPartition, name: str, token: str = TOKEN, generation: int = 1
) -> list[object]:
    """Run one of a rebuild's scripts with the arguments of the table."""
    reply: list[object] = partition.evaluate(name, (generation, token, *REBUILDING[name]))
    return reply


def begin(partition: ScriptedPartition, token: str = TOKEN, generation: int = 1) -> list[object]:
    """Close the partition for a rebuild."""
    reply: list[object] = partition.evaluate("begin_rebuild", (generation, token))
    return reply


OVERTAKEN = [b"fenced", -1, b"overtaken"]


@pytest.mark.parametrize("name", REBUILDING)
def test_a_partition_that_nobody_closed_is_not_rebuilt(
    name: str, partition: ScriptedPartition
) -> None:
    furnish(partition)
    before = partition.dump()
    assert rebuild_call(partition, name) == OVERTAKEN
    partition.raw("fence", "operator")
    before = partition.dump()
    assert rebuild_call(partition, name) == OVERTAKEN
    assert partition.dump() == before


@pytest.mark.parametrize("name", REBUILDING)
@pytest.mark.parametrize("wrong", [{"token": "token-2"}, {"generation": 3}])
def test_another_rebuild_than_the_last_one_writes_nothing(
    name: str, wrong: dict[str, object], partition: ScriptedPartition
) -> None:
    furnish(partition)
    begin(partition)
    before = partition.dump()
    assert rebuild_call(partition, name, **wrong) == OVERTAKEN  # type: ignore[arg-type]
    assert partition.dump() == before


@pytest.mark.parametrize("name", sorted(REBUILDING.keys() - {"forget_keys"}))
def test_a_call_of_a_rebuild_said_again_changes_nothing_more(
    name: str, partition: ScriptedPartition
) -> None:
    furnish(partition)
    begin(partition)
    partition.client.delete(partition.key("journal"))
    first = rebuild_call(partition, name)
    assert first[0] == b"done"
    after = partition.dump()
    again = rebuild_call(partition, name)
    assert again[0] == (b"unchanged" if name == "finish_rebuild" else b"done")
    assert partition.dump() == after


def test_a_partition_that_is_rebuilt_is_closed_to_everybody(partition: ScriptedPartition) -> None:
    furnish(partition)
    assert begin(partition)[0] == b"done"
    for name, (arguments, _) in CALLS.items():
        assert partition.raw(name, *arguments) == [b"fenced", -1, b"rebuilding"], name
    assert partition.raw("fence", "sequence_lost") == [b"fenced", -1, b"rebuilding"]


def test_a_rebuild_that_found_another_generation_closes_nothing(
    partition: ScriptedPartition,
) -> None:
    before = partition.dump()
    for generation in (0, 2):
        assert begin(partition, generation=generation) == OVERTAKEN
    assert partition.dump() == before


def test_a_later_rebuild_takes_over(partition: ScriptedPartition) -> None:
    begin(partition)
    begin(partition, "token-2")
    assert rebuild_call(partition, "restore_customers") == OVERTAKEN
    assert rebuild_call(partition, "restore_customers", "token-2")[0] == b"done"


def test_meta_and_what_is_not_named_stay(partition: ScriptedPartition) -> None:
    furnish(partition)
    begin(partition)
    before = partition.dump()
    assert rebuild_call(partition, "forget_keys") == [b"done", -1, b"1"]
    before.pop(partition.key("stock", "gig"))
    assert partition.dump() == before


def test_a_partition_without_meta_is_closed_made_and_opened(partition: ScriptedPartition) -> None:
    partition.client.delete(partition.meta)
    assert begin(partition, generation=0)[0] == b"done"
    assert partition.perform(hold("b1", "A:1")).outcome is Outcome.FENCED
    reset = (0, TOKEN, 5, 40, 9_000, START_MS, 1, HASH_FUNCTION)
    assert partition.evaluate("reset_partition", reset) == [b"done", 40, b""]
    assert partition.raw("init_partition", 1, HASH_FUNCTION) == [b"unchanged", 40, b"5"]
    partition.generation = 5
    assert partition.raw("read_journal", 1, 10, 9_999) == [b"fenced", -1, b"rebuilding"]
    finish = (5, TOKEN, b'{"the":"cursor"}')
    assert partition.evaluate("finish_rebuild", finish) == [b"done", 41, b""]
    entries = partition.raw("read_journal", 40, 10, 9_999)[2]
    assert [entry[0] for entry in entries] == [b"40-0", b"41-0"]
    assert entries[0][1] == [b"entry", b'{"the":"cursor"}']
    assert b'"type":"rebuilt"' in entries[1][1][1]
    assert b'"generation":5' in entries[1][1][1]
    assert partition.perform(put(sale("A:2:0"))).outcome is Outcome.CREATED
    assert partition.perform(hold("b1", "A:1")).sequence == 43


def test_a_partition_closed_anew_after_a_rebuild_is_not_opened_by_it(
    partition: ScriptedPartition,
) -> None:
    begin(partition)
    assert partition.evaluate("finish_rebuild", (1, TOKEN, b""))[0] == b"done"
    partition.raw("fence", "operator")
    assert rebuild_call(partition, "finish_rebuild") == OVERTAKEN


OF_NO_SALE = {
    *("closed_sales", "evict", "trim", "rate_limit", "shed", "list_sales", "due", "due_payments"),
    "soon",
    *("open_payments", "audit_payments", "read_journal", "audit_sale", "audit_customers"),
    "audit_holds",
}
"""Calls that no frozen sale refuses: they are about none, or only compare."""


OF_ANOTHER_SALE = {"retire_sale", "load_sale", "load_customers"}


@pytest.mark.parametrize("name", CALLS)
def test_a_frozen_sale_is_closed_and_the_rest_of_its_partition_is_not(
    name: str, partition: ScriptedPartition
) -> None:
    furnish(partition)
    arguments, outcome = CALLS[name]
    sale_id = arguments[0] if name in OF_ANOTHER_SALE else "gig"
    assert partition.raw("freeze_sale", sale_id, TOKEN)[0] == b"done"
    before = partition.dump()
    reply = partition.raw(name, *arguments)
    if name in OF_NO_SALE:
        assert reply[0].decode() == outcome
    else:
        assert reply == [b"fenced", -1, b"sale_frozen"]
        assert partition.dump() == before


def test_only_one_sale_of_a_partition_is_frozen(partition: ScriptedPartition) -> None:
    furnish(partition)
    partition.raw("freeze_sale", "gig", TOKEN)
    assert partition.raw("freeze_sale", "other", "token-2") == [b"fenced", -1, b"sale_frozen"]
    assert partition.raw("freeze_sale", "gig", "token-2")[0] == b"done"
    assert partition.evaluate("finish_sale", (1, TOKEN, "gig")) == OVERTAKEN
    done = partition.evaluate("finish_sale", (1, "token-2", "gig"))
    assert done[0] == b"done"
    assert partition.evaluate("finish_sale", (1, "token-2", "gig"))[0] == b"unchanged"
    rebuilt = partition.entries()[-1]
    assert (rebuilt.type, rebuilt.sale_id) == ("rebuilt", "gig")
    assert {level.item_id: level for level in rebuilt.levels} == partition.levels("gig")
