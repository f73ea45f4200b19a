"""A Redis that does not follow from what PostgreSQL has is closed before it can sell twice."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from prometheus_client import REGISTRY

from engine.errors import Fenced
from engine.types import Floor
from persistence.drain import Drain, DrainStopped
from tests.helpers.ledger import Ledger, booking_entry, concert, open_ledger, sale_entry


@pytest_asyncio.fixture
async def ledger(redis_url: str, database_url: str) -> AsyncIterator[Ledger]:
    async with open_ledger(redis_url, database_url) as opened:
        await opened.engine.sales.put(concert())
        for _ in range(3):
            await opened.hold()
        yield opened


def partition_of(ledger: Ledger) -> int:
    return ledger.engine.keys.partition_of_sale("concert")


def stopped(partition: int, reason: str) -> float:
    labels = {"partition": str(partition), "reason": reason}
    return REGISTRY.get_sample_value("holdfast_drain_stopped", labels) or 0.0


async def assert_fences(ledger: Ledger, reason: str) -> None:
    """The drain fences, says so, moves nothing, and nobody sells any more."""
    partition = partition_of(ledger)
    before = await ledger.reads.cursors()
    with pytest.raises(Fenced, match=reason):
        await ledger.drain.run_once(partition)
    assert (await ledger.engine.journal.status(partition)).fenced == reason
    assert stopped(partition, reason) == 1
    with pytest.raises(Fenced, match=reason):
        await ledger.hold()
    with pytest.raises(Fenced, match=reason):
        await ledger.drain.run_once(partition)
    assert await ledger.reads.cursors() == before


async def test_a_journal_without_the_entry_at_the_cursor_is_fenced(ledger: Ledger) -> None:
    await ledger.drain_all()
    journal = ledger.engine.keys.key("journal", partition_of(ledger))
    assert await ledger.redis.xdel(journal, "4-0") == 1
    await assert_fences(ledger, "journal_gap")


async def test_a_journal_whose_next_entry_is_not_the_successor_is_fenced(ledger: Ledger) -> None:
    journal = ledger.engine.keys.key("journal", partition_of(ledger))
    assert await ledger.redis.xdel(journal, "3-0") == 1
    await assert_fences(ledger, "journal_gap")


async def test_a_journal_that_lacks_its_last_entry_is_fenced(ledger: Ledger) -> None:
    await ledger.drain_all()
    await ledger.hold()
    journal = ledger.engine.keys.key("journal", partition_of(ledger))
    assert await ledger.redis.xdel(journal, "5-0") == 1
    await assert_fences(ledger, "journal_gap")


async def test_a_journal_that_is_gone_is_fenced(ledger: Ledger) -> None:
    assert await ledger.redis.delete(ledger.engine.keys.key("journal", partition_of(ledger))) == 1
    await assert_fences(ledger, "journal_gap")


async def test_a_journal_with_another_entry_at_the_cursor_is_fenced(ledger: Ledger) -> None:
    await ledger.drain_all()
    partition = partition_of(ledger)
    journal = ledger.engine.keys.key("journal", partition)
    assert await ledger.redis.delete(journal) == 1
    await ledger.redis.xadd(journal, {"entry": booking_entry("held", 1, 1)}, id="4-0")
    await assert_fences(ledger, "journal_mismatch")


async def test_a_redis_older_than_postgresql_is_fenced_by_a_drain_that_just_started(
    ledger: Ledger,
) -> None:
    await ledger.drain_all()
    partition = partition_of(ledger)
    await ledger.set_meta(partition, "sequence", "3")
    await ledger.redis.xdel(ledger.engine.keys.key("journal", partition), "4-0")
    drain = Drain(ledger.pool, ledger.engine)
    with pytest.raises(Fenced, match="sequence"):
        await drain.run_once(partition)
    assert "sequence" in ((await ledger.engine.journal.status(partition)).fenced or "")


async def test_a_redis_that_was_emptied_is_fenced_and_not_started_again(ledger: Ledger) -> None:
    await ledger.drain_all()
    await ledger.redis.flushall()
    with pytest.raises(Fenced, match="meta_missing"):
        await ledger.drain.run_once(partition_of(ledger))
    assert await ledger.redis.dbsize() == 0


async def test_a_postgresql_older_than_the_last_rebuild_is_fenced(ledger: Ledger) -> None:
    await ledger.drain_all()
    partition = partition_of(ledger)
    await ledger.set_meta(partition, "generation", "2")
    ledger.engine.partitions.observe(partition, 2, 4)
    await assert_fences(ledger, "generation")


async def test_a_journal_that_another_drain_moved_on_and_trimmed_is_not_fenced(
    ledger: Ledger,
) -> None:
    partition = partition_of(ledger)
    assert await ledger.drain.run_once(partition) == 4
    other = Drain(ledger.pool, ledger.engine)
    await ledger.hold()
    assert await other.run_once(partition) == 1
    # What the first one still takes for its cursor's entry is gone.
    assert await ledger.redis.xdel(ledger.engine.keys.key("journal", partition), "4-0") == 1
    assert await ledger.drain.run_once(partition) == 0
    await ledger.hold()
    assert await ledger.drain.run_once(partition) == 1
    assert (await ledger.engine.journal.status(partition)).fenced is None


async def test_a_partition_that_was_never_started_is_not_drained(ledger: Ledger) -> None:
    partition = partition_of(ledger)
    await ledger.pool.execute(
        "UPDATE partitions SET initialised_at = NULL WHERE partition = $1", partition
    )
    assert await ledger.drain.run_once(partition) == 0
    assert (await ledger.reads.cursors()).get(partition) is None


@pytest.mark.parametrize("newer", [{"type": "teleported"}, {"v": 2}])
async def test_an_entry_of_a_newer_writer_stops_the_drain_after_what_came_before_it(
    ledger: Ledger, newer: dict[str, Any]
) -> None:
    partition = partition_of(ledger)
    await ledger.append(partition, booking_entry("held", 1, 1, **newer), sale_entry(version=2))
    assert await ledger.drain.run_once(partition) == 4
    for _ in range(2):
        with pytest.raises(DrainStopped, match=r"entry 5: type (teleported|held), version"):
            await ledger.drain.run_once(partition)
    assert stopped(partition, "unknown_entry") == 1
    status = await ledger.engine.journal.status(partition)
    assert (status.fenced, status.drained) == (None, 4)
    assert (await ledger.reads.cursors())[partition] == Floor(1, 4)
    await ledger.hold()


async def test_a_drain_that_goes_on_takes_its_alarm_back(ledger: Ledger) -> None:
    partition = partition_of(ledger)
    await ledger.append(partition, booking_entry("held", 1, 1, type="teleported"))
    assert await ledger.drain.run_once(partition) == 4
    with pytest.raises(DrainStopped):
        await ledger.drain.run_once(partition)
    journal = ledger.engine.keys.key("journal", partition)
    await ledger.redis.xdel(journal, "5-0")
    await ledger.set_meta(partition, "sequence", "4")
    # As if a newer drain had taken it over, and this code were new enough now.
    drain = Drain(ledger.pool, ledger.engine)
    drain._alarms = ledger.drain._alarms
    ledger.engine.partitions._seen[partition] = 4
    assert await drain.run_once(partition) == 0
    assert stopped(partition, "unknown_entry") == 0
