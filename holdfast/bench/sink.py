"""A mail server that takes everything and keeps nothing: it counts, at next to no cost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final, cast

_ANSWERS: Final = {b"DATA": b"354 go on\r\n", b"QUIT": b"221 bye\r\n"}
_TAKEN: Final = b"250 taken\r\n"
_END: Final = b"\r\n.\r\n"


class Sink:
    """Where it listens, and how many messages it was given."""

    def __init__(self) -> None:
        self.url = ""
        self.count = 0


class _Session(asyncio.Protocol):
    """One client, which waits for each answer (RFC 5321 without PIPELINING)."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._transport: asyncio.Transport | None = None
        self._received = b""
        self._in_message = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the transport."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(b"220 sink\r\n")

    def data_received(self, data: bytes) -> None:
        """Called by the transport."""
        self._received += data
        if not self._received.endswith(_END if self._in_message else b"\r\n"):
            return
        verb, self._received = self._received[:4].upper(), b""
        assert self._transport
        if self._in_message:
            self._in_message = False
            self._sink.count += 1
            self._transport.write(_TAKEN)
            return
        self._in_message = verb == b"DATA"
        self._transport.write(_ANSWERS.get(verb, _TAKEN))
        if verb == b"QUIT":
            self._transport.close()


@asynccontextmanager
async def open_sink() -> AsyncIterator[Sink]:
    """One on a free port of loopback, on the caller's event loop."""
    sink = Sink()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Session(sink), "127.0.0.1", 0)
    sink.url = f"smtp://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield sink
    finally:
        server.close()
