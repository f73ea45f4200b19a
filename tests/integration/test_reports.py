"""Reports from PostgreSQL are what a slow recount of the journal is, whatever the drain met."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from itertools import pairwise

import pytest
import pytest_asyncio

from engine.journal import Entry, parse_entry
from engine.limits import MAX_SERIES_STEPS
from persistence.migrate import read_migrations
from persistence.reports import DAY_MS, GroupBy, Reports, Series
from persistence.rollups import COARSE_MS, FINE_MS
from tests.helpers.ledger import NOON_MS, Ledger, booking_entry, open_ledger, sale_entry
from tests.helpers.made_journal import MIDNIGHT_MS, MadeJournal
from tests.helpers.recount import Recount

PARTITION = 0
ROWS = 10_000
SALES = ("a", "b", "c", "d")
END_MS = MIDNIGHT_MS + 6 * DAY_MS


@dataclass(frozen=True, slots=True)
class Books:
    """What was drained, and counted again."""

    ledger: Ledger
    reports: Reports
    entries: tuple[Entry, ...]
    recount: Recount


@pytest_asyncio.fixture
async def ledger(redis_url: str, database_url: str) -> AsyncIterator[Ledger]:
    async with open_ledger(redis_url, database_url, batch_entries=397) as opened:
        yield opened


async def drained(ledger: Ledger, made: MadeJournal) -> Books:
    """Drain a made journal in batches that end anywhere."""
    texts = list(made.texts())
    await ledger.append(PARTITION, *texts)
    assert await ledger.drain_all() == len(texts)
    assert await ledger.rows("SELECT * FROM quarantine") == []
    entries = tuple(parse_entry(sequence, text) for sequence, text in enumerate(texts, 1))
    recount = Recount()
    for entry in entries:
        recount.add(entry)
    return Books(ledger, Reports(ledger.pool), entries, recount)


async def test_reports_are_what_a_recount_of_the_journal_is(ledger: Ledger) -> None:
    books = await drained(ledger, MadeJournal(480, SALES, days=4, seed=3))
    summary, recount = books.reports.summary, books.recount
    total = await summary(None, None, None, None, ROWS)
    assert list(total) == recount.summary()
    assert sum(row.revenue for row in total) == recount.revenue() > 0
    for by_day, by_sale, group_by in ((True, False, GroupBy.DAY), (False, True, GroupBy.SALE)):
        rows = await summary(None, None, None, group_by, ROWS)
        assert list(rows) == recount.summary(by_day=by_day, by_sale=by_sale)
        first, last = MIDNIGHT_MS + DAY_MS, MIDNIGHT_MS + 2 * DAY_MS
        some = await summary(first, last, "b", group_by, ROWS)
        assert list(some) == recount.summary(
            by_day=by_day, first_ms=first, last_ms=last, sale_id="b"
        )
        assert some
    assert await summary(END_MS + DAY_MS, None, None, None, ROWS) == ()
    assert await summary(None, None, "nowhere", GroupBy.DAY, ROWS) == ()
    by_day_rows = await summary(None, None, None, GroupBy.DAY, ROWS)
    assert await summary(None, None, None, GroupBy.DAY, 3) == by_day_rows[:3]
    await _check_series(books, "a")


async def _check_series(books: Books, sale_id: str) -> None:
    """Hold a sale's course at every point against the levels that entries carry."""
    whole = await books.reports.series(sale_id, None, None)
    assert whole
    assert whole.interval_ms == 1_800_000
    windows = [
        (None, None, FINE_MS, COARSE_MS),
        (MIDNIGHT_MS + DAY_MS + 7, MIDNIGHT_MS + DAY_MS + COARSE_MS + 3, FINE_MS, FINE_MS),
        (MIDNIGHT_MS + DAY_MS + COARSE_MS // 2, None, FINE_MS, COARSE_MS),
        (0, 2**52, FINE_MS, COARSE_MS),
    ]
    for from_ms, to_ms, at_least_ms, at_most_ms in windows:
        series = await books.reports.series(sale_id, from_ms, to_ms)
        assert series
        assert at_least_ms <= series.interval_ms <= at_most_ms
        _check_points(books, sale_id, series)
    after = await books.reports.series(sale_id, END_MS + DAY_MS, None)
    assert after
    assert len(after.points) == 1
    assert after.points[0].sold == whole.points[-1].sold
    assert await books.reports.series("nowhere", None, None) is None


def _check_points(books: Books, sale_id: str, series: Series) -> None:
    assert 1 < len(series.points) <= MAX_SERIES_STEPS + 1
    for point in series.points:
        stood = books.recount.stood_at(sale_id, point.at_ms)
        assert (point.sold, point.capacity) == stood, point
    steps = [after.at_ms - point.at_ms for point, after in pairwise(series.points)]
    assert set(steps) == {series.interval_ms}


async def test_what_was_drained_before_there_were_reports_is_counted_by_the_migration(
    ledger: Ledger,
) -> None:
    await drained(ledger, MadeJournal(320, SALES, days=4, seed=4))
    await ledger.append(PARTITION, b"no entry", booking_entry("expired", 999_999, 2))
    await ledger.drain_all()
    tables = ("sale_days", "sale_steps")
    before = [await ledger.rows(f"SELECT * FROM {name} ORDER BY 1, 2, 3") for name in tables]
    assert all(before)
    (script,) = [one for one in read_migrations() if one.description == "reports"]
    await ledger.pool.execute(f"DROP TABLE {', '.join(tables)}")
    await ledger.pool.execute(script.sql)
    after = [await ledger.rows(f"SELECT * FROM {name} ORDER BY 1, 2, 3") for name in tables]
    assert after == before


async def test_a_course_of_years_is_read_from_whole_hours(ledger: Ledger) -> None:
    books = await drained(ledger, MadeJournal(320, ("a",), days=400, seed=5))
    series = await books.reports.series("a", None, None)
    assert series
    assert series.interval_ms == DAY_MS
    _check_points(books, "a", series)
    zoomed = await books.reports.series("a", MIDNIGHT_MS + 99 * DAY_MS, END_MS + 99 * DAY_MS)
    assert zoomed
    assert zoomed.interval_ms < COARSE_MS
    _check_points(books, "a", zoomed)


async def test_a_sale_that_sold_nothing_has_no_course(ledger: Ledger) -> None:
    held = booking_entry("held", 1, 1, deltas="seat:-2:2:0", levels="seat:98:2:0")
    await ledger.append(PARTITION, sale_entry(), held)
    await ledger.drain_all()
    series = await Reports(ledger.pool).series("concert", None, None)
    assert series == Series(FINE_MS, ())


async def test_what_lies_in_quarantine_is_in_no_report_and_its_batch_counts_once(
    ledger: Ledger,
) -> None:
    """PostgreSQL refuses one entry, so that its batch is tried again in halves."""
    entries = [booking_entry("held", number, 1) for number in range(40)]
    entries[17] = booking_entry("held", 17, 1, lines=f"seat:{2**63}:0")
    entries.append(booking_entry("expired", 17, 2))
    entries.append(booking_entry("expired", 18, 2))
    await ledger.append(PARTITION, sale_entry(), *entries)
    await ledger.drain_all()
    reasons = await ledger.rows("SELECT reason FROM quarantine ORDER BY sequence")
    assert reasons == [("refused",), ("out_of_order",)]
    (row,) = await Reports(ledger.pool).summary(None, None, None, None, ROWS)
    assert (row.created, row.expired) == (39, 1)


async def test_a_batch_that_is_not_committed_counts_for_nothing(ledger: Ledger) -> None:
    """Two drains at once: one of them finds that the other has moved the cursor."""
    await ledger.append(PARTITION, sale_entry(), booking_entry("held", 1, 1))
    await ledger.drain_all()
    position = await ledger.rows("SELECT sequence, chain FROM partitions WHERE partition = 0")
    await ledger.append(PARTITION, booking_entry("held", 2, 1))
    async with ledger.pool.acquire() as other, other.transaction():
        await other.execute("SELECT 1 FROM partitions WHERE partition = 0 FOR UPDATE")
        assert await ledger.drain.run_once(PARTITION) == 0
    assert position == await ledger.rows(
        "SELECT sequence, chain FROM partitions WHERE partition = 0"
    )
    (row,) = await Reports(ledger.pool).summary(None, None, None, None, ROWS)
    assert row.created == 1
    await ledger.drain_all()
    (row,) = await Reports(ledger.pool).summary(None, None, None, None, ROWS)
    assert row.created == 2


@pytest.mark.parametrize("at_ms", [2**62, -1])
async def test_a_time_that_cannot_be_stops_no_drain(ledger: Ledger, at_ms: int) -> None:
    await ledger.append(
        PARTITION, sale_entry(at_ms=at_ms), booking_entry("held", 1, 1, at_ms=at_ms)
    )
    assert await ledger.drain_all() == 2
    assert await ledger.rows("SELECT created FROM sale_days") == [(1,)]
    await ledger.append(PARTITION, booking_entry("held", 2, 1, at_ms=NOON_MS))
    assert await ledger.drain_all() == 1
