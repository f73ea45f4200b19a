"""`python -m tests.simulation [--seconds S] [--seed N] [--replay N] [--digest N …]`.

Runs seed after seed, prints how many a minute, then plants every bug and looks how small it is
made. Exit code 1 where something broke, with the smallest plan that shows it.
"""

from __future__ import annotations

import argparse
import sys
import time
from itertools import chain

from tests.simulation.auditor import Broken
from tests.simulation.plan import plan_of, shrink
from tests.simulation.planted import BUGS, planted
from tests.simulation.regressions import SHOW
from tests.simulation.report import Report, is_red
from tests.simulation.run import run

SAY_S = 30.0
MOST_SCHEDULES = 1_000
"""Within which a planted bug must be found."""


def soak(seed: int, seconds: float) -> None:
    """Run seeds until the time is over."""
    print(f"simulation: --seed {seed} --seconds {seconds:g}", flush=True)
    report = Report()
    over_s = time.monotonic() + seconds
    say_s = time.monotonic() + SAY_S
    while time.monotonic() < over_s:
        report.try_seeds((seed,))
        seed += 1
        if time.monotonic() > say_s:
            say_s += SAY_S
            print(f"{report.runs} schedules", flush=True)
    print(report, flush=True)


def plant() -> None:
    """Find every planted bug, and make it small."""
    for name in BUGS:
        with planted(name):
            seeds = (plan_of(seed) for seed in range(MOST_SCHEDULES))
            known = [SHOW[name]] if name in SHOW else []
            found = next(filter(is_red, chain(known, seeds)), None)
            if found is None:
                raise Broken(f"planted and not found: {name}")
            small = shrink(found, is_red)
        events = f"{len(found.events)} events made {len(small.events)}"
        print(f"planted: {name}: found by seed {found.seed}, {events}", flush=True)


def replay(seed: int) -> None:
    """Print a run step by step."""
    result = run(plan_of(seed))
    print("\n".join(result.trace))
    result.require()


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation")
    parser.add_argument("--seconds", type=float, default=60.0, metavar="S")
    parser.add_argument("--seed", type=int, default=time.time_ns() // 1_000_000, metavar="N")
    parser.add_argument("--replay", type=int, metavar="N", help="print the run of one seed")
    parser.add_argument("--digest", type=int, nargs="+", metavar="N", help="what a run is told by")
    options = parser.parse_args()
    try:
        if options.digest:
            print(*(run(plan_of(seed)).digest for seed in options.digest))
        elif options.replay is not None:
            replay(options.replay)
        else:
            soak(options.seed, options.seconds)
            plant()
    except Broken as broken:
        print(broken, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
