"""The levels of a whole sale, compared with PostgreSQL's sums at the very entry that says them."""

from __future__ import annotations

from collections.abc import AsyncIterator

import orjson
import pytest_asyncio
from prometheus_client import REGISTRY

from engine.engine import Engine
from engine.outcomes import Outcome
from engine.types import LineRequest
from tests.helpers.ledger import NOON_MS, Ledger, booking_entry, concert, open_ledger, sale_entry
from workers.snapshots import Snapshotter

PARTITION = 0


@pytest_asyncio.fixture
async def ledger(redis_url: str, database_url: str) -> AsyncIterator[Ledger]:
    async with open_ledger(redis_url, database_url) as opened:
        yield opened


def mismatches() -> float:
    return REGISTRY.get_sample_value("holdfast_level_mismatches_total") or 0.0


def snapshot(levels: str) -> bytes:
    return orjson.dumps(
        {
            "type": "snapshot",
            "v": 1,
            "at_ms": NOON_MS,
            "sale_id": "concert",
            "deltas": "",
            "levels": levels,
            "trace": "",
        }
    )


def held(number: int, available: int, held: int, **fields: str) -> bytes:
    levels = f"seat:{available}:{held}:0"
    return booking_entry("held", number, 1, deltas="seat:-2:2:0", levels=levels, **fields)


async def counted(ledger: Ledger, *entries: bytes) -> float:
    """How many disagreements entries bring about."""
    before = mismatches()
    await ledger.append(PARTITION, *entries)
    while await ledger.drain.run_once(PARTITION):
        pass
    return mismatches() - before


async def test_a_snapshot_in_the_middle_of_a_batch_is_compared_where_it_is(ledger: Ledger) -> None:
    assert await counted(ledger, sale_entry(), snapshot("seat:100:0:0"), held(1, 98, 2)) == 0
    more = (snapshot("seat:98:2:0"), held(2, 96, 4), snapshot("seat:96:4:0"), held(3, 94, 6))
    assert await counted(ledger, *more) == 0
    assert await counted(ledger, held(4, 92, 8), snapshot("seat:94:6:0"), held(5, 90, 10)) == 1
    assert await ledger.rows("SELECT count(*) FROM journal WHERE type = 'snapshot'") == [(4,)]
    assert await ledger.rows("SELECT DISTINCT type FROM outbox ORDER BY type") == [
        ("booking.held",),
        ("sale.changed",),
    ]


async def test_levels_that_drifted_without_an_entry_are_found_by_the_next_snapshot(
    ledger: Ledger,
) -> None:
    assert await counted(ledger, sale_entry(), held(1, 98, 2)) == 0
    await ledger.pool.execute("UPDATE items SET available = available + 1")
    assert await counted(ledger, snapshot("seat:98:2:0")) == 1
    assert await counted(ledger, snapshot("seat:98:2:0,stand:5:0:0")) == 2


async def test_what_is_in_quarantine_before_a_snapshot_is_accounted_for(ledger: Ledger) -> None:
    entries = (
        sale_entry(),
        held(1, 98, 2, customer_id="an\0n"),
        snapshot("seat:98:2:0"),
        held(2, 96, 4, customer_id="an\0n"),
        held(3, 94, 6),
    )
    assert await counted(ledger, *entries) == 0
    assert await ledger.rows("SELECT sequence FROM quarantine ORDER BY sequence") == [(2,), (4,)]
    assert await counted(ledger, snapshot("seat:94:6:0")) == 0
    assert await counted(ledger, snapshot("seat:96:4:0")) == 1


async def test_the_worker_snapshots_what_changed_and_nothing_twice(ledger: Ledger) -> None:
    now_s = 0.0
    first, second = (Snapshotter(ledger.engine, clock=lambda: now_s) for _ in range(2))
    names = [f"gig-{number:02}" for number in range(40)]
    for name in names:
        await ledger.engine.sales.put(concert(name))
    written = 0
    for _ in range(3):
        written += await first.run_once() + await second.run_once()
    assert written == len(names)
    await ledger.engine.bookings.reserve(names[7], "ann", [LineRequest("seat", 1)], "k")
    assert await first.run_once() == 0, "not before some time has passed"
    now_s += 31
    assert sum([await first.run_once() for _ in range(3)]) == 1
    assert await ledger.engine.sales.snapshot(names[7]) is Outcome.UNCHANGED
    assert await ledger.engine.sales.snapshot("nothing") is Outcome.UNKNOWN_SALE
    before = mismatches()
    await ledger.drain_all()
    assert mismatches() == before
    assert await ledger.rows("SELECT count(*) FROM journal WHERE type = 'snapshot'") == [(41,)]


async def test_a_piece_of_the_loop_pauses_even_where_it_wrote(ledger: Ledger) -> None:
    engine: Engine = ledger.engine
    await engine.sales.put(concert())
    assert await Snapshotter(engine).loop._run_once() == 0
    assert await engine.sales.snapshot("concert") is Outcome.UNCHANGED
