"""Fixtures for the tests that need real servers: one of each for each xdist worker, when asked for.

`redis_url` and `bare_database_url` are empty at the start of every test that asks for them, and
`database_url` has nothing but its tables. `system` is the whole system, one for each module that
asks for it, or one for several; its tests take sales of their own.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.helpers.client import Client
from tests.helpers.databases import FurnishedDatabase
from tests.helpers.servers import Postgres, System, Valkey


@pytest.fixture(scope="session")
def valkey_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    """The worker's Valkey. A test that kills or freezes a server starts one of its own."""
    server = Valkey(tmp_path_factory.mktemp("valkey"))
    yield server
    server.close()


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    """The worker's PostgreSQL. A test that kills or freezes a server starts one of its own."""
    server = Postgres(tmp_path_factory.mktemp("postgres"))
    yield server
    server.close()


@pytest.fixture
def redis_url(valkey_server: Valkey) -> str:
    """A Valkey with nothing in it."""
    valkey_server.flush()
    return valkey_server.url


@pytest.fixture(scope="session")
def furnished_database(postgres_server: Postgres) -> FurnishedDatabase:
    """The worker's database for all tests that take its tables as they are."""
    return FurnishedDatabase(postgres_server)


@pytest.fixture
def database_url(furnished_database: FurnishedDatabase) -> str:
    """A database whose tables have no rows."""
    return furnished_database.emptied()


@pytest.fixture
def bare_database_url(postgres_server: Postgres) -> Iterator[str]:
    """A database with nothing in it; `persistence.migrate` makes the tables."""
    url = postgres_server.fresh_database()
    yield url
    postgres_server.drop_database(url)


@pytest.fixture(scope="session")
def shared_system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """The whole system, for modules that leave it as it was: see `tests.plugins.order`."""
    with System(tmp_path_factory.mktemp("system") / "data") as system:
        yield system


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """The whole system as `holdfast up` runs it, on data of its own."""
    with System(tmp_path_factory.mktemp("system") / "data") as system:
        yield system


@pytest.fixture
async def admin(system: System) -> AsyncIterator[Client]:
    """Whoever puts sales."""
    async with Client(system.url, system.headers("admin")) as client:
        yield client


@pytest.fixture
async def service(system: System) -> AsyncIterator[Client]:
    """A trusted front end: acts for every customer, at any rate."""
    async with Client(system.url, system.headers("service")) as client:
        yield client
