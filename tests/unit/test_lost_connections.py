"""What uvloop and redis-py say of a connection that its peer has cut is told as one thing: lost."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest
import uvloop

from engine.connections import CONNECTION_LOST, client, connector
from engine.errors import Unavailable
from engine.pipeline import Pipeline
from tests.helpers.servers import until
from tests.helpers.wire import CANCEL, META
from workers.hands import Hands
from workers.loops import Loop
from workers.settings import queue_pool

CUTS = 300


class Cutter(asyncio.Protocol):
    """A server that answers everything with OK, and cuts its connections when told to."""

    def __init__(self, open_ones: set[asyncio.Transport]) -> None:
        self._open_ones = open_ones

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's does what it should, and is no subclass.
        self._transport = cast("asyncio.Transport", transport)
        self._open_ones.add(self._transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._open_ones.discard(self._transport)

    def data_received(self, data: bytes) -> None:
        self._transport.write(b"+OK\r\n" * data.count(b"*"))


def asked_while_cut(work: Callable[[str], Awaitable[Callable[[], Awaitable[Any]]]]) -> list[str]:
    """Ask a server that cuts its connections over and over; the names of what was raised.

    `work` gets its URL and answers what asks once.
    """

    async def run() -> list[str]:
        open_ones: set[asyncio.Transport] = set()
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: Cutter(open_ones), "127.0.0.1", 0)
        ask = await work(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        raised = []
        stopping = False

        async def keep_asking() -> None:
            while not stopping:
                try:
                    await ask()
                except Exception as error:  # noqa: BLE001 - which one is what is asked
                    raised.append(type(error).__name__)

        askers = [asyncio.create_task(keep_asking()) for _ in range(4)]
        for cut in range(CUTS):
            await asyncio.sleep(cut % 7 * 0.0003)
            for transport in list(open_ones):
                transport.abort()
        stopping = True
        await asyncio.gather(*askers)
        server.close()
        return raised

    return uvloop.run(run())


def test_who_called_while_a_connection_was_cut_is_told_that_the_outcome_is_unknown() -> None:
    async def work(url: str) -> Callable[[], Awaitable[Any]]:
        pipeline = Pipeline(connector(url))
        return lambda: pipeline.run(CANCEL, META, ["b"])

    assert set(asked_while_cut(work)) == {Unavailable.__name__}


def test_whatever_redis_py_raises_when_a_connection_is_cut_counts_as_lost() -> None:
    others = []

    async def work(url: str) -> Callable[[], Awaitable[Any]]:
        redis = client(url)

        async def ask() -> None:
            try:
                await redis.ping()
            except CONNECTION_LOST:
                raise
            except Exception as error:
                others.append(repr(error))
                raise

        return ask

    assert asked_while_cut(work)
    assert others == []


async def test_the_watch_over_the_loops_outlives_what_uvloop_says_of_a_cut_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = 0

    async def cut(_keys: list[str]) -> list[bytes | None]:
        nonlocal asked
        asked += 1
        raise RuntimeError("unable to perform operation on <TCPTransport>; the handler is closed")

    async def nothing() -> int:
        return 0

    queue = queue_pool("redis://nowhere:1")
    monkeypatch.setattr(queue, "mget", cut)
    hands = Hands([Loop("drain", nothing, idle_min_ms=1, idle_max_ms=1)], queue)
    watch = asyncio.create_task(hands.watch())
    await until(lambda: asked >= 3 or watch.done(), "it asks a third time")
    assert not watch.done()
    hands.stop()
    await watch
    assert asked >= 3
