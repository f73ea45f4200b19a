"""HTTP on the wire: answers in one piece are uvicorn's, and idle connections have a bound."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from starlette.types import Receive, Scope, Send

from api.call import ANSWER, Context, Reply, send_reply
from api.protocol import HttpProtocol
from api.serve import make_server
from tests.helpers.servers import until

App = Callable[[Scope, Receive, Send], Awaitable[None]]

GET = b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n"


async def answer(scope: Scope, receive: Receive, send: Send) -> None:
    """Says which path was asked for, after everything that was sent."""
    body = scope["path"].encode()
    more = True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    context = Context({}, "request-1", "trace-1", ANSWER in scope.get("extensions", ()))
    await send_reply(context, send, Reply(201, body, [(b"location", b"/there")]))


@asynccontextmanager
async def serving(
    app: App, protocol: type[HttpProtocol] | None = HttpProtocol
) -> AsyncIterator[int]:
    """A server of an application; its port."""
    server = make_server(app, lifespan=False, protocol=protocol or "httptools")
    with socket.create_server(("127.0.0.1", 0)) as listening:
        running = asyncio.create_task(server.serve([listening]))
        try:
            yield listening.getsockname()[1]
        finally:
            server.should_exit = True
            await running


async def say(port: int, *requests: bytes) -> bytes:
    """Send in one write each; everything that comes until the server closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for request in requests:
            writer.write(request)
            await writer.drain()
        return await reader.read()
    finally:
        writer.close()


def without_date(answers: bytes) -> list[bytes]:
    return [line for line in answers.split(b"\r\n") if not line.startswith(b"date: ")]


@pytest.mark.parametrize(
    "request_text",
    [
        b"GET /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        b"GET /a%20b?c=d HTTP/1.0\r\n\r\n",
        b"HEAD /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        b"POST /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 4\r\n\r\nbody",
        GET % 1 + b"GET /2 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    ],
    ids=["close", "http 1.0", "head", "post", "two at once"],
)
async def test_what_is_answered_is_what_uvicorn_answers(request_text: bytes) -> None:
    async with serving(answer) as port, serving(answer, None) as plain:
        ours = await say(port, request_text)
        assert ours.startswith(b"HTTP/1.1 ")
        assert sorted(without_date(ours)) == sorted(without_date(await say(plain, request_text)))


async def test_a_body_is_asked_for_where_the_client_waits_to_be_asked() -> None:
    async with serving(answer) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(
            b"POST /a HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 4\r\n"
            b"Connection: close\r\n\r\n"
        )
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"body")
        assert (await reader.read()).endswith(b"\r\n\r\n/abody")
        writer.close()


async def test_requests_that_come_at_once_are_answered_one_after_the_other() -> None:
    order: list[str] = []

    async def slow_first(scope: Scope, receive: Receive, send: Send) -> None:
        order.append(f"begun {scope['path']}")
        if scope["path"] == "/0":
            await asyncio.sleep(0.05)
        await answer(scope, receive, send)
        order.append(f"ended {scope['path']}")

    async with serving(slow_first) as port:
        last = b"GET /2 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        answers = await say(port, GET % 0 + GET % 1 + last)
    bodies = [line for line in answers.split(b"\r\n") if line.startswith(b"/")]
    assert bodies == [b"/0HTTP/1.1 201 Created", b"/1HTTP/1.1 201 Created", b"/2"]
    assert order == [f"{what} /{at}" for at in range(3) for what in ("begun", "ended")]


class Hasty(HttpProtocol):
    """Idle connections end at once."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self.timeout_keep_alive = 0.05  # type: ignore[assignment]


async def test_a_connection_that_never_asks_is_closed() -> None:
    async with serving(answer, Hasty) as port:
        assert await say(port) == b""
        assert await say(port, b"GET / HTTP/1.1\r\nHost: x\r\n") == b"", "nor one that never ends"


async def test_a_connection_is_closed_when_it_was_idle_and_not_while_it_is_busy() -> None:
    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.sleep(0.2)
        await answer(scope, receive, send)

    async with serving(slow, Hasty) as port:
        answers = await say(port, GET % 7)
    assert answers.endswith(b"/7")
    assert b"connection: close" not in answers


LARGE = b"x" * 1_000_000
"""More than systems keep for a reader, after some of them."""


async def large(scope: Scope, receive: Receive, send: Send) -> None:
    context = Context({}, "request-1", "trace-1", ANSWER in scope.get("extensions", ()))
    await send_reply(context, send, Reply(200, LARGE))


async def test_an_answer_does_not_wait_for_ever_behind_others_that_nobody_reads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("api.protocol.ANSWER_STALL_MS", 300)
    at_work = 0

    async def counted(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal at_work
        at_work += 1
        try:
            await large(scope, receive, send)
        finally:
            at_work -= 1

    async with serving(counted) as port:
        with socket.create_connection(("127.0.0.1", port)) as never_reads:
            never_reads.sendall(b"".join(GET % number for number in range(40)))
            await asyncio.sleep(0.1)
            await until(lambda: at_work == 1, "one waits for its reader")
            await until(lambda: at_work == 0, "none waits any longer")
            await asyncio.sleep(0.1)
            assert at_work == 0, "and none came after it"


async def test_a_connection_ends_whose_last_answer_nobody_reads() -> None:
    lost: list[Exception | None] = []

    class Watched(Hasty):
        def connection_lost(self, exc: Exception | None) -> None:
            lost.append(exc)
            super().connection_lost(exc)

    async def enormous(scope: Scope, receive: Receive, send: Send) -> None:
        context = Context({}, "request-1", "trace-1", ANSWER in scope.get("extensions", ()))
        await send_reply(context, send, Reply(200, 20 * LARGE))

    async with serving(enormous, Watched) as port:
        with socket.create_connection(("127.0.0.1", port)) as never_reads:
            never_reads.sendall(GET % 1)
            await until(lambda: len(lost) == 1, "it is lost")
