"""What is left of Redis's journal is taken over where it follows, and kept for people where not."""

from __future__ import annotations

import orjson
import pytest

from engine.engine import Engine
from engine.errors import Fenced, Unavailable
from engine.outcomes import Outcome
from engine.settings import EngineOptions
from engine.types import CancelReason, LineRequest
from tests.helpers.ruins import CAP, SALE, Ruins
from workers import quarantine
from workers.restored import Rebuilt


async def only(ruins: Ruins, **options: object) -> Rebuilt:
    """Rebuild the sale's partition; what became of it."""
    result = await ruins.rebuild(partition=ruins.partition, **options)
    assert len(result.partitions) == 1
    return result.partitions[0]


async def dropped(ruins: Ruins) -> list[int]:
    rows = await ruins.on.pool.fetch("SELECT sequence FROM dropped_entries ORDER BY sequence")
    return [row["sequence"] for row in rows]


async def tip(ruins: Ruins) -> int:
    return (await ruins.on.engine.journal.status(ruins.partition)).sequence


async def test_what_postgresql_lacked_is_salvaged(ruins: Ruins) -> None:
    late = await ruins.hold("late", "kim")
    await ruins.purse.begin(late)
    await ruins.purse.pay(await ruins.hold("later", "lea"))
    before = await tip(ruins)
    await ruins.redis.delete(ruins.key("meta"), ruins.key("stock", SALE))
    told = await only(ruins, dry_run=True)
    assert (told.salvaged, told.dropped, told.sequence, told.generation) == (6, 0, before, 2)
    done = await only(ruins)
    assert (done.salvaged, done.dropped, done.sequence) == (6, 0, before)
    assert (await ruins.on.reads.booking(late.booking_id)) is not None
    await ruins.check_equal()
    assert await dropped(ruins) == []


async def test_entries_behind_a_gap_are_dropped_and_kept_for_people(ruins: Ruins) -> None:
    kept = await ruins.hold("kept", "kim")
    lost = [await ruins.hold(f"lost-{number}", "lea") for number in range(3)]
    last = await tip(ruins)
    assert await ruins.redis.xdel(ruins.key("journal"), f"{last - 2}-0") == 1
    told = await only(ruins, dry_run=True)
    done = await only(ruins)
    assert (told.salvaged, told.dropped) == (done.salvaged, done.dropped) == (1, 2)
    assert done.dropped_because == f"entry {last - 2} is not there"
    assert await dropped(ruins) == [last - 1, last]
    assert (await ruins.on.engine.bookings.get(kept.booking_id)).outcome is Outcome.FOUND
    for booking in lost:
        assert (await ruins.on.engine.bookings.get(booking.booking_id)).outcome is Outcome.ABSENT
    await ruins.check_equal()


async def test_what_the_model_does_not_accept_is_dropped(ruins: Ruins) -> None:
    await ruins.hold("kept", "kim")
    last = await tip(ruins)
    # Decided on levels that were not there: a stock hash that was lost, and put again.
    await ruins.redis.hincrby(ruins.key("stock", SALE), "seat:available", 7)
    await ruins.hold("lost", "lea")
    done = await only(ruins)
    assert (done.salvaged, done.dropped, done.sequence) == (1, 1, last)
    assert "does not follow from" in (done.dropped_because or "")
    await ruins.check_equal()


async def test_an_unreadable_entry_ends_what_is_salvaged(ruins: Ruins) -> None:
    last = await tip(ruins)
    await ruins.redis.xadd(ruins.key("journal"), {"entry": "{}"}, id=f"{last + 1}-0")
    await ruins.redis.hset(ruins.key("meta"), "sequence", last + 1)
    await ruins.hold("lost", "lea")
    done = await only(ruins)
    assert (done.salvaged, done.dropped) == (0, 2)
    await ruins.check_equal()


async def test_an_older_copy_that_sold_on_is_told_from_what_postgresql_has(ruins: Ruins) -> None:
    copy = {name: await ruins.redis.dump(name) async for name in ruins.redis.scan_iter("*")}
    before = await tip(ruins)
    await ruins.hold("kept", "kim")
    await ruins.drain()
    await ruins.redis.flushall()
    for name, text in copy.items():
        await ruins.redis.restore(name, 0, text)
    with pytest.raises(Fenced, match="sequence"):
        await ruins.hold("refused", "kim")
    await ruins.redis.hdel(ruins.key("meta"), "fenced")
    # A process that knows nothing of PostgreSQL sells on the copy.
    options = EngineOptions.of(ruins.on.settings)
    async with await Engine.open(options) as stranger:
        for customer_id in ("lea", "max"):
            await stranger.bookings.reserve(
                SALE, customer_id, [LineRequest("seat", 1)], f"key-{customer_id}"
            )
    done = await only(ruins)
    assert (done.salvaged, done.dropped, done.sequence) == (0, 2, before + 1)
    assert await dropped(ruins) == [before + 1, before + 2]
    levels = await ruins.on.pool.fetchrow(
        "SELECT available, held FROM items WHERE sale_id = $1 AND item_id = 'seat'", SALE
    )
    assert levels
    sale = await ruins.on.engine.sales.get(SALE)
    assert sale
    assert (sale.levels[0].available, sale.levels[0].held) == tuple(levels)
    await ruins.check_equal()


async def test_an_entry_of_a_newer_writer_refuses_the_rebuild(ruins: Ruins) -> None:
    last = await tip(ruins)
    newer = orjson.dumps({"type": "teleported", "v": 1})
    await ruins.redis.xadd(ruins.key("journal"), {"entry": newer}, id=f"{last + 1}-0")
    await ruins.redis.hset(ruins.key("meta"), "sequence", last + 1)
    for dry_run in (True, False):
        result = await ruins.try_to_rebuild(partition=ruins.partition, dry_run=dry_run)
        assert "teleported" in result.refused[ruins.partition]
    entries = await ruins.redis.xrange(ruins.key("journal"), f"{last + 1}-0")
    assert len(entries) == 1, "nothing is removed before it is understood"
    # The newer writer that is about goes on selling.
    await ruins.hold("sold", "lea")


async def test_a_partition_with_entries_in_quarantine_is_refused_untouched(ruins: Ruins) -> None:
    last = await tip(ruins)
    await ruins.redis.xadd(ruins.key("journal"), {"entry": "{}"}, id=f"{last + 1}-0")
    await ruins.redis.hset(ruins.key("meta"), "sequence", last + 1)
    await ruins.drain()
    result = await ruins.try_to_rebuild(partition=ruins.partition)
    assert "quarantine" in result.refused[ruins.partition]
    await ruins.hold("sold", "lea")


async def test_a_difference_in_postgresql_stops_the_rebuild_before_it_opens(ruins: Ruins) -> None:
    await ruins.on.pool.execute("UPDATE items SET held = held + 1 WHERE item_id = 'seat'")
    result = await ruins.try_to_rebuild(partition=ruins.partition)
    assert "units of customers" in result.refused[ruins.partition]
    with pytest.raises(Fenced, match="rebuilding"):
        await ruins.hold("refused", "lea")
    await ruins.on.pool.execute("UPDATE items SET held = held - 1 WHERE item_id = 'seat'")
    await ruins.rebuild()
    await ruins.check_equal()


async def test_a_booking_whose_entry_was_discarded_is_restored_from_that_entry(
    ruins: Ruins,
) -> None:
    """Its units are in the levels, and Redis never heard that it was given up."""
    database = ruins.on.pool
    await database.execute(
        "ALTER TABLE bookings ADD CONSTRAINT not_kim CHECK (customer_id <> 'kim') NOT VALID"
    )
    given_up = await ruins.hold("given-up", "kim")
    at = await tip(ruins)
    await ruins.drain()
    await database.execute("ALTER TABLE bookings DROP CONSTRAINT not_kim")
    with pytest.raises(Unavailable, match="quarantine"):
        await ruins.on.reads.booking(given_up.booking_id)
    refused = await ruins.try_to_rebuild(partition=ruins.partition)
    assert "quarantine" in refused.refused[ruins.partition]
    await quarantine.discard(ruins.on.settings, ruins.partition, at, "test", "a test", as_json=True)
    await ruins.redis.flushall()
    await ruins.rebuild()
    found = (await ruins.on.engine.bookings.get(given_up.booking_id)).booking
    assert found == given_up
    ruins.keys_of["more"] = "k2"
    refusal = await ruins.send("more", "kim", quantity=CAP)
    assert refusal.outcome is Outcome.CUSTOMER_LIMIT, "its units count"
    assert (await ruins.send("given-up", "kim")).outcome is Outcome.REPLAYED
    await ruins.on.engine.bookings.cancel(given_up.booking_id, CancelReason.CUSTOMER)
    await ruins.check_equal()
