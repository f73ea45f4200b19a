"""One path: the order of its checks, and bodies that come slowly, in pieces, or not at all."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import orjson
import pytest

from api import endpoint
from api.call import Call, Context, Disconnected, Reply, json_reply
from api.endpoint import CONTEXT, Endpoint
from api.operations import ANYBODY, Answered, Operation
from api.parts import Parts
from api.problems import Problem
from api.schemas import Act
from engine.limits import MAX_BODY_BYTES

JSON = (b"content-type", b"application/json")


async def echo(call: Call) -> Reply:
    body: Act = call.body
    return json_reply(200, {"customer_id": body.customer_id})


def operation(*, body_required: bool) -> Operation:
    return Operation(
        name="echo",
        method="POST",
        path="/x",
        tag="x",
        summary="x",
        handler=echo,
        scopes=ANYBODY,
        body=Act,
        body_required=body_required,
        answers={200: Answered(about="x", shape=str)},
    )


class Wire:
    """What a server gives to an application and takes from it."""

    def __init__(self, *messages: Any, pause_s: float = 0.0) -> None:
        self.messages = list(messages)
        self.pause_s = pause_s
        self.sent: list[Any] = []

    async def receive(self) -> Any:
        await asyncio.sleep(self.pause_s)
        return self.messages.pop(0)

    async def send(self, message: Any) -> None:
        self.sent.append(message)


def piece(body: bytes, *, more: bool = False) -> Any:
    return {"type": "http.request", "body": body, "more_body": more}


async def ask(wire: Wire, *headers: tuple[bytes, bytes], body_required: bool = True) -> Any:
    scope = {
        "type": "http",
        "method": "POST",
        "query_string": b"",
        "headers": list(headers),
        "path_params": {},
        CONTEXT: Context(dict(headers), "r", "00-a-b-00"),
    }
    path = Endpoint(cast("Parts", None), [operation(body_required=body_required)])
    await path(scope, wire.receive, wire.send)
    return orjson.loads(wire.sent[1]["body"])


async def refused(wire: Wire, *headers: tuple[bytes, bytes], body_required: bool = True) -> str:
    with pytest.raises(Problem) as caught:
        await ask(wire, *headers, body_required=body_required)
    assert not wire.sent
    return caught.value.code


async def test_a_body_may_come_in_pieces() -> None:
    wire = Wire(
        piece(b'{"customer', more=True),
        piece(b'_id": ', more=True),
        piece(b'"ann"}'),
        pause_s=0.001,
    )
    assert await ask(wire, JSON) == {"customer_id": "ann"}


async def test_a_body_that_takes_too_long_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "BODY_TIMEOUT_MS", 50)
    wire = Wire(*[piece(b" ", more=True)] * 100, pause_s=0.01)
    assert await refused(wire, JSON) == "request_timeout"


async def test_pieces_that_come_to_too_much_are_refused_at_once() -> None:
    wire = Wire(*[piece(b" " * 1024, more=True)] * 100)
    assert await refused(wire, JSON) == "body_too_large"
    assert len(wire.messages) == 100 - MAX_BODY_BYTES // 1024 - 1
    assert await refused(Wire(piece(b" " * (MAX_BODY_BYTES + 1))), JSON) == "body_too_large"


async def test_a_length_that_is_declared_is_believed_before_anything_is_read() -> None:
    for length, code in (
        (b"65537", "body_too_large"),
        (b"9" * 30, "body_too_large"),
        (b"-1", "invalid_request"),
        (b"many", "invalid_request"),
    ):
        wire = Wire(piece(b""))
        assert await refused(wire, JSON, (b"content-length", length)) == code
        assert len(wire.messages) == 1


async def test_a_caller_that_hangs_up_in_the_middle_gets_nothing_done() -> None:
    for messages in (
        [{"type": "http.disconnect"}],
        [piece(b"{", more=True), {"type": "http.disconnect"}],
    ):
        wire = Wire(*messages)
        with pytest.raises(Disconnected):
            await ask(wire, JSON)
        assert not wire.sent


async def test_a_body_that_may_be_missing_needs_a_content_type_only_where_it_is_there() -> None:
    form = (b"content-type", b"application/x-www-form-urlencoded")
    for headers in ((), (form,), (JSON,)):
        assert await ask(Wire(piece(b"")), *headers, body_required=False) == {"customer_id": None}
    wire = Wire(piece(b"{}"))
    assert await refused(wire, form, body_required=False) == "unsupported_media_type"
    assert await refused(Wire(piece(b"")), JSON) == "invalid_request"
