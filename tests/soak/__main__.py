"""`make soak`: `python -m tests.soak [--minutes M] [--seed S] [--only FAULT]`.

First many buyers pay through a gateway that fails (`tests.soak.payments`). Then a whole system
under three loads: one whose holds stay, one whose holds expire, and buyers who pay through such a
gateway. Fault after fault, in rounds of all of them, until the time is over; then every book is
compared with every answer. The same seed makes the same buyers and the same order of faults. Exit
code 1 where a fault did not fire, a buyer was told what is not so, or the books differ; the data is
then left to be looked at.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import random
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from holdfast.embedded.process import free_port
from tests.helpers import books, payers
from tests.helpers.client import Client
from tests.helpers.load import Load, items_of, put_sales
from tests.helpers.servers import System
from tests.helpers.wrapped_valkey import wrapped
from tests.soak import payments
from tests.soak.catalogue import FAULTS
from tests.soak.ground import Ground
from tests.soak.report import MAX_RECOVERY_S, Firing, Report

PAYMENTS: Final = "payments"
"""The name of the part in which buyers pay, on a system of its own."""
REPORT: Final = Path(__file__).resolve().parent.parent.parent / "docs" / "soak-report.md"
STAYING: Final = {f"staying-{number}": {"A": 10**7, "B": 10**7} for number in range(4)}
EXPIRING: Final = {f"expiring-{number}": {"A": 10**7} for number in range(3)}
PAYING: Final = 10**6
"""Units of the sale whose buyers pay."""


def order_of_faults(rng: random.Random, only: str | None) -> Iterator[str]:
    """All faults, shuffled, again and again; or one alone."""
    names = [name for name in FAULTS if only is None or only.lower() in name.lower()]
    if not names:
        sys.exit(f"soak: no fault is called like {only!r}: {', '.join(FAULTS)}")
    return (name for _ in itertools.count() for name in rng.sample(names, len(names)))


async def fire(ground: Ground, fault: str) -> Firing:
    """Let a fault fire, and measure the recovery."""
    over_s = await FAULTS[fault](ground)
    await ground.load.held_more(1, timeout_s=MAX_RECOVERY_S)
    held_s = time.monotonic() - over_s
    await books.drained(ground.system, timeout_s=MAX_RECOVERY_S)
    return Firing(fault, held_s, time.monotonic() - over_s)


@asynccontextmanager
async def paying(buyers: payers.Buyers) -> AsyncIterator[Callable[[], None]]:
    """Have them buy inside, and let each come to an end; yields what fails where one has failed."""
    running = asyncio.create_task(buyers.run())

    def have_paid() -> None:
        if running.done():
            running.result()

    try:
        yield have_paid
    finally:
        buyers.stopping = True
        await running


async def soak(
    report: Report, system: System, scratch: Path, only: str | None
) -> tuple[Load, Load]:
    """Fire faults under load until the time is over, then check everything."""
    async with Client(system.url, system.headers("admin")) as admin:
        await put_sales(admin, STAYING)
        await put_sales(admin, EXPIRING, hold_seconds=2)
        await payers.open_sale(admin, PAYING)
    rng = random.Random(report.seed)
    # They outlive restarts of the system, which keeps its port and its keys.
    clients = [Client(system.url, system.headers("service"), timeout_s=60) for _ in range(3)]
    staying, expiring = (
        Load(
            client,
            items_of(sales),
            seed=report.seed + number,
            buyers=6,
            pause_s=0.2,
            give_up_s=180,
            expires=sales is EXPIRING,
        )
        for number, (client, sales) in enumerate(zip(clients[:2], (STAYING, EXPIRING), strict=True))
    )
    buyers = payers.Buyers(clients[2], PAYING, report.seed, at_once=4, give_up_s=600, pause_s=0.5)
    ground = Ground(system, staying, rng, report.away_s, scratch)
    over_s = time.monotonic() + report.minutes * 60
    try:
        async with staying, expiring, paying(buyers) as have_paid:
            for fault in order_of_faults(rng, only):
                report.firings.append(await fire(ground, fault))
                have_paid()
                firing = report.firings[-1]
                print(f"{fault}: {firing.held_s:.1f} s, {firing.drained_s:.1f} s", flush=True)
                if time.monotonic() > over_s:
                    break
        report.buyers = buyers
        await payers.check(system, buyers, PAYING)
        # First those that still move.
        for load, sales in ((expiring, EXPIRING), (staying, STAYING)):
            await books.check(system, load, sales)
        report.verdict = await books.check_verify(system)
    except BaseException as failure:
        report.failure = f"Failed: {type(failure).__name__}: {failure}"[:2000]
        raise
    finally:
        for client in clients:
            client.close()
        text = report.markdown((staying, expiring))
        print(text)
        if not report.failure and only is None:
            await asyncio.to_thread(REPORT.write_text, text)
    return staying, expiring


def main() -> int:
    """Run it; the report of a whole run that passed is kept in `docs/soak-report.md`."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description="Long fault runs.")
    parser.add_argument("--minutes", type=float, default=15.0, metavar="M")
    parser.add_argument("--seed", type=int, default=int(time.time()), metavar="S")
    parser.add_argument("--away", type=float, default=60.0, metavar="SECONDS")
    parser.add_argument(
        "--only", metavar="FAULT", help=f"a part of a fault's name, or `{PAYMENTS}`"
    )
    options = parser.parse_args()
    print(f"soak: --seed {options.seed} --minutes {options.minutes:g}", flush=True)
    scratch = Path(tempfile.mkdtemp(prefix="holdfast-soak-"))
    report = Report(options.seed, options.minutes, options.away)
    settings = {**wrapped(scratch), **payers.FAULTS}
    system = System(scratch / "data", "--port", str(free_port()), **settings)
    try:
        if options.only in {None, PAYMENTS}:
            report.payments = asyncio.run(payments.pay(scratch, options.seed))
            print(f"payments: {report.payments}", flush=True)
        if options.only != PAYMENTS:
            with system:
                asyncio.run(soak(report, system, scratch, options.only))
    except BaseException:
        print(f"soak: failed; the data is in {scratch}", file=sys.stderr)
        raise
    shutil.rmtree(scratch)
    return 0


if __name__ == "__main__":
    sys.exit(main())
