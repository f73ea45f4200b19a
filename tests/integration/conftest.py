"""Fixtures of several files: the payment gateways, and a relay with somebody it sends to."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import pytest

from tests.helpers.fault_proxy import FaultProxy
from tests.helpers.gateways import API_KEY, LocalStripe, Simulator
from tests.helpers.ledger import Ledger, concert, open_ledger
from tests.helpers.relay import Relay, open_relay
from tests.helpers.ruins import Ruins, open_ruins
from tests.helpers.shop import CallingSimulator, Shop, open_shop
from tests.helpers.smtp_server import MailServer, mail_server
from tests.helpers.stage import Stage, stage, stage_settings
from tests.helpers.subscriber import Subscriber, subscriber


@pytest.fixture
def simulator(tmp_path: Path) -> Iterator[Simulator]:
    """A simulator of its own, quiet, that a test may kill."""
    server = Simulator(tmp_path / "simulator")
    with contextlib.closing(server):
        yield server


@pytest.fixture(scope="module")
def shared_simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    """One simulator for the tests of a file: each takes attempts and keys of its own."""
    server = Simulator(tmp_path_factory.mktemp("simulator"))
    with contextlib.closing(server):
        yield server


@pytest.fixture(scope="session")
def calling_simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CallingSimulator]:
    """The worker's simulator for the API's tests: each takes bookings of its own."""
    server = CallingSimulator(tmp_path_factory.mktemp("simulator"))
    with contextlib.closing(server):
        yield server


@pytest.fixture
async def shop(
    redis_url: str, database_url: str, tmp_path: Path, calling_simulator: CallingSimulator
) -> AsyncIterator[Shop]:
    """The API with that simulator behind a fault proxy."""
    async with open_shop(redis_url, database_url, tmp_path, calling_simulator) as opened:
        yield opened


@pytest.fixture(scope="module")
def localstripe(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStripe]:
    """One localstripe for the tests of a file: each takes attempts of its own."""
    server = LocalStripe(tmp_path_factory.mktemp("localstripe"))
    with contextlib.closing(server):
        yield server


@pytest.fixture
async def proxy(localstripe: LocalStripe) -> AsyncIterator[FaultProxy]:
    """In front of localstripe, which keeps no keys."""
    async with FaultProxy(localstripe.url, keeps_keys=True).serve() as served:
        yield served


@pytest.fixture
async def direct(localstripe: LocalStripe) -> AsyncIterator[aiohttp.ClientSession]:
    """Asks localstripe itself, as the tests' other side."""
    headers = {"Authorization": f"Bearer {API_KEY}"}
    async with aiohttp.ClientSession(localstripe.url, headers=headers) as session:
        yield session


@pytest.fixture
async def ledger(redis_url: str, database_url: str) -> AsyncIterator[Ledger]:
    """Engine and PostgreSQL, with the concert on sale."""
    async with open_ledger(redis_url, database_url) as opened:
        await opened.engine.sales.put(concert())
        yield opened


@pytest.fixture
async def ruins(redis_url: str, database_url: str) -> AsyncIterator[Ruins]:
    """Books of every kind, all of them in PostgreSQL; a test breaks what it likes."""
    async with open_ruins(redis_url, database_url) as opened:
        await opened.furnish()
        await opened.drain()
        yield opened


@pytest.fixture
async def on(redis_url: str, database_url: str) -> AsyncIterator[Stage]:
    """A stage of two partitions, with its sale."""
    settings = stage_settings(redis_url, database_url, partitions="2")
    async with stage(settings) as ready:
        await ready.put()
        yield ready


@pytest.fixture
async def relay(ledger: Ledger) -> AsyncIterator[Relay]:
    """A relay over that ledger, without channels to people."""
    async with open_relay(ledger) as opened:
        yield opened


@pytest.fixture
async def partner() -> AsyncIterator[Subscriber]:
    """A subscriber that takes everything, as long as a test does not tell it otherwise."""
    async with subscriber() as opened:
        yield opened


@pytest.fixture(scope="session")
def mail_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MailServer]:
    """The worker's mail server."""
    with mail_server(tmp_path_factory.mktemp("smtp") / "taken.jsonl") as started:
        yield started


@pytest.fixture
def mail(mail_process: MailServer) -> MailServer:
    """A mail server that has nothing yet and takes everything."""
    mail_process.forget()
    return mail_process
