"""Everything that the bench measures, started once: a system of its own and what it is beside.

The system is a `holdfast up` with one API process. Beside it run the two echoes (one process, one
event loop), the conventional service, and the load's process.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import orjson
import psutil

from engine.engine import Engine
from engine.errors import HoldfastError
from engine.limits import MAX_CAPACITY, MAX_HOLD_SECONDS
from engine.settings import EngineOptions, Settings
from holdfast import dev_auth, door, gateway
from holdfast.bench.orders import ITEM, SALE, SOLD_OUT, Measured, Order
from holdfast.embedded import process
from holdfast.embedded.process import Launch
from holdfast.lean_http import Client, Response
from holdfast.own_system import clean_environment, own_system
from holdfast.system import DataDirectory, RunFile, operator_settings

CONVENTIONAL_MODULE: Final = "loadtests.baseline"
"""Started by its name: the front door imports nothing of the load tests (docs/adr/0012)."""
CONVENTIONAL_DATABASE: Final = "conventional"
VALKEY_BYTES: Final = 8 << 30
DRAINED_S: Final = 300.0
POLL_S: Final = 0.02
UNIT_PRICE: Final = 4_500


class BenchFailed(HoldfastError):
    """Something that is measured does not do what it should."""


@dataclass(slots=True)
class Stage:
    """Where everything is."""

    data: DataDirectory
    run: RunFile
    engine: Engine
    loader: asyncio.subprocess.Process
    bare_url: str = ""
    starlette_url: str = ""
    conventional_url: str = ""
    _stretches: int = 0

    @property
    def settings(self) -> Settings:
        """The system's."""
        return operator_settings(self.data.path)

    def database(self) -> AbstractAsyncContextManager[asyncpg.Connection[Any]]:
        """A connection to the system's PostgreSQL."""
        return _connection(self.run.database_url)

    async def measure(self, order: Order) -> Measured:
        """Have an order carried out, by customers whom nobody has seen before."""
        self._stretches += 1
        order = replace(order, subject=f"c{self._stretches}", data=str(self.data.path))
        before = self._used()
        began_s = time.perf_counter()
        assert self.loader.stdin
        assert self.loader.stdout
        self.loader.stdin.write(order.line())
        line = await self.loader.stdout.readline()
        if not line:
            raise BenchFailed(f"the load's process ended while it did {order.work}")
        seconds = time.perf_counter() - began_s
        after = self._used()
        # Signing tokens and connecting are in `seconds` too, so by what the window lasted.
        measured = Measured.read(line)
        shares = {
            name: (after[name] - before[name]) / min(seconds, measured.seconds) for name in after
        }
        return replace(measured, shares=shares)

    def _used(self) -> dict[str, float]:
        """Processor seconds of each part so far."""
        pids = self.run.pids
        parts: dict[str, list[int | None]] = {
            "api": [*pids.api],
            "redis": [pids.redis],
            "worker": [*pids.worker],
            "gateway": [pids.gateway],
        }
        used: dict[str, float] = {}
        for name, those in parts.items():
            used[name] = sum(_cpu_s(psutil.Process(pid)) for pid in those if pid)
        if pids.postgres:
            server = psutil.Process(pids.postgres)
            used["postgres"] = sum(map(_cpu_s, (server, *server.children())))
        return used

    @asynccontextmanager
    async def worker_paused(self) -> AsyncIterator[None]:
        """Without the drain and PostgreSQL beside, so that two cores do for what is measured."""
        await self.drained()
        for pid in self.run.pids.worker:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in self.run.pids.worker:
                os.kill(pid, signal.SIGCONT)

    async def backlog(self) -> int:
        """Entries that PostgreSQL lacks."""
        statuses = await self.engine.journal.statuses()
        return sum(status.sequence - status.drained for status in statuses)

    async def drained(self) -> float:
        """Wait until PostgreSQL has everything; how many seconds that took."""
        began_s = time.perf_counter()
        while await self.backlog():
            if time.perf_counter() - began_s > DRAINED_S:
                raise BenchFailed(f"PostgreSQL does not catch up within {DRAINED_S:.0f} s")
            await asyncio.sleep(POLL_S)
        return time.perf_counter() - began_s

    async def command(self, *words: str) -> dict[str, Any]:
        """What a command of the operator says with `--json`. Raises `BenchFailed`."""
        running = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "holdfast", *words, "--data", str(self.data.path)),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=clean_environment(),
        )
        said, complaint = await running.communicate()
        if running.returncode:
            raise BenchFailed(f"{words[0]}: {complaint.decode(errors='replace')}")
        told: dict[str, Any] = orjson.loads(said)
        return told

    async def gateway_takes(self, latency_ms: int) -> None:
        """How long the gateway is to take for each call from now on."""
        assert self.run.gateway_url
        base = gateway.variables_of(self.run.gateway_url)[gateway.API_BASE]
        body = orjson.dumps({"latency_ms": latency_ms})
        found = await _send(base, "PATCH", "/_simulator/settings", "", body)
        if found.status != 200:
            raise BenchFailed(f"the gateway's settings: {found.status} {found.body!r}")


def _cpu_s(measured: psutil.Process) -> float:
    try:
        times = measured.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(times.user + times.system)


async def _send(url: str, method: str, path: str, headers: str, body: bytes) -> Response:
    client = Client(url, 1)
    try:
        return await client.request(
            method, path, f"Content-Type: application/json\r\n{headers}", body
        )
    finally:
        client.close()


@asynccontextmanager
async def set_up(directory: Path) -> AsyncIterator[Stage]:
    """Start everything, open the sales; stop everything.

    Raises:
        ServerFailed, BenchFailed: something did not start.
    """
    data = DataDirectory(directory / "data")
    settings = {"HOLDFAST_VALKEY_MAXMEMORY_BYTES": str(VALKEY_BYTES)}
    async with AsyncExitStack() as stack:
        run = await stack.enter_async_context(own_system(data, ("--api-workers", "1"), settings))
        options = EngineOptions.of(operator_settings(data.path))
        opened = await stack.enter_async_context(await Engine.open(options))
        loader = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "holdfast.bench.load"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=clean_environment(),
        )
        stack.push_async_callback(_end, loader)
        stage = Stage(data, run, opened, loader)
        with (
            socket.create_server(("127.0.0.1", 0), backlog=door.LISTEN_BACKLOG) as bare,
            socket.create_server(("127.0.0.1", 0), backlog=door.LISTEN_BACKLOG) as starlette,
        ):
            stage.bare_url, stage.starlette_url = door.url_of(bare), door.url_of(starlette)
            fds = (bare.fileno(), starlette.fileno())
            _start(stack, directory, "echo", ("holdfast.bench.echo", *map(str, fds)), fds)
        with socket.create_server(("127.0.0.1", 0), backlog=door.LISTEN_BACKLOG) as conventional:
            stage.conventional_url = door.url_of(conventional)
            url = await _own_database(run.database_url)
            words = (CONVENTIONAL_MODULE, str(conventional.fileno()), url)
            _start(stack, directory, "conventional", words, (conventional.fileno(),))
        await _open_sales(stage)
        yield stage


def _start(
    stack: AsyncExitStack, directory: Path, name: str, words: tuple[str, ...], fds: tuple[int, ...]
) -> None:
    """Start a module of ours; it is stopped with the stack."""
    launch = Launch(
        name=name,
        command=(sys.executable, "-m", *words),
        log=directory / f"{name}.log",
        environment=clean_environment(),
        inherited_fds=fds,
    )
    stack.callback(process.stop, process.spawn(launch), signal.SIGTERM, 10)


async def _end(loader: asyncio.subprocess.Process) -> None:
    if loader.returncode is None:
        loader.kill()
    await loader.wait()


@asynccontextmanager
async def _connection(url: str) -> AsyncIterator[asyncpg.Connection[Any]]:
    connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        await connection.close()


async def _own_database(url: str) -> str:
    """A database for the conventional service on the same server; its URL."""
    async with _connection(url) as connection:
        await connection.execute(f"CREATE DATABASE {CONVENTIONAL_DATABASE}")
    return urlunsplit(urlsplit(url)._replace(path=f"/{CONVENTIONAL_DATABASE}"))


async def _open_sales(stage: Stage) -> None:
    """A sale with more than anybody will take, and one whose only unit is held."""
    key = dev_auth.read_key(stage.data.path)
    admin = f"Authorization: Bearer {key.token('admin', 'admin', 600)}\r\n"
    for sale_id, capacity in ((SALE, MAX_CAPACITY), (SOLD_OUT, 1)):
        item = {"id": ITEM, "name": "Seat", "capacity": capacity, "unit_price": UNIT_PRICE}
        body = {"name": sale_id, "hold_seconds": MAX_HOLD_SECONDS, "items": [item]}
        path = f"/v1/sales/{sale_id}"
        found = await _send(stage.run.url, "PUT", path, admin, orjson.dumps(body))
        if found.status != 201:
            raise BenchFailed(f"the sale could not be opened: {found.status} {found.body!r}")
    customer = f"Authorization: Bearer {key.token('first', 'bookings', 600)}\r\n"
    body = {"sale_id": SOLD_OUT, "lines": [{"item_id": ITEM, "quantity": 1}]}
    name = f"Idempotency-Key: {secrets.token_hex(4)}-0000-4000-8000-000000000000\r\n"
    found = await _send(stage.run.url, "POST", "/v1/bookings", customer + name, orjson.dumps(body))
    if found.status != 201:
        raise BenchFailed(f"the last unit could not be held: {found.status} {found.body!r}")
