"""A million bookings in the reports: `python -m tests.soak.million [--bookings N] [--seed S]`.

Drains their journals through the drain's own transaction, then holds every report against a slow
recount of the journal as PostgreSQL has it, prints what the reports cost PostgreSQL, and exports
all bookings as one table. Exit code 1 where a number differs, or memory grows with the table.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import multiprocessing
import random
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import aclosing
from itertools import islice, repeat
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final, cast

import orjson
import psutil

from api.exports import export_bookings
from api.parts import Parts
from api.schemas import HistoryQuery
from engine.journal import RawEntry, parse_entry
from engine.limits import GC_THRESHOLD, MAX_DRAIN_ENTRIES, MAX_EPOCH_MS, MAX_REPORT_ROWS
from persistence.commit import commit
from persistence.migrate import migrate
from persistence.pool import Pool, create_pool
from persistence.queries import query
from persistence.reads import Reads
from persistence.reports import GroupBy, Reports
from persistence.rollups import COARSE_MS, DAY_MS, FINE_MS
from persistence.steps import Position, understand
from tests.helpers.made_journal import MIDNIGHT_MS, MadeJournal
from tests.helpers.recount import Recount
from tests.helpers.servers import Postgres

PARTITIONS: Final = 4
SALES: Final = 600
DAYS: Final = 90
TARGET_MS: Final = 100
EXPLAINED: Final = 5
"""How often each is asked; the median is what is told."""
RECOUNT_TIMEOUT_MS: Final = 300_000
"""For a page of the journal: nobody waits for the recount, and it reads beside three others."""
WARM_LINES: Final = 20_000
MAX_GROWN_MIB: Final = 32.0
COMMON: Final = ("expired", "paid", "used", "paid", "left", "paid")
"""Lives that most bookings have; every life has some."""


def journals(bookings: int, seed: int) -> list[MadeJournal]:
    """A journal for each partition."""
    return [
        MadeJournal(
            bookings // PARTITIONS,
            tuple(f"sale-{partition}-{number:03d}" for number in range(SALES // PARTITIONS)),
            DAYS,
            seed + partition,
            partition,
            common=COMMON,
        )
        for partition in range(PARTITIONS)
    ]


def batches(texts: Iterator[bytes]) -> Iterator[list[RawEntry]]:
    sequence = 0
    while batch := list(islice(texts, MAX_DRAIN_ENTRIES)):
        yield [RawEntry(sequence + number, text) for number, text in enumerate(batch, 1)]
        sequence += len(batch)


async def drain(url: str, journal: MadeJournal) -> int:
    """Take a journal over; answers how many entries it has."""
    async with await create_pool(url) as pool:
        await pool.execute(
            "INSERT INTO partitions (partition, generation, initialised_at) VALUES ($1, 1, now())",
            journal.partition,
        )
        position = Position(1, 0, bytes(32), None)
        for batch in batches(journal.texts()):
            steps, unknown = understand(batch)
            assert unknown is None
            reached = await commit(pool, journal.partition, position, steps, {})
            assert reached
            position = reached
    return position.sequence


async def recount(url: str, partition: int, courses_of: Sequence[str]) -> tuple[Recount, int]:
    """Count again from the journal as PostgreSQL has it; with what is captured as it stands."""
    counted = Recount(courses_of)
    unhurried = await create_pool(url, command_timeout_ms=RECOUNT_TIMEOUT_MS)
    async with unhurried as pool, pool.acquire() as taken, taken.transaction():
        rows = taken.cursor(
            "SELECT sequence, entry FROM journal WHERE partition = $1 ORDER BY sequence",
            partition,
            prefetch=5_000,
        )
        async for row in rows:
            counted.add(parse_entry(row["sequence"], row["entry"]))
    revenue = counted.revenue()
    counted.forget_bookings()
    return counted, revenue


def _drained(url: str, journal: MadeJournal) -> int:
    return asyncio.run(drain(url, journal))


def _recounted(url: str, partition: int, courses_of: Sequence[str]) -> tuple[Recount, int]:
    return asyncio.run(recount(url, partition, courses_of))


def as_a_worker() -> None:
    """Look for circles as seldom as a worker does: else that takes half of the time."""
    gc.set_threshold(GC_THRESHOLD, 10, 10)


async def compare(reports: Reports, counted: Recount, revenue: int, seed: int) -> int:
    """Compare every kind of report; answers how many rows and points were equal."""
    rng, equal = random.Random(seed), 0
    first_ms = MIDNIGHT_MS + rng.randrange(DAYS - 7) * DAY_MS
    windows = [(None, None), (first_ms, first_ms + 6 * DAY_MS)]
    sales = [None, rng.choice(sorted({sale for _, sale, _ in counted.days}))]
    for (from_ms, to_ms), sale_id, group_by in (
        (window, sale, group_by)
        for window in windows
        for sale in sales
        for group_by in (None, *GroupBy)
    ):
        found = await reports.summary(from_ms, to_ms, sale_id, group_by, MAX_REPORT_ROWS)
        expected = counted.summary(
            by_day=group_by is GroupBy.DAY,
            by_sale=group_by is GroupBy.SALE,
            first_ms=from_ms or 0,
            last_ms=MAX_EPOCH_MS if to_ms is None else to_ms,
            sale_id=sale_id,
        )
        assert list(found) == expected, (from_ms, to_ms, sale_id, group_by)
        equal += len(found)
    total = await reports.summary(None, None, None, None, MAX_REPORT_ROWS)
    assert sum(row.revenue for row in total) == revenue
    for sale_id, from_ms, to_ms in (
        (sale, *window) for sale in counted.course for window in windows
    ):
        series = await reports.series(sale_id, from_ms, to_ms)
        assert series
        for point in series.points:
            stood = counted.stood_at(sale_id, point.at_ms)
            assert (point.sold, point.capacity) == stood, (sale_id, point)
        equal += len(series.points)
    return equal


async def costs(pool: Pool, sale_id: str) -> dict[str, float]:
    """Milliseconds of PostgreSQL's time by report: planning and execution, the median of some."""
    whole = (0, MAX_EPOCH_MS)
    week_ms = MIDNIGHT_MS + 30 * DAY_MS
    hour_ms = MIDNIGHT_MS + 45 * DAY_MS
    asked: dict[str, list[tuple[str, tuple[Any, ...]]]] = {
        "all": [("summary", (*whole, None, None, MAX_REPORT_ROWS))],
        "all, by day": [("summary", (*whole, None, GroupBy.DAY, MAX_REPORT_ROWS))],
        "all, by sale": [("summary", (*whole, None, GroupBy.SALE, MAX_REPORT_ROWS))],
        "a week, by day": [
            ("summary", (week_ms, week_ms + 6 * DAY_MS, None, GroupBy.DAY, MAX_REPORT_ROWS))
        ],
        "a sale, by day": [("summary", (*whole, sale_id, GroupBy.DAY, MAX_REPORT_ROWS))],
        "the course of a sale": [
            ("sale_span", (sale_id, FINE_MS)),
            ("sale_steps_before", (sale_id, COARSE_MS, hour_ms, FINE_MS, hour_ms)),
            ("sale_steps", (sale_id, COARSE_MS, MIDNIGHT_MS, hour_ms * 2, 6 * COARSE_MS)),
        ],
    }
    found = {}
    for name, statements in asked.items():
        times = sorted([await _explained(pool, statements) for _ in range(EXPLAINED)])
        found[name] = times[len(times) // 2]
    return found


async def _explained(pool: Pool, statements: Sequence[tuple[str, tuple[Any, ...]]]) -> float:
    total_ms = 0.0
    for name, arguments in statements:
        sql = f"EXPLAIN (ANALYZE, FORMAT JSON) {query(name)}"
        (told,) = orjson.loads(await pool.fetchval(sql, *arguments))
        total_ms += told["Planning Time"] + told["Execution Time"]
    return total_ms


async def export(pool: Pool, bookings: int) -> None:
    """Export bookings as one table; its length must not show in this process's memory."""
    parts = cast("Parts", SimpleNamespace(exports=0, reads=Reads(pool)))
    process, begun_s = psutil.Process(), time.monotonic()
    warm_bytes = lines = size = 0
    async with aclosing(export_bookings(parts, None, HistoryQuery()).pieces) as pieces:
        async for piece in pieces:
            lines, size = lines + piece.count(b"\n"), size + len(piece)
            if not warm_bytes and lines > WARM_LINES:
                warm_bytes = process.memory_info().rss
    assert lines == bookings + 1, lines
    grown_mib = (process.memory_info().rss - warm_bytes) / (1 << 20) if warm_bytes else 0.0
    took_s = time.monotonic() - begun_s
    print(f"export of {bookings:,} bookings: {size >> 20} MiB in {took_s:.0f} s, ", end="")
    print(f"memory grew by {grown_mib:.1f} MiB after the first {WARM_LINES:,}", flush=True)
    assert grown_mib < MAX_GROWN_MIB


async def report(url: str, counted: Recount, revenue: int, sale_id: str, seed: int) -> None:
    """Hold the reports against the recount, and say what they cost."""
    async with await create_pool(url) as pool:
        await pool.execute("ANALYZE")
        equal = await compare(Reports(pool), counted, revenue, seed)
        print(f"{equal:,} rows and points are equal to the recount", flush=True)
        for table in ("journal", "bookings", "sale_days", "sale_steps"):
            rows = await pool.fetchval(f"SELECT count(*) FROM {table}")
            print(f"{table}: {rows:,} rows", flush=True)
        for name, ms in (await costs(pool, sale_id)).items():
            within = "within" if ms <= TARGET_MS else "NOT within"
            print(f"report of {name}: {ms:.1f} ms of PostgreSQL, {within} {TARGET_MS}", flush=True)
        await export(pool, await pool.fetchval("SELECT count(*) FROM bookings"))


def measure(bookings: int, seed: int, url: str) -> None:
    """All of it, on an empty database; each processor drains a partition at a time."""
    asyncio.run(migrate(url))
    made = journals(bookings, seed)
    courses_of = [journal.sales[seed % len(journal.sales)] for journal in made]
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(mp_context=spawn, initializer=as_a_worker) as pool:
        begun_s = time.monotonic()
        entries = sum(pool.map(_drained, repeat(url), made))
        took_s = time.monotonic() - begun_s
        print(f"drained {entries:,} entries in {took_s:.0f} s, with their making", flush=True)
        begun_s = time.monotonic()
        counted, revenue = Recount(courses_of), 0
        partitions = [journal.partition for journal in made]
        for part, part_revenue in pool.map(_recounted, repeat(url), partitions, repeat(courses_of)):
            counted.take(part)
            revenue += part_revenue
        took_s = time.monotonic() - begun_s
        print(f"recounted {entries:,} entries in {took_s:.0f} s", flush=True)
    asyncio.run(report(url, counted, revenue, courses_of[0], seed))


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.soak.million", description=__doc__)
    parser.add_argument("--bookings", type=int, default=1_000_000, metavar="N")
    parser.add_argument("--seed", type=int, default=1, metavar="S")
    options = parser.parse_args()
    print(f"million: --bookings {options.bookings} --seed {options.seed}", flush=True)
    with (
        tempfile.TemporaryDirectory(prefix="holdfast-million-") as scratch,
        contextlib.closing(Postgres(Path(scratch) / "postgres")) as server,
    ):
        measure(options.bookings, options.seed, server.fresh_database())
    return 0


if __name__ == "__main__":
    sys.exit(main())
