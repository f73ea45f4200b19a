"""A TCP proxy in front of Redis or PostgreSQL that cuts, swallows, holds back and slows down.

A fault is for the next request with `needle` in it: a script's digest, `COMMIT;`. It knows nothing
of either protocol but that a client sends a request in one write and then waits for its answer.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, Self
from urllib.parse import urlsplit

_CHUNK_BYTES: Final = 1 << 20
_NOT_RUN: Final = b"-NOSCRIPT"
"""No answer yet: the script is sent again, whole, on the same connection."""


class Cut(Enum):
    """What happens to a request."""

    RESET_BEFORE = "reset_before"
    """The connection is reset, and the server never hears of it."""
    RESET_AFTER = "reset_after"
    """The server does it, and the connection is reset in place of the answer."""
    SWALLOW = "swallow"
    """The server does it, the connection stays, and no answer ever comes."""
    HOLD_REQUEST = "hold_request"
    """It waits for `release` before the server hears of it."""
    HOLD_ANSWER = "hold_answer"
    """The server does it, and the answer waits for `release`."""


_OF_ANSWERS: Final = frozenset({Cut.RESET_AFTER, Cut.SWALLOW, Cut.HOLD_ANSWER})


@dataclass(slots=True)
class WireFault:
    """One fault. `fired` proves that it was."""

    cut: Cut
    needle: bytes
    fired: asyncio.Event = field(default_factory=asyncio.Event)
    released: asyncio.Event = field(default_factory=asyncio.Event)

    def release(self) -> None:
        """Let what is held go on."""
        self.released.set()


class WireProxy:
    """Passes bytes on to the server of `url`; a context manager that listens on loopback."""

    def __init__(self, url: str) -> None:
        self._upstream = urlsplit(url)
        self._plan: list[WireFault] = []
        self._server: asyncio.Server | None = None
        self._links: set[asyncio.Task[None]] = set()
        self._clients: set[asyncio.WriteTransport] = set()
        self.url = ""
        self.delay_s = 0.0
        """How long each request waits before the server hears of it."""
        self.delayed = 0
        """Requests that waited."""

    def plan(self, cut: Cut, needle: bytes) -> WireFault:
        """Do this to the next request that has `needle` in it; several are done one by one."""
        fault = WireFault(cut, needle)
        self._plan.append(fault)
        return fault

    def lead_to(self, url: str) -> None:
        """Pass what connects from now on to another server, as a name does that was moved."""
        self._upstream = urlsplit(url)

    @property
    def connections(self) -> int:
        """How many clients are connected now."""
        return len(self._links)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        user = self._upstream.netloc.rpartition("@")[0]
        self.url = self._upstream._replace(netloc=f"{user}@127.0.0.1:{port}").geturl()
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server
        self._server.close()
        for client in self._clients:
            client.abort()
        await asyncio.gather(*self._links, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = asyncio.current_task()
        assert link
        self._links.add(link)
        self._clients.add(writer.transport)
        try:
            async with self._dial() as (answers, requests):
                await _Link(self, reader, writer, answers, requests).carry()
        except OSError:
            pass  # Whoever is not there, or leaves: the other side is told by the reset.
        finally:
            writer.transport.abort()
            self._links.discard(link)
            self._clients.discard(writer.transport)

    @contextlib.asynccontextmanager
    async def _dial(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        reader, writer = await asyncio.open_connection(
            self._upstream.hostname, self._upstream.port, limit=_CHUNK_BYTES
        )
        try:
            yield reader, writer
        finally:
            writer.transport.abort()

    def take(self, request: bytes) -> WireFault | None:
        """The fault that is meant for a request."""
        for fault in self._plan:
            if fault.needle in request:
                self._plan.remove(fault)
                return fault
        return None


class _Link:
    """One client's connection and its counterpart."""

    def __init__(
        self,
        proxy: WireProxy,
        client: asyncio.StreamReader,
        to_client: asyncio.StreamWriter,
        server: asyncio.StreamReader,
        to_server: asyncio.StreamWriter,
    ) -> None:
        self._proxy = proxy
        self._client, self._to_client = client, to_client
        self._server, self._to_server = server, to_server
        self._due: WireFault | None = None
        """What is to happen to the next answer."""

    async def carry(self) -> None:
        """Pass on until either side ends, or a fault does."""
        ways = [asyncio.create_task(way) for way in (self._requests(), self._answers())]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)

    async def _requests(self) -> None:
        while request := await self._client.read(_CHUNK_BYTES):
            fault = self._proxy.take(request)
            if fault and fault.cut in _OF_ANSWERS:
                self._due = fault
            elif fault:
                fault.fired.set()
                if fault.cut is Cut.RESET_BEFORE:
                    return
                await fault.released.wait()
            if self._proxy.delay_s:
                self._proxy.delayed += 1
                await asyncio.sleep(self._proxy.delay_s)
            self._to_server.write(request)
            await self._to_server.drain()

    async def _answers(self) -> None:
        while answer := await self._server.read(_CHUNK_BYTES):
            fault = self._due
            if fault and not answer.startswith(_NOT_RUN):
                self._due = None
                fault.fired.set()
                if fault.cut is Cut.RESET_AFTER:
                    return
                if fault.cut is Cut.SWALLOW:
                    await asyncio.Event().wait()
                await fault.released.wait()
            self._to_client.write(answer)
            await self._to_client.drain()
