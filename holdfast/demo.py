"""`holdfast demo`: the whole system, a flash sale sold out over HTTP, and the books compared.

The system is a `holdfast up` of its own in a directory of its own; both are gone afterwards.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import orjson
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from holdfast import dev_auth
from holdfast.embedded import process
from holdfast.embedded.process import Launch, ServerFailed
from holdfast.flash_sale import FlashSale, Tally
from holdfast.lean_http import Client
from holdfast.settings import given_settings
from holdfast.system import DataDirectory, RunFile

CONNECTIONS: Final = 128
UP_S: Final = 120.0
DOWN_S: Final = 120.0
DRAINED_S: Final = 120.0
TOKEN_TTL_S: Final = 3600
SHOWN_TROUBLES: Final = 10
TERMINATED: Final = 128 + signal.SIGTERM

Show = Callable[[str, int, int], None]
"""Shows a step: what, how much of it is done, of how much."""


@dataclass(frozen=True, slots=True)
class Result:
    """What `demo --json` prints.

    `refused` counts refusals, `errors` buyers who were answered what nobody should be, and what
    else went wrong. Rates: confirmed bookings over the time until the last was confirmed, and
    refusals over the time until the last buyer left. Latencies are of all requests.
    """

    buyers: int
    stock: int
    committed: int
    refused: int
    errors: int
    oversold: int
    duplicate_charges: int
    committed_per_s: float
    refused_per_s: float
    p50_ms: float
    p99_ms: float
    redis_equals_postgres: bool

    @property
    def good(self) -> bool:
        """Whether the sale went as it must."""
        sold_out = self.committed == min(self.buyers, self.stock)
        faults = self.oversold or self.errors or self.duplicate_charges
        return sold_out and not faults and self.redis_equals_postgres


async def demo(buyers: int, stock: int, *, as_json: bool) -> int:
    """Run the flash sale and print what came of it; returns the exit code."""
    task = asyncio.current_task()
    assert task
    terminated = asyncio.Event()

    def terminate() -> None:
        terminated.set()
        task.cancel()

    # Like Ctrl-C, which asyncio.run turns into a cancellation: what was started is stopped.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, terminate)
    try:
        result, troubles = await _hold_sale(buyers, stock)
    except asyncio.CancelledError:
        if terminated.is_set():
            return TERMINATED
        raise
    for line in troubles:
        print(f"holdfast: {line}", file=sys.stderr)
    if as_json:
        print(orjson.dumps(asdict(result)).decode())
    else:
        Console().print(_table(result))
    return 0 if result.good else 1


async def _hold_sale(buyers: int, stock: int) -> tuple[Result, list[str]]:
    """Start the system, sell, stop the system; answers what came of it and what went wrong."""
    with _progress() as show, tempfile.TemporaryDirectory(prefix="holdfast-demo-") as directory:
        data = DataDirectory(Path(directory) / "data")
        show("starting the system", 0, 0)
        async with _system(data) as run:
            outcome = await _sell(data, run, buyers, stock, show)
            show("stopping the system", 0, 0)
        return outcome


@asynccontextmanager
async def _system(data: DataDirectory) -> AsyncIterator[RunFile]:
    """The system, from when everything answers until it has stopped. Raises `ServerFailed`."""
    log = data.path.parent / "up.log"
    command = (sys.executable, "-m", "holdfast", "up", "--data", str(data.path), "--port", "0")
    child = process.spawn(Launch("up", command, log, _environment(), death_signal=signal.SIGTERM))
    try:
        deadline = time.monotonic() + UP_S
        while not data.run_file.exists():
            if child.poll() is not None or time.monotonic() > deadline:
                raise ServerFailed(f"the system did not start; {process.last_words(log, 20)}")
            await asyncio.sleep(0.05)
        yield RunFile.read(data.run_file)
    finally:
        await _stop(child)


async def _stop(child: subprocess.Popen[bytes]) -> None:
    """Stop `up`, which stops its children; a second Ctrl-C does not leave them behind."""
    child.send_signal(signal.SIGINT)
    deadline = time.monotonic() + DOWN_S
    while child.poll() is None:
        if time.monotonic() > deadline:
            child.kill()
        try:
            await asyncio.sleep(0.05)
        except asyncio.CancelledError:
            continue


def _environment() -> dict[str, str]:
    """The environment without the settings of another system, which this must not touch.

    Those of a `.env` in the working directory are overruled by being set to nothing.
    """
    return {**os.environ, **dict.fromkeys(given_settings(), "")}


async def _sell(
    data: DataDirectory, run: RunFile, buyers: int, stock: int, show: Show
) -> tuple[Result, list[str]]:
    """Sell, compare the books, and answer what came of it and what went wrong."""
    key = dev_auth.read_key(data.path)
    admin = key.token("admin", "admin", TOKEN_TTL_S)
    tokens = []
    subjects = (f"buyer-{number}" for number in range(1, buyers + 1))
    for token in key.tokens(subjects, "bookings", TOKEN_TTL_S):
        tokens.append(token)
        if len(tokens) % 256 == 0:
            show("signing tokens", len(tokens), buyers)
            await asyncio.sleep(0)
    client = Client(run.url, CONNECTIONS)
    try:
        sale = FlashSale(client, stock, secrets.randbits(32))
        await sale.open(admin)
        showing = asyncio.create_task(_show_sale(sale.tally, stock, show))
        try:
            await sale.run(tokens)
        finally:
            showing.cancel()
        levels = await sale.levels()
        show("waiting for PostgreSQL", 0, 0)
        troubles = await _wait_until_drained(client)
    finally:
        client.close()
    show("comparing the books", 0, 0)
    differences = await _verify(data)
    return _judge(buyers, stock, sale.tally, levels, troubles, differences)


async def _show_sale(tally: Tally, stock: int, show: Show) -> None:
    while True:
        show(f"sold (refused {tally.refused:,} times)", len(tally.confirmed), stock)
        await asyncio.sleep(0.1)


async def _wait_until_drained(client: Client) -> list[str]:
    """Wait until PostgreSQL has every entry of the journal."""
    deadline = time.monotonic() + DRAINED_S
    while time.monotonic() < deadline:
        found = await client.request("GET", "/readyz", "")
        backlog = orjson.loads(found.body).get("backlog")
        if backlog and backlog["entries"] == 0:
            return []
        await asyncio.sleep(0.1)
    return [f"the backlog was not empty after {DRAINED_S:.0f} s"]


async def _verify(data: DataDirectory) -> list[str]:
    """`holdfast verify`: the differences it finds."""
    checking = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "holdfast", "verify", "--json", "--data", str(data.path)),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=_environment(),
    )
    try:
        said, complaint = await checking.communicate()
    except asyncio.CancelledError:
        checking.kill()
        await checking.wait()
        raise
    try:
        verdict: dict[str, Any] = orjson.loads(said)
    except orjson.JSONDecodeError:
        return [f"verify: exit {checking.returncode}: {complaint.decode(errors='replace')}"]
    differences: list[str] = verdict["differences"]
    return differences


def _judge(
    buyers: int,
    stock: int,
    tally: Tally,
    levels: Mapping[str, int],
    troubles: list[str],
    differences: list[str],
) -> tuple[Result, list[str]]:
    """Put the answers, the levels and the comparison of the books together."""
    committed = len(tally.confirmed)
    troubles = [*tally.troubles, *troubles]
    if levels["sold"] != committed:
        troubles.append(f"{levels['sold']} units are sold, {committed} buyers were told so")
    if levels["held"]:
        troubles.append(f"{levels['held']} units are still held")
    latencies_ms = sorted(1000 * took_s for took_s in tally.latencies_s)
    sold_s = max(tally.sold_s - tally.begun_s, 0.001)
    open_s = max(tally.ended_s - tally.begun_s, 0.001)
    result = Result(
        buyers=buyers,
        stock=stock,
        committed=committed,
        refused=tally.refused,
        errors=len(troubles),
        oversold=max(0, committed - stock, levels["sold"] + levels["held"] - stock),
        duplicate_charges=tally.duplicates,
        committed_per_s=round(committed / sold_s, 1),
        refused_per_s=round(tally.refused / open_s, 1),
        p50_ms=round(_percentile(latencies_ms, 50), 2),
        p99_ms=round(_percentile(latencies_ms, 99), 2),
        redis_equals_postgres=not differences,
    )
    shown = [*troubles[:SHOWN_TROUBLES], *differences[:SHOWN_TROUBLES]]
    return result, shown


def _percentile(ordered: list[float], percent: int) -> float:
    """The value that so many percent do not exceed; 0 where there is none."""
    if not ordered:
        return 0.0
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]


def _table(result: Result) -> Table:
    drawn = Table(title="A flash sale over HTTP", show_header=False, title_justify="left")
    drawn.add_column()
    drawn.add_column(justify="right")
    rows = (
        ("buyers", f"{result.buyers:,}"),
        ("units for sale", f"{result.stock:,}"),
        ("bookings committed", f"{result.committed:,}"),
        ("committed per second", f"{result.committed_per_s:,.1f}"),
        ("refusals", f"{result.refused:,}"),
        ("refusals per second", f"{result.refused_per_s:,.1f}"),
        ("half of all answers within", f"{result.p50_ms:,.1f} ms"),
        ("99 % of all answers within", f"{result.p99_ms:,.1f} ms"),
        ("errors", f"{result.errors:,}"),
        ("oversold", f"{result.oversold:,}"),
        ("charged twice", f"{result.duplicate_charges:,}"),
        ("Redis equals PostgreSQL", "yes" if result.redis_equals_postgres else "NO"),
    )
    for row in rows:
        drawn.add_row(*row)
    return drawn


@contextmanager
def _progress() -> Iterator[Show]:
    """A bar on the terminal, if there is one; stdout stays for the result."""
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    ) as bar:
        task = bar.add_task("", total=None)

        def show(what: str, done: int, total: int) -> None:
            bar.update(task, description=what, completed=done, total=total or None)

        yield show
