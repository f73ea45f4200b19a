"""The engine finds its primary through a real sentinel."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from engine.engine import Engine
from engine.errors import Unavailable
from engine.outcomes import Outcome
from holdfast.embedded import process, valkey
from holdfast.embedded.process import Launch, Server
from tests.helpers.engines import SEAT, check_books, gig, opened, options
from tests.helpers.servers import RunningServer, Valkey


@pytest.fixture
def sentinel_address(valkey_server: Valkey, tmp_path: Path) -> Iterator[str]:
    """`host:port` of a sentinel that watches the worker's server, which is empty."""
    valkey_server.flush()
    primary, port = urlsplit(valkey_server.url), process.free_port()
    configuration = tmp_path / "sentinel.conf"
    configuration.write_text(
        f"port {port}\nbind 127.0.0.1\ndir {tmp_path}\n"
        f"sentinel monitor holdfast {primary.hostname} {primary.port} 1\n"
        f"sentinel auth-pass holdfast {primary.password}\n"
    )
    url = f"redis://127.0.0.1:{port}/0"
    command = (str(valkey.find_binary()), str(configuration), "--sentinel")
    launch = Launch("sentinel", command, tmp_path / "sentinel.log", process.base_environment())
    server = RunningServer(Server(launch, url, lambda: valkey.answers(url)))
    yield f"127.0.0.1:{port}"
    server.close()


def sentinel_url(valkey_server: Valkey, address: str, service: str) -> str:
    return f"redis+sentinel://default:{urlsplit(valkey_server.url).password}@{address}/{service}"


async def test_the_primary_is_found_and_sold_on(
    valkey_server: Valkey, sentinel_address: str
) -> None:
    async with opened(sentinel_url(valkey_server, sentinel_address, "holdfast")) as engine:
        await engine.sales.put(gig())
        assert (await engine.bookings.reserve("gig", "ann", SEAT, "key")).outcome is Outcome.HELD
        await check_books(engine)


async def test_a_service_that_no_sentinel_knows_is_unavailable(
    valkey_server: Valkey, sentinel_address: str
) -> None:
    with pytest.raises(Unavailable):
        await Engine.open(options(sentinel_url(valkey_server, sentinel_address, "other")))
