"""`holdfast backlog prune`: old rows leave the journal, and everything else goes on as before."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from engine.errors import SettingsError
from engine.outcomes import Outcome
from engine.types import Booking, CancelReason, Status
from persistence.audit import Audit
from persistence.pruning import JournalAltered, JournalInUse, Pruning
from tests.helpers.pruning import pruned
from tests.helpers.purse import OWNER
from tests.helpers.ruins import Ruins, open_ruins
from workers import prune, verify

EVENT = "event_id, type, subject, subject_sequence, partition, sequence"


@pytest.fixture
async def ruins(redis_url: str, database_url: str) -> AsyncIterator[Ruins]:
    """Everything drained, every payment at rest, all events out, all captures reconciled."""
    async with open_ruins(redis_url, database_url) as opened:
        await opened.furnish()
        await opened.purse.decline(await now(opened, "authorizing"))
        await opened.purse.decline(await opened.purse.claim(await now(opened, "unknown")))
        await opened.purse.capture(await now(opened, "capturing"))
        await give_back(opened, "refunding")
        await opened.on.drain_all()
        await settle(opened)
        yield opened


async def now(ruins: Ruins, name: str) -> Booking:
    """A booking as it is."""
    found = (await ruins.on.engine.bookings.get(ruins.bookings[name].booking_id)).booking
    assert found
    return found


async def give_back(ruins: Ruins, name: str) -> None:
    """End a refund that was begun."""
    engine = ruins.on.engine
    claimed = await ruins.purse.claim(await now(ruins, name))
    assert (await engine.payments.refunded(claimed, OWNER)).outcome is Outcome.REFUNDED


async def settle(ruins: Ruins) -> None:
    """What a relay and a reconciler would have done by then."""
    await ruins.on.pool.execute("DELETE FROM outbox")
    await ruins.on.pool.execute(
        "INSERT INTO reconciler VALUES ('simulator', $1)"
        " ON CONFLICT (gateway) DO UPDATE SET checked_until_ms = excluded.checked_until_ms",
        time.time_ns() // 1_000_000 + 7 * 24 * 3600 * 1000,
    )


async def equal(ruins: Ruins) -> int:
    """Verify, which must find nothing; answers how many entries it has folded."""
    report = await verify.compare(ruins.on.settings)
    assert not report.differences
    return report.journal_entries


async def rows(ruins: Ruins) -> int:
    count: int = await ruins.on.pool.fetchval(
        "SELECT count(*) FROM journal WHERE partition = $1", ruins.partition
    )
    return count


async def test_all_but_the_entry_at_the_cursor_may_go_and_the_books_stay_equal(
    ruins: Ruins, capsys: pytest.CaptureFixture[str]
) -> None:
    before = await rows(ruins)
    capsys.readouterr()
    assert await pruned(ruins.on, dry_run=True) == 0
    told: Any = json.loads(capsys.readouterr().out)
    assert (told["dry_run"], told["entries"], await rows(ruins)) == (True, before - 1, before)

    assert await pruned(ruins.on) == before - 1
    told = json.loads(capsys.readouterr().out)
    mine = next(one for one in told["partitions"] if one["partition"] == ruins.partition)
    assert mine == {
        "partition": ruins.partition,
        "entries": before - 1,
        "bytes": told["bytes"],
        "base": before - 1,
        "kept_for": "cursor",
    }
    assert await rows(ruins) == 1
    assert await equal(ruins) == 1
    assert await pruned(ruins.on) == before - 1


async def test_bookings_from_before_the_base_go_on(ruins: Ruins) -> None:
    await pruned(ruins.on)
    bookings, named = ruins.on.engine.bookings, ruins.bookings
    assert (await now(ruins, "paid")).status is Status.CONFIRMED
    await bookings.cancel(named["held"].booking_id, CancelReason.CUSTOMER)
    await bookings.cancel(named["paid"].booking_id, CancelReason.CUSTOMER)
    await give_back(ruins, "paid")
    await bookings.cancel(named["free"].booking_id, CancelReason.OPERATOR)
    await ruins.on.confirm(await ruins.hold("after", "kim", "stand"))
    await ruins.purse.pay(named["extended"])
    await ruins.on.put("other")
    await ruins.on.drain_all()
    assert await equal(ruins) > 1

    # What was cancelled has kept entries now; the next base lies between them.
    await settle(ruins)
    base = (await Audit(ruins.on.pool).base(ruins.partition)).sequence
    await Pruning(ruins.on.pool).drop(ruins.partition, base + 4)
    assert await equal(ruins) > 1


async def test_a_rebuild_after_a_prune_brings_everything_back(ruins: Ruins) -> None:
    await pruned(ruins.on)
    again = await ruins.hold("late", "kim")
    await ruins.on.drain_all()
    await ruins.redis.flushall()
    await ruins.rebuild()
    await ruins.drain()
    await equal(ruins)
    replayed = await ruins.send("late", "kim")
    assert (replayed.outcome, replayed.booking) == (Outcome.REPLAYED, again)
    await ruins.on.engine.bookings.cancel(ruins.bookings["held"].booking_id, CancelReason.CUSTOMER)
    await ruins.drain()
    await equal(ruins)


async def test_interrupted_between_two_steps_it_goes_on_where_it_was(ruins: Ruins) -> None:
    before = await rows(ruins)
    for steps in (1, 2):
        assert await Pruning(ruins.on.pool).drop(ruins.partition, before, 3) == 3
        assert await rows(ruins) == before - 3 * steps
        assert await equal(ruins) >= before - 3 * steps
    assert await pruned(ruins.on, limit=2) == before - 1
    await equal(ruins)


async def test_what_something_needs_stays_with_all_that_is_after_it(
    ruins: Ruins, capsys: pytest.CaptureFixture[str]
) -> None:
    pool, partition = ruins.on.pool, ruins.partition

    async def kept_for() -> tuple[str, int]:
        capsys.readouterr()
        base = await pruned(ruins.on, dry_run=True)
        assert base == 0
        told: Any = json.loads(capsys.readouterr().out)
        mine = next(one for one in told["partitions"] if one["partition"] == partition)
        return mine["kept_for"], mine["base"]

    await pool.execute("UPDATE reconciler SET checked_until_ms = 0")
    assert await kept_for() == ("reconciler", 0)
    await settle(ruins)
    await pool.execute(f"INSERT INTO outbox ({EVENT}) VALUES ('e', 't', 's', 1, $1, 9)", partition)
    assert await kept_for() == ("outbox", 8)
    await pool.execute(
        f"INSERT INTO deliveries (destination, {EVENT}) VALUES ('d', 'e', 't', 's', 1, $1, 8)",
        partition,
    )
    assert await kept_for() == ("deliveries", 7)
    await pool.execute("INSERT INTO stream_queue VALUES (1, 'e', 't', 1, $1, 7)", partition)
    assert await kept_for() == ("stream", 6)
    for table in ("outbox", "deliveries", "stream_queue"):
        await pool.execute(f"DELETE FROM {table}")
    await pool.execute(
        "INSERT INTO quarantine (partition, sequence, generation, reason, detail, deltas, entry)"
        " VALUES ($1, 6, 1, 'refused', 'no', '', '')",
        partition,
    )
    assert await kept_for() == ("quarantine", 5)
    await pool.execute("DELETE FROM quarantine")
    begun = await ruins.purse.begin(ruins.bookings["held"])
    await ruins.hold("after", "kim")
    await ruins.on.drain_all()
    await settle(ruins)
    why, base = await kept_for()
    assert why == "payment"
    assert base < await pool.fetchval(
        "SELECT min(sequence) FROM journal WHERE booking_id = $1 AND type = 'payment_begun'",
        begun.booking_id,
    )


async def test_what_is_young_is_refused(ruins: Ruins) -> None:
    now_ms = time.time_ns() // 1_000_000
    options: dict[str, Any] = {"dry_run": False, "as_json": True}
    with pytest.raises(SettingsError, match="too near: entries of the last 7 days are kept"):
        await prune.prune(ruins.on.settings, older_than_days=6, **options)
    with pytest.raises(SettingsError, match="too near"):
        await prune.prune(ruins.on.settings, before_ms=now_ms, **options)
    before = await rows(ruins)
    await prune.prune(ruins.on.settings, older_than_days=7, **options)
    assert await rows(ruins) == before


async def test_nothing_is_dropped_while_somebody_reads_the_journal(ruins: Ruins) -> None:
    before = await rows(ruins)
    async with Audit(ruins.on.pool).nothing_is_dropped():
        with pytest.raises(JournalInUse):
            await pruned(ruins.on)
    assert await rows(ruins) == before
    assert await pruned(ruins.on) == before - 1


async def test_a_row_that_was_altered_is_not_dropped(ruins: Ruins) -> None:
    await ruins.on.pool.execute(
        "UPDATE journal SET entry = entry || ' ' WHERE partition = $1 AND sequence = 5",
        ruins.partition,
    )
    with pytest.raises(JournalAltered, match="entry 5"):
        await pruned(ruins.on, limit=2)
    assert (await Audit(ruins.on.pool).base(ruins.partition)).sequence == 4


ALTERATIONS = (
    (
        "UPDATE journal SET entry = entry || ' ' WHERE partition = $1 AND sequence = $2 + 1",
        "does not follow by its chain",
    ),
    ("DELETE FROM journal WHERE partition = $1 AND sequence = $2 + 3", "the journal lacks"),
    (
        "INSERT INTO journal SELECT partition, $2 - 1, generation, at_ms, type, booking_id,"
        " sale_id, entry, chain FROM journal WHERE partition = $1 AND sequence = $2 + 1",
        "the journal has entry",
    ),
    ("UPDATE items SET sold = sold + $2 WHERE item_id = 'stand' AND $1 >= 0", "levels is"),
    (
        "UPDATE bookings SET status = 'COMPLETED' WHERE status = 'CONFIRMED'"
        " AND partition = $1 AND sequence > $2",
        "status is COMPLETED",
    ),
    (
        "DELETE FROM bookings WHERE status = 'PENDING' AND partition = $1 AND sequence <= $2",
        "holds",
    ),
    (
        "UPDATE partitions SET base_bytes = base_bytes + $2 WHERE partition = $1",
        "bytes up to the cursor",
    ),
)


async def test_what_was_altered_after_a_prune_is_found(ruins: Ruins) -> None:
    base = await pruned(ruins.on)
    await ruins.purse.pay(ruins.bookings["extended"])
    await ruins.on.drain_all()
    await equal(ruins)
    for statement, _ in ALTERATIONS:
        done = await ruins.on.pool.execute(statement, ruins.partition, base)
        assert not done.endswith(" 0"), (statement, done)
    differences = (await verify.compare(ruins.on.settings)).differences
    for statement, words in ALTERATIONS:
        assert any(words in line for line in differences), (statement, differences)
