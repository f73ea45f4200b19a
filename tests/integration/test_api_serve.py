"""The API as a process: uvicorn on an inherited socket, real HTTP, signals, its metrics."""

from __future__ import annotations

import asyncio
import signal
import socket
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest

from tests.helpers.api import Api, hold_body, open_api
from tests.helpers.gateways import payment_settings, payment_variables
from tests.helpers.servers import clean_environment
from tests.helpers.stage import eventually, variables_of

MAIN = """
import sys
from api.serve import serve
from engine.settings import load_settings
from holdfast import logs
logs.configure("info", "json")
serve(load_settings(), "127.0.0.1", int(sys.argv[1]), int(sys.argv[2]) if sys.argv[2] else None)
"""


@dataclass
class Processes:
    """API processes of one host: one listening socket, one directory of metrics."""

    api: Api
    directory: Path
    environment: dict[str, str]
    listening: socket.socket
    children: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Where all of them answer."""
        return f"http://127.0.0.1:{self.listening.getsockname()[1]}"

    def start(self, port: int = 0, **environment: str) -> subprocess.Popen[bytes]:
        """One more process, on the inherited socket unless it is given a port."""
        fd = "" if port else str(self.listening.fileno())
        with (self.directory / "log").open("ab") as log:
            child = subprocess.Popen(
                [sys.executable, "-c", MAIN, str(port), fd],
                env=clean_environment(self.environment | environment),
                cwd=Path(__file__).parents[2],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=(self.listening.fileno(),),
            )
        self.children.append(child)
        return child

    @property
    def log(self) -> str:
        """Everything that they logged."""
        return (self.directory / "log").read_text()

    async def ready(self, url: str = "") -> None:
        """Wait until somebody answers."""
        async with httpx.AsyncClient(base_url=url or self.url) as http:

            async def answers() -> bool:
                try:
                    return (await http.get("/readyz", timeout=2)).status_code == 200
                except httpx.TransportError:
                    assert all(child.poll() is None for child in self.children), self.log
                    return False

            await eventually(answers, "the API answers")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0), backlog=128) as taken:
        yield taken


@pytest.fixture
async def processes(
    redis_url: str, database_url: str, tmp_path: Path, listening: socket.socket
) -> AsyncIterator[Processes]:
    async with open_api(redis_url, database_url, tmp_path) as api:
        (tmp_path / "metrics").mkdir()
        environment = {
            **variables_of(api.stage.settings),
            "PROMETHEUS_MULTIPROC_DIR": str(tmp_path / "metrics"),
            **payment_variables(payment_settings()),
        }
        running = Processes(api, tmp_path, environment, listening)
        try:
            yield running
        finally:
            for child in running.children:
                if child.poll() is None:
                    child.kill()
                child.wait()


async def test_processes_share_a_socket_and_a_signal_drains_one_without_losing_a_request(
    processes: Processes,
) -> None:
    first = processes.start()
    await processes.ready()
    api = processes.api
    await api.put_sale()
    await api.hold()
    await api.get("/v1/bookings")
    locking = await asyncpg.connect(api.stage.settings.database_url)

    async def waits_for_the_lock() -> bool:
        return bool(await locking.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"))

    headers = api.bearer("ann", "bookings")
    try:
        async with httpx.AsyncClient(base_url=processes.url, headers=headers) as http:
            async with locking.transaction():
                await locking.execute("LOCK TABLE bookings")
                slow = asyncio.create_task(http.get("/v1/bookings", timeout=20))
                await eventually(waits_for_the_lock, "the request is in flight")
                first.send_signal(signal.SIGTERM)
                await asyncio.sleep(0.3)
                assert first.poll() is None, "it waits for what is in flight"
            answer = await slow
            assert (answer.status_code, len(answer.json()["bookings"])) == (200, 1)
            assert await asyncio.to_thread(first.wait, 20) == 0, processes.log
            # The socket outlives the process: who comes now waits in its queue for the next one.
            waiting = asyncio.create_task(http.get("/v1/sales/gig", timeout=30))
            processes.start()
            assert (await waiting).status_code == 200
    finally:
        await locking.close()


async def test_an_interrupt_ends_it_cleanly_too(processes: Processes) -> None:
    child = processes.start()
    await processes.ready()
    child.send_signal(signal.SIGINT)
    assert await asyncio.to_thread(child.wait, 20) == 0
    assert "Traceback" not in processes.log


async def test_a_body_past_its_bound_is_refused_on_the_wire(processes: Processes) -> None:
    processes.start()
    await processes.ready()
    headers = {
        **processes.api.bearer("ann", "bookings"),
        "Idempotency-Key": str(uuid.uuid4()),
        "Content-Type": "application/json",
    }

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(1_000):
            yield b" " * 1024

    async with httpx.AsyncClient(base_url=processes.url, headers=headers) as http:
        for content in (b" " * 10_000_000, pieces()):
            try:
                answer = await http.post("/v1/bookings", content=content)
            except httpx.WriteError:
                continue  # answered and hung up before all of it was sent
            assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")
        answer = await http.post("/v1/bookings", json=hold_body("nowhere"))
        assert (answer.status_code, answer.json()["code"]) == (404, "unknown_sale")


async def test_metrics_are_those_of_all_processes_on_a_port_of_their_own(
    processes: Processes,
) -> None:
    port = free_port()
    for _ in range(2):
        processes.start(HOLDFAST_METRICS_PORT=str(port))

    async def both_serve() -> bool:
        return processes.log.count("Application startup complete") == 2

    await eventually(both_serve, "both processes to serve", 60)
    answered = 0
    for _ in range(40):
        # A connection each, so that both processes get some.
        async with httpx.AsyncClient(base_url=processes.url) as http:
            answered += (await http.get("/healthz")).status_code == 200
            assert (await http.get("/metrics")).status_code == 404
    for _ in range(8):
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as http:
            text = (await http.get("/metrics")).text
            assert (await http.get("/v1/sales")).status_code == 404
        (line,) = (
            line
            for line in text.splitlines()
            if line.startswith("holdfast_http_requests_total") and 'route="/healthz"' in line
        )
        assert float(line.split()[-1]) == answered


async def test_a_port_is_listened_on_where_no_socket_is_inherited(processes: Processes) -> None:
    port = free_port()
    child = processes.start(port)
    await processes.ready(f"http://127.0.0.1:{port}")
    child.send_signal(signal.SIGTERM)
    assert await asyncio.to_thread(child.wait, 20) == 0


async def test_a_setting_that_is_refused_is_named_and_ends_it(processes: Processes) -> None:
    refused: tuple[tuple[dict[str, Any], str], ...] = (
        ({"HOLDFAST_JWKS_URL": "ldap://x"}, "HOLDFAST_JWKS_URL"),
        (
            {"HOLDFAST_DURABILITY": "replica", "HOLDFAST_MIN_REPLICAS": "99"},
            "HOLDFAST_MIN_REPLICAS",
        ),
    )
    for wrong, name in refused:
        child = processes.start(**wrong)
        assert await asyncio.to_thread(child.wait, 20) != 0
        assert f"SettingsError: {name}" in processes.log
