"""`holdfast backlog status`: how far PostgreSQL is behind Redis, for people and for programs."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import orjson
from rich.console import Console
from rich.table import Table

from engine.backlog import PartitionBacklog, measure, summary
from engine.engine import Engine
from engine.settings import EngineOptions, Settings
from persistence.reads import Reads
from workers.operator_pool import operator_pool


async def status(settings: Settings, *, as_json: bool) -> int:
    """Print the backlog; returns the exit code.

    Raises `Unavailable` where Redis or PostgreSQL does not answer: between them is the backlog.
    """
    async with operator_pool(settings, "holdfast-backlog") as pool:
        reads = Reads(pool)
        await reads.ready()
        engine = await Engine.open(EngineOptions.of(settings), floors=reads.cursors)
        async with engine:
            partitions = await measure(engine, reads)
    if as_json:
        sys.stdout.buffer.write(orjson.dumps(summary(partitions)) + b"\n")
        sys.stdout.flush()
    else:
        # A pipe has no width of its own, and cut numbers are of no use to whoever reads it.
        Console(width=None if sys.stdout.isatty() else 160).print(table(partitions))
    return 0


def table(partitions: Sequence[PartitionBacklog]) -> Table:
    """The same for people."""
    total = sum(part.entries for part in partitions)
    lag_s = max((part.oldest_age_s for part in partitions), default=0.0)
    drawn = Table(title=f"{total:,} entries to go, the oldest {lag_s:.1f} s old")
    for name in ("partition", "entries", "bytes", "oldest", "cursor", "tip", "quarantined"):
        drawn.add_column(name, justify="right")
    for name in ("drained/s", "empty in"):
        drawn.add_column(name, justify="right")
    drawn.add_column("closed")
    for part in partitions:
        closed = part.fenced or part.shedding or (f"frozen: {part.frozen}" if part.frozen else "")
        drawn.add_row(
            str(part.partition),
            f"{part.entries:,}",
            f"{part.bytes:,}",
            f"{part.oldest_age_s:.1f} s" if part.entries else "",
            str(part.cursor),
            str(part.tip),
            str(part.quarantined or ""),
            f"{part.drain_per_s:,.0f}",
            "" if not part.entries else "?" if part.eta_s is None else f"{part.eta_s:.1f} s",
            f"[red]{closed}[/red]" if closed else "",
        )
    return drawn
