"""`holdfast backlog prune`: old rows leave PostgreSQL's journal, and its base goes up.

Safe on a live system, and to be interrupted and run again: each transaction is whole by itself.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Final

import orjson

from engine.errors import SettingsError
from engine.limits import MAX_PRUNED_ENTRIES, MIN_PRUNED_AGE_MS
from engine.payments.limits import RECONCILER_LOOK_BACK_MS
from engine.settings import Settings
from engine.times import rfc3339
from persistence.pruning import Droppable, Pruning
from persistence.reads import Reads
from workers.bar import bar_of
from workers.operator_pool import operator_pool

QUERY_TIMEOUT_MS: Final = 10 * 60 * 1000
DAY_MS: Final = 24 * 3600 * 1000

Show = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Pruned:
    """What was dropped of a partition, or would be; `base` is its base then.

    `kept_for` is what needs the first row that is left (`persistence.pruning.Droppable`).
    """

    partition: int
    entries: int
    bytes: int
    base: int
    kept_for: str


async def prune(
    settings: Settings,
    *,
    before_ms: int | None = None,
    older_than_days: int | None = None,
    partition: int | None = None,
    dry_run: bool,
    as_json: bool,
    now_ms: int | None = None,
    limit: int = MAX_PRUNED_ENTRIES,
) -> int:
    """Drop what was written before a time and is needed by nothing; prints what, and answers 0.

    Args:
        before_ms: the time; or `older_than_days`, counted from now.
        now_ms: what the clock says, where it is not to be asked.
        limit: rows in one transaction.

    Raises:
        SettingsError: the time is too near, PostgreSQL has no such partition, or the installation
            was set up with others than these settings.
        JournalInUse, JournalAltered, Unavailable: what was dropped before stays so.
    """
    before_ms = _before_ms(before_ms, older_than_days, now_ms or time.time_ns() // 1_000_000)
    async with operator_pool(
        settings, "holdfast-prune", command_timeout_ms=QUERY_TIMEOUT_MS
    ) as pool:
        await Reads(pool).ready()
        pruning = Pruning(pool)
        chosen = await pruning.partitions()
        if partition is not None:
            if partition not in chosen:
                raise SettingsError(f"--partition {partition}: PostgreSQL has no such partition")
            chosen = [partition]
        found = [await pruning.droppable(one, before_ms, RECONCILER_LOOK_BACK_MS) for one in chosen]
        if not dry_run:
            with _progress(sum(one.entries for one in found)) as show:
                for one in found:
                    while count := await pruning.drop(one.partition, one.until, limit):
                        show(count)
    _print([_pruned(one) for one in found], before_ms, dry_run=dry_run, as_json=as_json)
    return 0


def _before_ms(before_ms: int | None, older_than_days: int | None, now_ms: int) -> int:
    if before_ms is None:
        assert older_than_days is not None, "the command line asks for one of them"
        before_ms = now_ms - older_than_days * DAY_MS
    latest_ms = now_ms - MIN_PRUNED_AGE_MS
    if before_ms > latest_ms:
        raise SettingsError(
            f"{rfc3339(before_ms)} is too near: entries of the last {MIN_PRUNED_AGE_MS // DAY_MS} "
            f"days are kept, so not after {rfc3339(latest_ms)}"
        )
    return before_ms


def _pruned(one: Droppable) -> Pruned:
    return Pruned(one.partition, one.entries, one.bytes, one.base + one.entries, one.kept_for)


def _print(parts: Sequence[Pruned], before_ms: int, *, dry_run: bool, as_json: bool) -> None:
    entries, size = sum(one.entries for one in parts), sum(one.bytes for one in parts)
    if as_json:
        told = {
            "dry_run": dry_run,
            "before": rfc3339(before_ms),
            "entries": entries,
            "bytes": size,
            "partitions": [asdict(one) for one in parts],
        }
        sys.stdout.write(orjson.dumps(told).decode() + "\n")
    else:
        lines = [
            f"partition {one.partition}: {one.entries:,} entries, {one.bytes:,} bytes, up to "
            f"{one.base}; the next one is kept for: {one.kept_for}"
            for one in parts
        ]
        verb = "would be dropped" if dry_run else "dropped"
        lines.append(
            f"{entries:,} entries of before {rfc3339(before_ms)} {verb}, {size:,} bytes of text"
        )
        sys.stdout.write("\n".join((*lines, "")))
    sys.stdout.flush()


@contextmanager
def _progress(total: int) -> Iterator[Show]:
    """A bar on the terminal, if there is one; stdout stays for the result."""
    with bar_of("entries") as bar:
        task = bar.add_task("prune", total=total)
        yield lambda count: bar.advance(task, count)
