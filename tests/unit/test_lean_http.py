"""The demonstration's HTTP client: connections kept, bounded, and never mixed up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from holdfast.lean_http import Client, Lost

Serve = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]


class Server:
    """Reads requests and lets `serve` answer them."""

    def __init__(self, serve: Serve) -> None:
        self.serve = serve
        self.connections = 0
        self.requests: list[bytes] = []
        self.handlers: set[asyncio.Task[Any] | None] = set()

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.handlers.add(asyncio.current_task())
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
                request = head + await reader.readexactly(length)
                self.requests.append(request)
                await self.serve(request, writer)
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def serving(serve: Serve, connections: int = 4) -> AsyncIterator[tuple[Server, Client]]:
    server = Server(serve)
    listening = await asyncio.start_server(server.handle, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    client = Client(f"http://127.0.0.1:{port}", connections)
    try:
        yield server, client
    finally:
        client.close()
        listening.close()
        await asyncio.gather(*(handler for handler in server.handlers if handler))


async def echo(request: bytes, writer: asyncio.StreamWriter) -> None:
    body = request.split(b" ")[1]
    writer.write(b"HTTP/1.1 200 OK\r\nX-Path: yes\r\nContent-Length: %d\r\n\r\n" % len(body))
    writer.write(body)


async def test_answers_go_to_those_who_asked_over_connections_that_are_kept() -> None:
    async with serving(echo) as (server, client):
        paths = [f"/{number}" for number in range(50)]
        found = await asyncio.gather(*(client.request("GET", path, "") for path in paths))
        assert [one.body.decode() for one in found] == paths
        assert {one.status for one in found} == {200}
        assert found[0].headers["x-path"] == "yes"
        assert server.connections == 4


async def test_a_request_is_spelled_whole() -> None:
    async with serving(echo) as (server, client):
        await client.request("POST", "/x", "A: b\r\n", b"{}")
        head, _, body = server.requests[0].partition(b"\r\n\r\n")
        assert body == b"{}"
        lines = head.split(b"\r\n")
        assert lines[0] == b"POST /x HTTP/1.1"
        assert lines[1].startswith(b"Host: 127.0.0.1:")
        assert lines[2:] == [b"A: b", b"Content-Length: 2"]


async def test_a_body_in_pieces_and_in_chunks_comes_whole() -> None:
    async def serve(_: bytes, writer: asyncio.StreamWriter) -> None:
        for piece in (b"HTTP/1.1 200 OK\r\nTransfer-", b"Encoding: chunked\r\n\r\n3\r\nabc"):
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.001)
        writer.write(b"\r\n2\r\nde\r\n0\r\n\r\n")

    async with serving(serve) as (_, client):
        assert (await client.request("GET", "/", "")).body == b"abcde"


@pytest.mark.parametrize(
    "answer", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", b"?\n"]
)
async def test_an_answer_that_does_not_come_whole_is_lost_and_the_next_request_is_fine(
    answer: bytes,
) -> None:
    async def serve(request: bytes, writer: asyncio.StreamWriter) -> None:
        if request.startswith(b"GET /broken"):
            writer.write(answer)
            await writer.drain()
            writer.close()
        else:
            await echo(request, writer)

    async with serving(serve, connections=1) as (_, client):
        with pytest.raises(Lost):
            await client.request("GET", "/broken", "")
        assert (await client.request("GET", "/fine", "")).body == b"/fine"


async def test_a_server_that_says_close_is_not_asked_on_that_connection_again() -> None:
    async def serve(_: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")

    async with serving(serve, connections=1) as (server, client):
        for _ in range(3):
            await client.request("GET", "/", "")
        assert server.connections == 3


async def test_a_request_that_is_cancelled_leaves_no_answer_behind() -> None:
    waiting = asyncio.Event()

    async def serve(request: bytes, writer: asyncio.StreamWriter) -> None:
        if request.startswith(b"GET /slow"):
            waiting.set()
            await asyncio.sleep(0.02)
        await echo(request, writer)

    async with serving(serve, connections=1) as (_, client):
        slow = asyncio.create_task(client.request("GET", "/slow", ""))
        await waiting.wait()
        slow.cancel()
        assert (await client.request("GET", "/next", "")).body == b"/next"


async def test_who_is_urgent_goes_before_those_who_wait() -> None:
    async with serving(echo, connections=1) as (server, client):
        await asyncio.gather(
            client.request("GET", "/first", ""),
            client.request("GET", "/second", ""),
            client.request("GET", "/urgent", "", urgent=True),
        )
        order = [request.split(b" ")[1] for request in server.requests]
        assert order == [b"/first", b"/urgent", b"/second"]


async def test_nobody_there_is_lost_and_frees_the_place_in_line() -> None:
    client = Client("http://127.0.0.1:1", 1)
    for _ in range(2):
        with pytest.raises(Lost):
            await client.request("GET", "/", "")
