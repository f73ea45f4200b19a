"""`holdfast demo`: the whole system, a flash sale sold out over HTTP, and the books compared.

The system is a `holdfast up` of its own in a directory of its own; both are gone afterwards.
"""

from __future__ import annotations

import asyncio
import secrets
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Final

import orjson
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from holdfast import dev_auth
from holdfast.books import charges_of, differences_of, wait_until_drained
from holdfast.demo_result import Result, judge, table
from holdfast.flash_sale import FlashSale, Tally
from holdfast.lean_http import Client
from holdfast.own_system import own_system
from holdfast.system import DataDirectory, RunFile

CONNECTIONS: Final = 64
TOKEN_TTL_S: Final = 3600

Show = Callable[[str, int, int], None]
"""Shows a step: what, how much of it is done, of how much."""


async def demo(buyers: int, stock: int, *, as_json: bool) -> int:
    """Run the flash sale and print what came of it; returns the exit code.

    SIGINT and SIGTERM stop what was started and leave nothing behind.
    """
    task = asyncio.current_task()
    assert task
    came: list[int] = []

    def interrupt(number: int) -> None:
        came.append(number)
        task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, interrupt, number)
    try:
        result, troubles = await _hold_sale(buyers, stock)
    except asyncio.CancelledError:
        if came:
            return 128 + came[0]
        raise
    for line in troubles:
        print(f"holdfast: {line}", file=sys.stderr)
    if as_json:
        print(orjson.dumps(asdict(result)).decode())
    else:
        Console().print(table(result))
    return 0 if result.good else 1


async def _hold_sale(buyers: int, stock: int) -> tuple[Result, list[str]]:
    """Start the system, sell, stop the system; answers what came of it and what went wrong."""
    with _progress() as show, tempfile.TemporaryDirectory(prefix="holdfast-demo-") as directory:
        data = DataDirectory(Path(directory) / "data")
        show("starting the system", 0, 0)
        async with own_system(data) as run:
            outcome = await _sell(data, run, buyers, stock, show)
            show("stopping the system", 0, 0)
        return outcome


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
        troubles = await wait_until_drained(client)
    finally:
        client.close()
    show("comparing the books", 0, 0)
    charges = await charges_of(run)
    differences = await differences_of(data)
    return judge(buyers, stock, sale.tally, levels, charges, troubles, differences)


async def _show_sale(tally: Tally, stock: int, show: Show) -> None:
    while True:
        show(f"sold (refused {tally.refused:,} times)", len(tally.confirmed), stock)
        await asyncio.sleep(0.1)


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
        counted = False

        def show(what: str, done: int, total: int) -> None:
            nonlocal task, counted
            if counted != bool(total):
                # rich takes a total of None for "as before": only a new task has none.
                bar.remove_task(task)
                task = bar.add_task(what, total=total or None)
                counted = bool(total)
            bar.update(task, description=what, completed=done, total=total or None)

        yield show
