"""`holdfast bench`: everything side by side in one run, and a verdict.

Nothing here decides by a clock whether it succeeded: it fails where something is answered that
nobody should be, and reports the rest.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from pathlib import Path
from statistics import median
from typing import Any, Final

import orjson
from rich.console import Console

from holdfast.bench import growth, notices, report, rows, strain
from holdfast.bench.orders import Measured
from holdfast.bench.stage import Stage, set_up

ABOUT: Final = {row.name: row.about for row in rows.ROWS} | strain.ABOUT | notices.ABOUT
MAX_GROWTH: Final = 1.1
EXPECTED: Final = frozenset({"200", "201", "202", "409", "503"})
DONE, CHECK_FAILED = 0, 1


async def bench(rounds: int, live: int, *, as_json: bool) -> int:
    """Measure, print; returns the exit code.

    Args:
        rounds: how often each row is measured.
        live: with how many live bookings a hold's cost is compared with that at 1,000; 0: not.

    Raises:
        ServerFailed, BenchFailed: something did not start, or does not do what it should.
    """
    with tempfile.TemporaryDirectory(prefix="holdfast-bench-") as directory:
        async with set_up(Path(directory)) as stage:
            return await _bench(stage, rounds, live, as_json=as_json)


async def _bench(stage: Stage, rounds: int, live: int, *, as_json: bool) -> int:
    told = await report.machine(stage)
    found: dict[str, list[Measured]] = {}

    async def note(measured: AsyncGenerator[tuple[str, Measured]]) -> None:
        async for name, one in measured:
            found.setdefault(name, []).append(one)
            _say(f"{ABOUT[name]}: {one.per_s:,.0f}/s, p99 {one.p99_ms:,.1f} ms {one.answers}")

    for number in range(rounds):
        _say(f"round {number + 1} of {rounds}")
        async with aclosing(rows.play_round(stage, number)) as measured:
            await note(measured)
        most = {name: median(one.per_s for one in those) for name, those in found.items()}
        async with aclosing(strain.play_latencies(stage, most)) as measured:
            await note(measured)
        async with aclosing(notices.play_notices(stage, number, most)) as measured:
            await note(measured)
    for play in (strain.play_crowd, strain.play_rebuild):
        async with aclosing(play(stage)) as measured:
            await note(measured)
    verdict = report.verdict(found)
    if live:
        verdict.append(_growth(live, await growth.growth_of_a_hold(stage, live)))
    if as_json:
        summaries = {name: report.summary(those) for name, those in found.items()}
        print(orjson.dumps({"machine": told, "rows": summaries, "verdict": verdict}).decode())
    else:
        console = Console(width=None if sys.stdout.isatty() else 160)
        for line in report.machine_lines(told):
            console.print(line, highlight=False)
        console.print(report.rows_table(found, ABOUT))
        console.print(report.verdict_table(verdict))
    strange = strange_answers(found)
    for line in strange:
        _say(line)
    return CHECK_FAILED if strange else DONE


def strange_answers(found: Mapping[str, Sequence[Measured]]) -> list[str]:
    """What was answered that nobody should be: connections cut, faults of ours."""
    return [
        f"{ABOUT[name]}: {count} answers {status}"
        for name, those in found.items()
        for one in those
        for status, count in one.answers.items()
        if status not in EXPECTED
    ]


def _growth(live: int, reached: float) -> dict[str, Any]:
    """The line of the verdict that is no ratio of rows."""
    return {
        "measure": f"cost of a hold, {live:,} ÷ {growth.FEW_BOOKINGS:,} live bookings",
        "reached": round(reached, 3),
        "bound": MAX_GROWTH,
        "at_most": True,
        "aim": None,
        "unit": "",
        "met": reached <= MAX_GROWTH,
    }


def _say(what: str) -> None:
    print(f"bench: {what}", file=sys.stderr, flush=True)
