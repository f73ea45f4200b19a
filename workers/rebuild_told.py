"""What a rebuild tells: a bar while it works, and what came of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from workers.bar import bar_of
from workers.restored import Rebuilt

Show = Callable[[str, int, int], None]
"""Is told at what the rebuild is, and how many holds were restored, of how many."""


@dataclass(slots=True)
class Result:
    """What became of partitions and sales: rebuilt, refused (with why), sound and left alone."""

    dry_run: bool = False
    partitions: list[Rebuilt] = field(default_factory=list)
    sales: list[Rebuilt] = field(default_factory=list)
    refused: dict[int, str] = field(default_factory=dict)
    sound: list[int] = field(default_factory=list)


def show_nothing(what: str, done: int, total: int) -> None:
    """Where there is nobody to show progress to."""


def summary(result: Result) -> dict[str, object]:
    """The object that `--json` prints."""
    return {
        "dry_run": result.dry_run,
        "partitions": [rebuilt.counts() for rebuilt in result.partitions],
        "sales": [rebuilt.counts() for rebuilt in result.sales],
        "refused": [
            {"partition": partition, "reason": reason}
            for partition, reason in sorted(result.refused.items())
        ],
        "sound": result.sound,
    }


def lines(result: Result) -> list[str]:
    """The same for people."""
    told = []
    for one in result.partitions:
        dropped = f" ({one.dropped_because})" if one.dropped_because and one.dropped else ""
        done = "would be rebuilt" if result.dry_run else f"rebuilt in {one.seconds:.1f} s"
        told.append(
            f"partition {one.partition} ({one.reason or 'sound'}): {done} at {one.sequence} under "
            f"generation {one.generation}: {one.salvaged:,} entries salvaged, {one.dropped:,} "
            f"dropped{dropped}; {one.sales:,} sales, {one.holds:,} holds, {one.payments:,} open "
            f"payments, {one.records:,} idempotency records"
        )
    for one in result.sales:
        done = "would be rebuilt" if result.dry_run else f"rebuilt in {one.seconds:.1f} s"
        told.append(
            f"sale {one.sale_id} in partition {one.partition}: {done} at {one.sequence}: "
            f"{one.holds:,} holds, {one.payments:,} open payments, {one.records:,} idempotency "
            "records"
        )
    told += [reason for _, reason in sorted(result.refused.items())]
    if result.sound:
        told.append(f"sound, and left alone: {', '.join(map(str, result.sound))}")
    return told or ["nothing to rebuild"]


@contextmanager
def progress() -> Iterator[Show]:
    """A bar on the terminal, if there is one; stdout stays for the result."""
    with bar_of("holds") as bar:
        task = bar.add_task("rebuild", total=None)
        yield lambda what, done, total: bar.update(
            task, description=what, completed=done, total=total or None
        )
