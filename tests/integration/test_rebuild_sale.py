"""One sale is rebuilt while the others of its partition go on selling."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from engine.errors import Fenced
from engine.keys import Keys
from engine.outcomes import Outcome
from engine.types import Status
from tests.helpers.interrupted import Crash, Steps, end_sessions_with_locks, standing
from tests.helpers.ruins import HOLD_MS, SALE, Ruins, open_ruins
from tests.integration.test_rebuild import kept

NEIGHBOUR = next(
    name
    for name in (f"neighbour-{number}" for number in range(1000))
    if Keys(4).partition_of_sale(name) == Keys(4).partition_of_sale(SALE)
)


@pytest.fixture
async def ruins(redis_url: str, database_url: str) -> AsyncIterator[Ruins]:
    async with open_ruins(redis_url, database_url) as opened:
        await opened.furnish()
        await opened.on.put(NEIGHBOUR)
        yield opened


async def damage(ruins: Ruins) -> None:
    """What nobody notices, and what everybody does."""
    await ruins.redis.hincrby(ruins.key("stock", SALE), "seat:available", 3)
    await ruins.redis.delete(
        ruins.key("customers", SALE),
        ruins.key("deadlines", SALE),
        ruins.key("booking", ruins.bookings["capturing"].booking_id),
    )


async def left(ruins: Ruins) -> dict[str, Any]:
    """What lies in Redis, but for when it is looked at."""
    found = kept(await ruins.dump())
    for name in ("payments", "due"):
        found[name] = set(found.get(name, ()))
    return found


async def test_a_sale_is_written_anew_and_its_neighbour_sells_on(ruins: Ruins) -> None:
    before = await left(ruins)
    await damage(ruins)
    async with standing(ruins.rebuild_sale(), "restore_bookings") as rebuild:
        with pytest.raises(Fenced, match="sale_frozen"):
            await ruins.hold("refused", "kim")
        for name in ("held", "authorizing"):
            booking_id = ruins.bookings[name].booking_id
            with pytest.raises(Fenced, match="sale_frozen"):
                await ruins.on.engine.bookings.extend(booking_id)
        sold = await ruins.on.hold("kim", sale_id=NEIGHBOUR)
        await ruins.on.confirm(sold)
    result = rebuild.result()
    assert not result.refused
    (done,) = result.sales
    assert (done.sale_id, done.holds, done.payments, done.generation) == (SALE, 5, 4, 1)
    after = await left(ruins)
    assert {name for name in after if after[name] != before.get(name)} == {
        f"customers:{NEIGHBOUR}",
        f"stock:{NEIGHBOUR}",
        *(name for name in after if name.startswith("idempotency:") and name not in before),
    }
    assert before.keys() <= after.keys()
    await ruins.hold("sold", "kim")
    await ruins.check_equal()
    text = await ruins.on.pool.fetchval("SELECT entry FROM journal WHERE type = 'rebuilt'")
    assert b'"sale_id":"concert"' in text
    assert b"seat:" in text


async def test_a_sweeper_passes_over_a_sale_that_is_frozen(ruins: Ruins) -> None:
    held = await ruins.on.hold("kim", sale_id=NEIGHBOUR)
    await ruins.on.engine.restore.freeze(ruins.partition, SALE)
    await ruins.redis.hset(ruins.key("meta"), "last_ms", held.created_ms + HOLD_MS)
    assert await ruins.on.engine.bookings.sweep(ruins.partition, 100) == 1
    now = (await ruins.on.engine.bookings.get(held.booking_id)).booking
    assert now
    assert now.status is Status.CANCELLED


async def test_a_booking_that_left_redis_is_not_loaded_into_a_frozen_sale(ruins: Ruins) -> None:
    await ruins.drain()
    await ruins.redis.delete(ruins.key("booking", ruins.bookings["gone"].booking_id))
    await ruins.on.engine.restore.freeze(ruins.partition, SALE)
    with pytest.raises(Fenced, match="sale_frozen"):
        await ruins.on.engine.bookings.complete(ruins.bookings["gone"].booking_id)


async def test_a_rebuild_of_a_sale_that_ended_at_any_step_is_finished_by_the_next(
    ruins: Ruins,
) -> None:
    before = await left(ruins)
    crash_at, names = 0, []
    while True:
        crash_at += 1
        await damage(ruins)
        with pytest.MonkeyPatch.context() as patch:
            steps = Steps(patch)
            steps.crash_at = crash_at
            try:
                await ruins.rebuild_sale()
                break
            except Crash:
                names.append(steps.names[-1])
        if "finish_sale" not in steps.names[:-1]:
            # Left frozen, it is what a rebuild of all that needs it begins with.
            frozen = (await ruins.on.engine.journal.status(ruins.partition)).frozen
            result = await (ruins.rebuild() if frozen else ruins.rebuild_sale())
            assert [one.sale_id for one in result.sales] == [SALE], names
        assert await left(ruins) == before, names
    assert {"forget_keys", "restore_sale", "restore_records", "finish_sale"} <= set(names)
    await ruins.check_equal()


@pytest.mark.parametrize("stop_at", ["forget_keys", "restore_bookings", "finish_sale"])
async def test_a_rebuild_of_a_sale_that_wakes_up_late_writes_nothing(
    stop_at: str, ruins: Ruins
) -> None:
    await damage(ruins)
    async with standing(ruins.rebuild_sale(), stop_at) as late:
        locked = await ruins.rebuild_sale()
        assert "another rebuild" in locked.refused[ruins.partition]
        await end_sessions_with_locks(ruins.on.pool)
        assert not (await ruins.rebuild_sale()).refused
        await ruins.hold("sold", "kim")
        dumped = await ruins.dump()
    assert "overtaken" in late.result().refused[ruins.partition]
    assert await ruins.dump() == dumped
    await ruins.check_equal()


async def test_a_sale_of_a_partition_that_is_fenced_is_refused(ruins: Ruins) -> None:
    unknown = await ruins.rebuild_sale("nowhere")
    assert "no such sale" in next(iter(unknown.refused.values()))
    await ruins.on.engine.journal.fence(ruins.partition, "operator")
    result = await ruins.rebuild_sale()
    assert "its partition is fenced: operator" in result.refused[ruins.partition]


async def test_a_rebuild_of_the_partition_ends_that_of_a_sale(ruins: Ruins) -> None:
    await ruins.on.engine.restore.freeze(ruins.partition, SALE)
    other = await ruins.rebuild_sale(NEIGHBOUR)
    assert "another sale" in other.refused[ruins.partition]
    await ruins.rebuild(partition=ruins.partition)
    await ruins.hold("sold", "kim")
    await ruins.drain()
    told = await ruins.rebuild_sale(dry_run=True)
    assert (told.sales[0].holds, told.sales[0].records) == (6, 15)
    assert (await ruins.send("sold", "kim")).outcome is Outcome.REPLAYED
