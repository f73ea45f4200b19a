"""A lean HTTP client that forgets nothing: every request and its answer is kept in a `History`.

Our own, because a test that floods a server shares two cores with it, and because what is tested
is what happens when an answer does not come: nothing here repeats a request by itself, and a
connection that breaks is an `Answer` of status 0, not an exception.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import urlsplit

import orjson

UNKNOWN = 0
"""The status of a request whose answer did not come: it may have been done or not."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server said; header names are in lower case."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def json(self) -> Any:
        """The body, parsed."""
        return orjson.loads(self.body)

    @property
    def code(self) -> str:
        """The `code` of a problem; empty for everything else."""
        if self.headers.get("content-type", "").startswith("application/problem+json"):
            return str(self.json["code"])
        return ""

    @property
    def is_replay(self) -> bool:
        """Whether the server says that it answered this before."""
        return self.headers.get("idempotency-replayed") == "true"


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request as it was sent, and its answer. Times are of `time.monotonic`."""

    method: str
    path: str
    key: str | None
    sent: Any
    began_s: float
    ended_s: float
    answer: Answer


class History:
    """Everything that was asked and answered, in the order in which the answers came."""

    def __init__(self) -> None:
        self.exchanges: list[Exchange] = []

    def __iter__(self) -> Iterator[Exchange]:
        return iter(self.exchanges)

    def __len__(self) -> int:
        return len(self.exchanges)

    def count(self, status: int) -> int:
        """How many requests were answered so; `UNKNOWN` counts those without an answer."""
        return sum(exchange.answer.status == status for exchange in self)

    def held(self) -> dict[str, Any]:
        """Bookings as first answered 201, by their key; fails where a key has two answers."""
        bodies: dict[str, bytes] = {}
        for exchange in self:
            if exchange.key and exchange.path == "/v1/bookings" and exchange.answer.status == 201:
                body = bodies.setdefault(exchange.key, exchange.answer.body)
                assert body == exchange.answer.body, f"key {exchange.key} has two answers"
        bookings = {key: orjson.loads(body) for key, body in bodies.items()}
        ids = {booking["id"] for booking in bookings.values()}
        assert len(ids) == len(bookings), "two keys share a booking"
        return bookings

    def surprises(self) -> list[str]:
        """Answers that no buyer should ever get: what nobody foresaw, or what was sent wrong."""
        return [
            f"{exchange.method} {exchange.path}: {exchange.answer.status} {exchange.answer.body!r}"
            for exchange in self
            if (exchange.answer.status >= 500 and exchange.answer.status != 503)
            or exchange.answer.status in {400, 401, 403, 404, 405, 413, 415, 422}
        ]


class Client:
    """Talks to one server over as many kept-alive connections as there are requests at once."""

    def __init__(
        self,
        url: str,
        headers: Mapping[str, str] | None = None,
        history: History | None = None,
        timeout_s: float = 30.0,
    ) -> None:
        address = urlsplit(url)
        assert address.hostname
        assert address.port
        self.host, self.port = address.hostname, address.port
        self.headers = dict(headers or {})
        self.history = History() if history is None else history
        self.timeout_s = timeout_s
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Drop the connections that are kept."""
        for _, writer in self._idle:
            writer.close()
        self._idle.clear()

    async def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        key: str | None = None,
        headers: Mapping[str, str] | None = None,
        abandon_after_s: float | None = None,
    ) -> Answer:
        """Send one request, once.

        Args:
            key: its `Idempotency-Key`.
            headers: more headers; one that is empty is left out.
            abandon_after_s: hang up after that time, whatever has come by then.
        """
        began_s = time.monotonic()
        patience_s = self.timeout_s if abandon_after_s is None else abandon_after_s
        answer = Answer(UNKNOWN)
        try:
            async with asyncio.timeout(patience_s):
                reader, writer = await self._connect()
                answer = await self._exchange(
                    reader, writer, self._spell(method, path, body, key, headers)
                )
        except (OSError, EOFError, TimeoutError):
            pass
        ended_s = time.monotonic()
        self.history.exchanges.append(Exchange(method, path, key, body, began_s, ended_s, answer))
        return answer

    async def get(self, path: str, **options: Any) -> Answer:
        """Send a GET."""
        return await self.request("GET", path, **options)

    async def post(self, path: str, body: Any = None, **options: Any) -> Answer:
        """Send a POST."""
        return await self.request("POST", path, body, **options)

    async def put(self, path: str, body: Any, **options: Any) -> Answer:
        """Send a PUT."""
        return await self.request("PUT", path, body, **options)

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        while self._idle:
            reader, writer = self._idle.pop()
            if not reader.at_eof() and not writer.is_closing():
                return reader, writer
            writer.close()
        return await asyncio.open_connection(self.host, self.port)

    def _spell(
        self,
        method: str,
        path: str,
        body: Any,
        key: str | None,
        more: Mapping[str, str] | None,
    ) -> bytes:
        content = b"" if body is None else body if isinstance(body, bytes) else orjson.dumps(body)
        headers = {"Host": f"{self.host}:{self.port}", **self.headers}
        if body is not None:
            headers["Content-Type"] = "application/json"
        if key is not None:
            headers["Idempotency-Key"] = key
        headers |= {"Content-Length": str(len(content)), **(more or {})}
        lines = [f"{method} {path} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in headers.items() if value]
        return "\r\n".join((*lines, "\r\n")).encode() + content

    async def _exchange(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, message: bytes
    ) -> Answer:
        """Write and read on one connection, which is kept only if the answer came whole."""
        keep = False
        try:
            writer.write(message)
            await writer.drain()
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            status = int(head[0].split(" ", 2)[1])
            headers = {}
            for line in head[1:-2]:
                name, _, value = line.partition(":")
                headers[name.lower()] = value.strip()
            if "content-length" in headers:
                content = await reader.readexactly(int(headers["content-length"]))
            else:
                content = await _read_chunks(reader)
            keep = headers.get("connection", "").lower() != "close"
            return Answer(status, headers, content)
        finally:
            if keep:
                self._idle.append((reader, writer))
            else:
                with contextlib.suppress(OSError):
                    writer.transport.abort()


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    """Read a body in `chunked` coding."""
    content = b""
    while size := int((await reader.readuntil(b"\r\n")).partition(b";")[0], 16):
        content += await reader.readexactly(size)
        await reader.readexactly(2)
    await reader.readuntil(b"\r\n")
    return content
