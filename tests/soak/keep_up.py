"""Does the drain keep up? `python -m tests.soak.keep_up [--seconds S]`.

One API process takes as many holds as it can, for minutes, with the worker beside it. Each second
it is looked how old the oldest entry is that PostgreSQL lacks. Exit code 1 where one was older than
`MAX_LAG_S`, or where the books differ afterwards.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path
from typing import Final

from holdfast.bench.orders import Measured, Order
from holdfast.bench.stage import Stage, set_up

MAX_LAG_S: Final = 5.0
CUSTOMERS: Final = 10_000
CONNECTIONS: Final = 64


async def lag_s(stage: Stage) -> float:
    """Age of the oldest entry that PostgreSQL lacks."""
    statuses = await stage.engine.journal.statuses()
    return max(status.oldest_age_ms for status in statuses) / 1000


async def keep_up(stage: Stage, seconds: float) -> tuple[Measured, list[float]]:
    """Hold for some time, and look at the lag each second."""
    order = Order(
        work="hold",
        url=stage.run.url,
        connections=CONNECTIONS,
        seconds=seconds,
        customers=CUSTOMERS,
    )
    holding = asyncio.create_task(stage.measure(order))
    lags = []
    while not holding.done():
        lags.append(await lag_s(stage))
        await asyncio.wait((holding,), timeout=1)
    return holding.result(), lags


async def run(seconds: float) -> int:
    """Measure, compare, say what came of it."""
    with tempfile.TemporaryDirectory(prefix="holdfast-soak-") as directory:
        async with set_up(Path(directory)) as stage:
            measured, lags = await keep_up(stage, seconds)
            await stage.drained()
            verdict = await stage.command("verify", "--json")
    lags.sort()
    print(
        f"{measured.done:,} holds in {measured.seconds:.0f} s, {measured.per_s:,.0f}/s by one API "
        f"process; lag median {lags[len(lags) // 2]:.2f} s, longest {lags[-1]:.2f} s, in "
        f"{len(lags)} looks; books equal: {verdict['equal']}"
    )
    return 0 if lags[-1] < MAX_LAG_S and verdict["equal"] and measured.done else 1


def main() -> int:
    """Read the command line, measure; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak.keep_up")
    parser.add_argument("--seconds", type=float, default=300.0)
    return asyncio.run(run(parser.parse_args().seconds))


if __name__ == "__main__":
    sys.exit(main())
