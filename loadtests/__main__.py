"""`python -m loadtests`: runs scenarios against a system of its own, then compares the books.

Each scenario leaves an HTML report of Locust's in `--reports`. The exit code is that of the checks:
0 where nothing was oversold, the books are equal and nobody was charged twice.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import orjson

from holdfast import dev_auth
from holdfast.books import charges_of, differences_of, wait_until_drained
from holdfast.lean_http import Client
from holdfast.own_system import clean_environment, own_system
from holdfast.system import DataDirectory, RunFile
from loadtests.checks import Verdict, judge
from loadtests.plan import SCENARIOS, SHAPES, UNIT_PRICE, Plan

ROOT: Final = Path(__file__).parent.parent
LOCUSTFILE: Final = Path(__file__).with_name("locustfile.py")
REPORTS: Final = Path("build/loadtests")
STOP_S: Final = 60
"""How long buyers may take to finish what they have begun: a payment, most of all."""
CONNECTIONS: Final = 4


async def main() -> int:
    """Run the scenarios that were asked for."""
    options = _options()
    options.reports.mkdir(parents=True, exist_ok=True)
    if options.data is not None:
        data = DataDirectory(options.data)
        return await _run(data, RunFile.read(data.run_file), options)
    with tempfile.TemporaryDirectory(prefix="holdfast-loadtests-") as directory:
        data = DataDirectory(Path(directory) / "data")
        async with own_system(data) as run:
            return await _run(data, run, options)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m loadtests", description=__doc__)
    parser.add_argument("--scenario", choices=[*SCENARIOS, "all"], default="all")
    parser.add_argument("--shape", choices=sorted(SHAPES), default="ramp")
    parser.add_argument("--users", type=int, default=100, metavar="N")
    parser.add_argument("--seconds", type=float, default=20.0, metavar="S", help="of each scenario")
    parser.add_argument("--reports", type=Path, default=REPORTS, metavar="DIR")
    parser.add_argument("--data", type=Path, metavar="DIR", help="of a system of `up` that runs")
    return parser.parse_args()


async def _run(data: DataDirectory, run: RunFile, options: argparse.Namespace) -> int:
    names = list(SCENARIOS) if options.scenario == "all" else [options.scenario]
    faulty = 0
    for name in names:
        plan = Plan(
            scenario=name,
            shape=options.shape,
            users=options.users,
            seconds=options.seconds,
            sale_id=f"{name}-{datetime.now(UTC):%Y%m%d-%H%M%S}",
            data=str(data.path),
            summary=str((options.reports / f"{name}.json").absolute()),
        )
        report = (options.reports / f"{name}.html").absolute()
        verdict = await _play(plan, run, data, report)
        _print(plan, verdict, report)
        faulty += bool(verdict.faults)
    return 1 if faulty else 0


async def _play(plan: Plan, run: RunFile, data: DataDirectory, report: Path) -> Verdict:
    """Open the sale, let the buyers in, wait until everything has settled, look at the books."""
    client = Client(run.url, CONNECTIONS)
    try:
        await _open_sale(plan, client, data)
        code = await _locust(plan, run.url, report)
        troubles = [] if code == 0 else [f"Locust ended with {code}"]
        counted = _counted(plan)
        if not counted:
            troubles.append("Locust counted nothing")
        troubles += await wait_until_drained(client)
        path = f"/v1/sales/{plan.sale_id}/availability?fresh=1"
        levels = orjson.loads((await client.request("GET", path, "")).body)["items"]
    finally:
        client.close()
    charges = [charge for charge in await charges_of(run) if charge["captured_ms"]]
    differences = await differences_of(data)
    ours = await _bookings_of(plan, run, charges, data)
    return judge(plan, counted, levels, ours, [*troubles, *differences])


def _counted(plan: Plan) -> dict[str, Any]:
    try:
        counted: dict[str, Any] = orjson.loads(Path(plan.summary).read_bytes())
    except FileNotFoundError:
        return {}
    return counted


async def _bookings_of(
    plan: Plan, run: RunFile, charges: list[dict[str, Any]], data: DataDirectory
) -> list[dict[str, Any]]:
    """The charges of this run's sale: the gateway knows bookings, not sales."""
    admin = dev_auth.read_key(data.path).token("admin", "admin", 600)
    header = f"Authorization: Bearer {admin}\r\n"
    client = Client(run.url, CONNECTIONS)

    async def sale_of(booking_id: str) -> str:
        found = await client.request("GET", f"/v1/bookings/{booking_id}", header)
        return str(orjson.loads(found.body).get("sale_id"))

    try:
        names = [str(charge["booking_id"]) for charge in charges]
        sales = dict(zip(names, await asyncio.gather(*map(sale_of, names)), strict=True))
    finally:
        client.close()
    return [charge for charge in charges if sales[str(charge["booking_id"])] == plan.sale_id]


async def _open_sale(plan: Plan, client: Client, data: DataDirectory) -> None:
    scenario = SCENARIOS[plan.scenario]
    opens = datetime.now(UTC) + timedelta(seconds=plan.seconds * scenario.opens_after)
    body = {
        "name": f"Load test: {plan.scenario}",
        "opens_at": opens.isoformat(timespec="milliseconds") if scenario.opens_after else None,
        "hold_seconds": scenario.hold_seconds,
        "items": [
            {"id": item, "name": item, "capacity": plan.capacity, "unit_price": UNIT_PRICE}
            for item in plan.items
        ],
    }
    admin = dev_auth.read_key(data.path).token("admin", "admin", 600)
    headers = f"Authorization: Bearer {admin}\r\nContent-Type: application/json\r\n"
    path = f"/v1/sales/{plan.sale_id}"
    found = await client.request("PUT", path, headers, orjson.dumps(body))
    if found.status != 201:
        raise SystemExit(f"the sale could not be opened: {found.status} {found.body!r}")


async def _locust(plan: Plan, url: str, report: Path) -> int:
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "locust", "-f", str(LOCUSTFILE), "--headless", "--only-summary"),
        *("--host", url, "--html", str(report), "--stop-timeout", str(STOP_S)),
        *("--exit-code-on-error", "0", "--loglevel", "WARNING"),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=sys.stderr,
        env={**clean_environment(), **plan.variables(), "PYTHONPATH": str(ROOT)},
    )
    try:
        return await child.wait()
    finally:
        if child.returncode is None:
            child.kill()


def _print(plan: Plan, verdict: Verdict, report: Path) -> None:
    print(f"{plan.scenario}: {SCENARIOS[plan.scenario].about}")
    print(
        f"  paid {verdict.committed:,} ({verdict.committed_per_s:,.1f}/s), held {verdict.held:,}, "
        f"refused {verdict.refused:,} ({verdict.refused_per_s:,.1f}/s), "
        f"unexpected answers {verdict.failures:,}"
    )
    for fault in verdict.faults:
        print(f"  FAULT: {fault}")
    print(f"  {'the books are right' if not verdict.faults else 'FAILED'}; {report}", flush=True)


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
