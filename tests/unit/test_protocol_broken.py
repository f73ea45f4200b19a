"""What is not HTTP is answered like every other error, and never in the midst of another answer."""

from __future__ import annotations

import asyncio
import re
from typing import NamedTuple

import orjson
import pytest
from starlette.types import Receive, Scope, Send

from api import metrics
from api.call import Reply, send_reply
from api.endpoint import CONTEXT
from api.middleware import Gate
from tests.unit.test_protocol import GET, say, serving

CHUNKED = b"POST /%s HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
BROKEN_CHUNK = b"4\r\nbody\r\nnonsense\r\n"
BROKEN_HEADS = {
    "a method that is none": b"FOO / HTTP/1.1\r\nHost: x\r\n\r\n",
    "a blank in the path": b"GET /a b HTTP/1.1\r\nHost: x\r\n\r\n",
    "a path without a slash": b"GET healthz HTTP/1.1\r\nHost: x\r\n\r\n",
    "a path that is not ASCII": "GET /\u00e9 HTTP/1.1\r\nHost: x\r\n\r\n".encode(),
    "a blank in a header's name": b"GET / HTTP/1.1\r\nHost: x\r\nA b: c\r\n\r\n",
    "a control character": b"GET / HTTP/1.1\r\nHost: x\r\nA: b\x01c\r\n\r\n",
    "two lengths": b"POST / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
    "a negative length": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
    "a coding that is not known": b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n",
    "a query of 70 kB": b"GET /?a=%s HTTP/1.1\r\nHost: x\r\n\r\n" % (b"x" * 70_000),
    "a broken chunk": CHUNKED % b"at-once" + BROKEN_CHUNK,
    "another protocol": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
}


class Answer(NamedTuple):
    status: int
    headers: dict[bytes, bytes]
    body: bytes


def answers_in(wire: bytes) -> list[Answer]:
    """The answers that a client reads, one after the other; fails where they are not whole."""
    found = []
    while wire:
        head, _, wire = wire.partition(b"\r\n\r\n")
        first, *lines = head.split(b"\r\n")
        headers = dict(line.split(b": ", 1) for line in lines)
        if b"content-length" in headers:
            length = int(headers[b"content-length"])
            body, wire = wire[:length], wire[length:]
        else:
            assert headers[b"transfer-encoding"] == b"chunked"
            whole = re.match(rb"((?:[0-9a-f]+\r\n[^\r]+\r\n)+)0\r\n\r\n", wire)
            assert whole
            body, wire = whole[1], wire[whole.end() :]
        protocol, status, _ = first.split(b" ", 2)
        assert protocol == b"HTTP/1.1"
        found.append(Answer(int(status), headers, body))
    return found


def assert_refused(answer: Answer) -> None:
    headers, problem = answer.headers, orjson.loads(answer.body)
    assert answer.status == problem["status"] == 400
    assert headers[b"content-type"] == b"application/problem+json"
    assert headers[b"connection"] == b"close"
    assert headers[b"cache-control"] == b"no-store"
    assert headers[b"x-content-type-options"] == b"nosniff"
    assert problem["code"] == "invalid_request"
    assert problem["request_id"] == headers[b"x-request-id"].decode()
    assert re.fullmatch(rb"00-[0-9a-f]{32}-[0-9a-f]{16}-0[01]", headers[b"traceparent"])


class Served:
    """Behind the gate: reads the body unless told otherwise, and says which path was asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.begun = asyncio.Event()
        self.go_on = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope["path"]
        self.asked.append(path)
        self.begun.set()
        if path == "/waits":
            await self.go_on.wait()
        elif path == "/streams":
            start = {"type": "http.response.start", "status": 200, "headers": []}
            await send(start)
            await send({"type": "http.response.body", "body": b"begun", "more_body": True})
            await self.go_on.wait()
            await send({"type": "http.response.body", "body": b"ended"})
            return
        elif path != "/at-once":
            while (await receive()).get("more_body", False):
                pass
        await send_reply(scope[CONTEXT], send, Reply(200, path.encode()))


@pytest.mark.parametrize("request_text", BROKEN_HEADS.values(), ids=BROKEN_HEADS)
async def test_what_is_not_http_is_refused_with_a_problem_and_asks_for_nothing(
    request_text: bytes,
) -> None:
    app = Served()
    async with serving(Gate(app, 10)) as port:
        (answer,) = answers_in(await say(port, request_text))
        assert_refused(answer)
        assert app.asked == []
        before, answer = answers_in(await say(port, GET % 1 + request_text))
        assert (before.status, before.body) == (200, b"/1")
        assert_refused(answer)
        (after,) = answers_in(await say(port, b"GET /2 HTTP/1.0\r\n\r\n"))
        assert (after.status, after.body) == (200, b"/2")
        assert app.asked == ["/1", "/2"]


async def test_the_ids_that_came_before_the_fault_are_taken_over() -> None:
    trace_id = b"0af7651916cd43dd8448eb211c80319c"
    async with serving(Gate(Served(), 10)) as port:
        (answer,) = answers_in(
            await say(
                port,
                b"GET / HTTP/1.1\r\nX-Request-ID: mine\r\n"
                b"Traceparent: 00-%s-b7ad6b7169203331-01\r\nHost: x\r\nA b: c\r\n\r\n" % trace_id,
            )
        )
        assert_refused(answer)
        assert answer.headers[b"x-request-id"] == b"mine"
        assert answer.headers[b"traceparent"][3:35] == trace_id
        first, second = [answers_in(await say(port, b"nonsense\r\n\r\n"))[0] for _ in range(2)]
        assert first.headers[b"x-request-id"] != second.headers[b"x-request-id"]


async def test_a_refusal_of_what_is_not_http_is_counted() -> None:
    def counted() -> float:
        metrics.flush()
        found: float = metrics.PROBLEMS.labels("other", "invalid_request")._value.get()
        return found

    before = counted()
    async with serving(Gate(Served(), 10)) as port:
        await say(port, b"GET /a b HTTP/1.1\r\n\r\n")
    assert counted() == before + 1


async def test_a_head_request_is_refused_without_a_body() -> None:
    async with serving(Gate(Served(), 10)) as port:
        head, _, body = (await say(port, b"HEAD / HTTP/1.1\r\nA b: c\r\n\r\n")).partition(
            b"\r\n\r\n"
        )
    assert head.startswith(b"HTTP/1.1 400 ")
    assert body == b""


async def test_a_body_that_breaks_while_it_is_read_is_refused_in_its_handlers_place() -> None:
    app = Served()
    async with serving(Gate(app, 10)) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(CHUNKED % b"reads" + b"4\r\nbody\r\n")
        await app.begun.wait()
        writer.write(b"nonsense\r\n" + GET % 1)
        (answer,) = answers_in(await reader.read())
        writer.close()
    assert_refused(answer)
    assert app.asked == ["/reads"]


@pytest.mark.parametrize("path", [b"waits", b"streams"])
async def test_an_answer_that_was_begun_is_not_mixed_with_a_refusal(path: bytes) -> None:
    app = Served()
    async with serving(Gate(app, 10)) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(CHUNKED % path + b"4\r\nbody\r\n")
        await app.begun.wait()
        for late in (b"nonsense\r\n", b"more nonsense\r\n", GET % 1):
            writer.write(late)
            await asyncio.sleep(0.02)
        app.go_on.set()
        (answer,) = answers_in(await reader.read())
        writer.close()
    assert answer.status == 200
    assert len(app.asked) == 1


@pytest.mark.parametrize("path", [b"waits", b"streams"])
async def test_a_broken_request_is_refused_after_the_one_before_it_is_answered(
    path: bytes,
) -> None:
    app = Served()
    async with serving(Gate(app, 10)) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /%s HTTP/1.1\r\nHost: x\r\n\r\nGET /a b HTTP/1.1\r\n\r\n" % path)
        await app.begun.wait()
        writer.write(GET % 1)
        await asyncio.sleep(0.02)
        app.go_on.set()
        before, refused = answers_in(await reader.read())
        writer.close()
    assert before.status == 200
    assert_refused(refused)
    assert len(app.asked) == 1


async def test_a_body_that_breaks_after_its_answer_ends_the_connection_without_another() -> None:
    async with serving(Gate(Served(), 10)) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(CHUNKED % b"at-once" + b"4\r\nbody\r\n")
        wire = await reader.readuntil(b"/at-once")
        writer.write(b"nonsense\r\n")
        wire += await reader.read()
        writer.close()
    (answer,) = answers_in(wire)
    assert answer.status == 200
