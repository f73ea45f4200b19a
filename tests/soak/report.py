"""What a soak says when it is over: in Markdown, for people."""

from __future__ import annotations

import platform
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import psutil

from tests.helpers.client import UNKNOWN
from tests.helpers.load import Load
from tests.helpers.payers import Buyers

QUICK_S: Final = 10.0
MAX_RECOVERY_S: Final = 300.0
"""A fault after which nothing can be held, or drained, for longer fails the run."""
PASSED: Final = "Passed: every booking that was answered 201 is there, and all books agree."


@dataclass(frozen=True, slots=True)
class Firing:
    """A fault that fired, and how long it took afterwards."""

    fault: str
    held_s: float
    """From the end of its cause to the next booking."""
    drained_s: float
    """From the end of its cause until PostgreSQL had everything that there was by then."""


@dataclass(slots=True)
class Report:
    """A soak so far."""

    seed: int
    minutes: float
    away_s: float
    firings: list[Firing] = field(default_factory=list)
    verdict: Any = None
    payments: str = ""
    """What came of the buyers who paid on a system of their own."""
    buyers: Buyers | None = None
    """Those who paid on this one."""
    failure: str = ""

    def markdown(self, loads: Sequence[Load]) -> str:
        """The report."""
        memory_gb = psutil.virtual_memory().total / 1e9
        lines = [
            "# Soak report",
            "",
            f"`make soak`, seed {self.seed}, {self.minutes:g} minutes of faults, servers away for "
            f"{self.away_s:g} s; {datetime.now(UTC):%Y-%m-%d}, {psutil.cpu_count()} cores, "
            f"{memory_gb:.0f} GB, Python {platform.python_version()} ({platform.machine()}).",
            "",
            f"**{self.failure or PASSED}**",
            "",
            "Every fault proves that it fired, or the run fails. The times count from when its "
            "cause is gone, median / longest: until the next booking was answered 201, and until "
            "PostgreSQL had what there was.",
            "",
            "| fault | fired | next booking, s | drained, s |",
            "| --- | ---: | ---: | ---: |",
        ]
        for fault in dict.fromkeys(firing.fault for firing in self.firings):
            those = [firing for firing in self.firings if firing.fault == fault]
            held = [firing.held_s for firing in those]
            drained = [firing.drained_s for firing in those]
            lines.append(f"| {fault} | {len(those)} | {spread(held)} | {spread(drained)} |")
        lines += ["", *self._recoveries(), *self._load(loads), ""]
        return "\n".join(lines)

    def _recoveries(self) -> list[str]:
        if not self.firings:
            return []
        longest = [max(firing.held_s, firing.drained_s) for firing in self.firings]
        quick = sum(seconds < QUICK_S for seconds in longest)
        return [
            f"- {len(longest)} faults; after {quick} of them all was well in less than "
            f"{QUICK_S:g} s, and after each in {max(longest):.1f} s."
        ]

    def _load(self, loads: Sequence[Load]) -> list[str]:
        histories = [load.client.history for load in loads]
        sent = sum(len(history) for history in histories)
        unknown = sum(history.count(UNKNOWN) for history in histories)
        refused = sum(history.count(503) for history in histories)
        bookings = sum(len(load.tracked) for load in loads)
        lines = [
            f"- {sent:,} requests; {unknown:,} were never answered and {refused:,} were answered "
            "503; each of these was sent again, with the same key, until it was answered.",
            f"- {bookings:,} bookings were answered 201; each was read again at the end and was "
            "in the state that its buyer had been told.",
        ]
        if self.buyers:
            lines.append(
                f"- {len(self.buyers.paid):,} bookings were paid meanwhile, and "
                f"{len(self.buyers.cancelled):,} cancelled while they were: one capture each, none "
                "kept for the cancelled."
            )
        if self.payments:
            lines.append(f"- {self.payments}")
        if self.verdict:
            lines.append(
                f"- `holdfast verify`: no differences, {self.verdict['bookings']:,} bookings, "
                f"{self.verdict['journal_entries']:,} journal entries."
            )
        return lines


def spread(seconds: Sequence[float]) -> str:
    """Median and longest."""
    return f"{statistics.median(seconds):.1f} / {max(seconds):.1f}"
