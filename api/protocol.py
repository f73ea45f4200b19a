"""HTTP/1.1 as uvicorn speaks it, with less done for each request.

uvicorn looks at each header of each answer with two regular expressions and joins them one by one,
sets a timer after each answer and stops it before the next request: with nine headers that costs
more than all else that it does. Parsing, flow control, pipelining and shutdown stay uvicorn's; here
an answer may be one message (an ASGI extension, `ANSWER`), and a connection has one timer.

What is not HTTP is answered like every other error, once, in its turn behind the answers that are
due before it, and ends the connection: where the next request would begin is not known.
"""

from __future__ import annotations

import asyncio
import urllib.parse
from collections.abc import Awaitable
from typing import Final

import httptools
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

from api.call import ANSWER
from api.middleware import refuse
from api.problems import Problem
from engine.limits import ANSWER_STALL_MS

_ASGI: Final = {"version": "3.0", "spec_version": "2.3"}
_EXTENSIONS: Final[dict[str, dict[object, object]]] = {ANSWER: {}}
_METHODS: Final = {
    name.encode(): name for name in ("GET", "HEAD", "PUT", "POST", "PATCH", "DELETE", "OPTIONS")
}


class _Cycle(RequestResponseCycle):
    """One request and its answer."""

    asked: ASGIApp
    """The application."""
    broken = False
    """Whether the rest of the request cannot be read."""

    def app(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """The application, or the refusal of a request that was broken before it came to it."""
        return (refuse if self.broken else self.asked)(scope, receive, send)

    def break_off(self) -> None:
        """Note that the rest of the request cannot be read. Its answer is the connection's last.

        Nothing is written here: who has begun to answer goes on, who waits for the body is told.
        """
        self.broken, self.keep_alive = True, False
        self.waiting_for_100_continue = False
        self.message_event.set()

    async def receive(self) -> Message:  # type: ignore[override]
        """Give a piece of the body.

        Raises:
            Problem: the body is broken, and nothing is answered yet.
        """
        message = await super().receive()
        if self.broken and not self.response_started and not self.disconnected:
            raise Problem("invalid_request", "The body is not well-formed HTTP/1.1.")
        return message  # type: ignore[return-value]

    async def send(self, message: Message) -> None:  # type: ignore[override]
        """Take a message of ASGI's, or an `ANSWER`."""
        if self.flow.write_paused and not self.disconnected:
            await self._wait_for_the_reader()
        if message["type"] != ANSWER:
            await super().send(message)  # type: ignore[arg-type]
            return
        if self.disconnected:
            return
        assert not self.response_started, "an answer is whole"
        lines = [STATUS_LINE[message["status"]]]
        for name, value in self.default_headers:
            lines += (name, b": ", value, b"\r\n")
        lines.append(message["head"])
        lines.append(b"\r\n" if self.keep_alive else b"connection: close\r\n\r\n")
        if self.scope["method"] != "HEAD":
            lines.append(message["body"])
        self.response_started = self.response_complete = True
        self.waiting_for_100_continue = False
        self.transport.write(b"".join(lines))
        self.message_event.set()
        if not self.keep_alive:
            self.transport.close()
        self.on_response()

    async def _wait_for_the_reader(self) -> None:
        """Let the answers before this one be read, or end the connection.

        A reader who takes nothing and stays would keep the place of this request for ever.
        """
        try:
            async with asyncio.timeout(ANSWER_STALL_MS / 1000):
                await self.flow.drain()
        except TimeoutError:
            self.transport.abort()
        # uvicorn tells only the request that it has read last that the connection is gone.
        self.disconnected = self.disconnected or self.transport.is_closing()


class HttpProtocol(HttpToolsProtocol):
    """One connection. It may be idle for `timeout_keep_alive`, before its first request as well."""

    _timer: asyncio.TimerHandle | None = None
    _idle_since_s = 0.0
    _ending = False
    """Whether it was found to be closing, and waits for the last answer to be read."""
    _broken = False
    """Whether what came is not HTTP. What comes after it is not looked at."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Called by the transport."""
        super().connection_made(transport)
        self._idle()

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the transport."""
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Called by the transport."""
        if self._broken:
            return
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._unsupported_upgrade_warning()
        except httptools.HttpParserError:
            self._broken = True
            self._break_off()

    def _break_off(self) -> None:
        """End a connection on which no further request can be told from the rest."""
        last: RequestResponseCycle | None = self.cycle
        if not isinstance(last, _Cycle) or last.scope is not self.scope:
            # Its head broke. A method is known once there is something of its URL.
            method = self.parser.get_method().decode("ascii") if self.url else ""
            self.scope["method"] = method
            self._begin(keep_alive=False).break_off()
            # A socket that is closed with something unread takes back what was sent last.
            self.flow.resume_reading()
        elif last.response_complete:
            # Answered before its body was read: one more answer would be one to no request.
            self.transport.close()
        else:
            last.break_off()

    def _unset_keepalive_if_required(self) -> None:
        """The one timer looks for itself whether a connection is idle."""

    def on_message_begin(self) -> None:
        """Called by the parser."""
        self.url = b""
        self.expect_100_continue = False
        self.headers = []
        self.scope = {
            "type": "http",
            "asgi": _ASGI,  # type: ignore[typeddict-item]
            "http_version": "1.1",
            "server": self.server,
            "client": self.client,
            "scheme": self.scheme,  # type: ignore[typeddict-item]
            "root_path": "",
            "headers": self.headers,
            "state": self.app_state,
            "extensions": _EXTENSIONS,
        }

    def on_headers_complete(self) -> None:
        """Called by the parser."""
        parser, scope = self.parser, self.scope
        method = parser.get_method()
        scope["method"] = _METHODS.get(method) or method.decode("ascii")
        version = parser.get_http_version()
        if version != "1.1":
            scope["http_version"] = version
        url = httptools.parse_url(self.url)
        raw_path = url.path
        path = raw_path.decode("ascii")
        scope["path"] = urllib.parse.unquote(path) if "%" in path else path
        scope["raw_path"] = raw_path
        scope["query_string"] = url.query or b""
        self._begin(keep_alive=version != "1.0" and parser.should_keep_alive())

    def _begin(self, *, keep_alive: bool) -> _Cycle:
        """Have the request answered, now or in its turn."""
        before: RequestResponseCycle | None = self.cycle
        self.cycle = cycle = _Cycle(
            self.scope,
            self.transport,
            self.flow,
            self.logger,
            self.access_logger,
            False,
            self.server_state.default_headers,
            asyncio.Event(),
            self.expect_100_continue,
            keep_alive,
            self.on_response_complete,
        )
        cycle.asked = self.app
        if before is None or before.response_complete:
            self._start_asgi_task(cycle, cycle.app)  # type: ignore[arg-type]
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((cycle, cycle.app))  # type: ignore[arg-type]
        return cycle

    def on_response_complete(self) -> None:
        """Called at the end of an answer."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            cycle, app = self.pipeline.pop()
            self._start_asgi_task(cycle, app)
        else:
            self._idle()

    def _idle(self) -> None:
        self._idle_since_s = self.loop.time()
        if self._timer is None:
            self._timer = self.loop.call_later(self.timeout_keep_alive, self._look)

    def _look(self) -> None:
        """Close the connection if it has been idle for long enough, else look again then."""
        if self._ending:
            # Closed for as long as it may be idle, and nobody has read what was left.
            self.transport.abort()
            return
        cycle: RequestResponseCycle | None = self.cycle
        left_s = self._idle_since_s + self.timeout_keep_alive - self.loop.time()
        if cycle and not cycle.response_complete:
            left_s = self.timeout_keep_alive
        elif left_s <= 0:
            self.transport.close()
        if self.transport.is_closing():
            self._ending, left_s = True, self.timeout_keep_alive
        self._timer = self.loop.call_later(left_s, self._look)
