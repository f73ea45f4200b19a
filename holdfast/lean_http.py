"""A lean HTTP/1.1 client: bounded connections that are kept, parsed by httptools.

For thousands of buyers on the machine that also runs what they buy from. It repeats nothing and
understands no more of HTTP than our own API speaks.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import httptools

from engine.errors import HoldfastError

REQUEST_TIMEOUT_S: Final = 30.0


class Lost(HoldfastError):
    """The answer did not come: whether the request was done is not known."""


@dataclass(frozen=True, slots=True)
class Response:
    """An answer; header names are in lower case. `took_s` is from the request's last byte on."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    took_s: float


class _Connection(asyncio.Protocol):
    """One connection, one request at a time."""

    def __init__(self) -> None:
        self.reusable = True
        self._transport: asyncio.Transport | None = None
        self._parser: httptools.HttpResponseParser | None = None
        self._headers: dict[str, str] = {}
        self._body = bytearray()
        self._waiting: asyncio.Future[None] | None = None

    async def exchange(self, message: bytes) -> Response:
        """Send a request and wait for its answer. Raises `Lost`."""
        assert self._transport
        self._parser = parser = httptools.HttpResponseParser(self)
        self._headers = {}
        self._body = bytearray()
        self._waiting = asyncio.get_running_loop().create_future()
        begun_s = time.perf_counter()
        self._transport.write(message)
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT_S):
                await self._waiting
        except BaseException as error:
            # What is still on its way would be taken for the next answer.
            self.close()
            if isinstance(error, TimeoutError):
                raise Lost("no answer in time") from error
            raise
        took_s = time.perf_counter() - begun_s
        return Response(parser.get_status_code(), self._headers, bytes(self._body), took_s)

    def close(self) -> None:
        """Drop the connection."""
        self.reusable = False
        if self._transport:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the transport."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the transport."""
        self.reusable = False
        if self._waiting and not self._waiting.done():
            self._waiting.set_exception(Lost(f"the connection ended: {exc}"))

    def data_received(self, data: bytes) -> None:
        """Called by the transport."""
        try:
            if self._parser:
                self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            if self._waiting and not self._waiting.done():
                self._waiting.set_exception(Lost(f"not HTTP: {error}"))

    def on_header(self, name: bytes, value: bytes) -> None:
        """Called by the parser."""
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        """Called by the parser."""
        self._body += body

    def on_message_complete(self) -> None:
        """Called by the parser."""
        # Only here does the parser know: the next moment it is ready for another message.
        if not (self._parser and self._parser.should_keep_alive()):
            self.reusable = False
        if self._waiting and not self._waiting.done():
            self._waiting.set_result(None)


class Client:
    """Talks to one server over at most `connections` connections.

    Who has to wait for one waits in line; an `urgent` request goes to the front.
    """

    def __init__(self, url: str, connections: int) -> None:
        address = urlsplit(url)
        assert address.hostname
        self._host = address.hostname
        self._port = address.port or 80
        self._host_header = f"Host: {address.netloc}\r\n"
        self._free = connections
        self._idle: list[_Connection] = []
        self._line: deque[asyncio.Future[None]] = deque()

    async def request(
        self, method: str, path: str, headers: str, body: bytes = b"", *, urgent: bool = False
    ) -> Response:
        """Send one request, once.

        Args:
            headers: whole lines, each with its CRLF.

        Raises `Lost`.
        """
        head = (
            f"{method} {path} HTTP/1.1\r\n{self._host_header}{headers}"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        await self._enter(urgent=urgent)
        try:
            connection = await self._connect()
            response = await connection.exchange(head.encode("latin-1") + body)
            if connection.reusable:
                self._idle.append(connection)
            else:
                connection.close()
            return response
        finally:
            self._leave()

    def close(self) -> None:
        """Drop the connections that are kept."""
        while self._idle:
            self._idle.pop().close()

    async def _connect(self) -> _Connection:
        while self._idle:
            connection = self._idle.pop()
            if connection.reusable:
                return connection
        try:
            _, connection = await asyncio.get_running_loop().create_connection(
                _Connection, self._host, self._port
            )
        except OSError as error:
            raise Lost(f"no connection: {error}") from error
        return connection

    async def _enter(self, *, urgent: bool) -> None:
        if self._free:
            self._free -= 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if urgent:
            self._line.appendleft(turn)
        else:
            self._line.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._leave()
            raise

    def _leave(self) -> None:
        while self._line:
            turn = self._line.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1
