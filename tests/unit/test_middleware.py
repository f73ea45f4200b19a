"""The outermost layer: what every answer carries, what is refused before it is parsed."""

from __future__ import annotations

import asyncio
import logging
import re
from typing import Any, cast

import httpx
import orjson
import pytest
import structlog
from starlette.types import ASGIApp, Receive, Scope, Send

from api import middleware
from api.admission import Admission
from api.call import Disconnected, Reply, send_reply
from api.endpoint import CONTEXT, Endpoint
from api.middleware import Gate, _level
from api.shortcuts import Shortcuts
from engine.errors import Unavailable
from engine.limits import MAX_REQUEST_LINES_PER_S

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
SPAN_ID = "b7ad6b7169203331"


async def well(scope: Scope, receive: Receive, send: Send) -> None:
    await send_reply(scope[CONTEXT], send, Reply(200, b"{}"))


def client(app: ASGIApp, max_in_flight: int = 10) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(Gate(app, max_in_flight))
    return httpx.AsyncClient(transport=transport, base_url="http://test")


async def ask(headers: Any = None, app: ASGIApp = well) -> httpx.Response:
    async with client(app) as http:
        return await http.get("/x", headers=headers)


@pytest.mark.parametrize("sent", ["a", "A.b_c-9", "x" * 128])
async def test_a_sane_request_id_is_taken_over(sent: str) -> None:
    assert (await ask({"X-Request-ID": sent})).headers["x-request-id"] == sent


@pytest.mark.parametrize("sent", [None, "", "a b", "x" * 129, "a/b", "é", "4242424242424242"])
async def test_another_request_id_is_replaced_by_a_fresh_one(sent: str | None) -> None:
    headers = {} if sent is None else {"X-Request-ID": sent.encode()}
    first, second = (await ask(headers)).headers, (await ask(headers)).headers
    assert re.fullmatch(r"[0-9a-f]{32}", first["x-request-id"])
    assert first["x-request-id"] != second["x-request-id"]


@pytest.mark.parametrize(
    ("sent", "flags"),
    [
        (f"00-{TRACE_ID}-{SPAN_ID}-01", "01"),
        (f"00-{TRACE_ID}-{SPAN_ID}-00", "00"),
        (f"00-{TRACE_ID}-{SPAN_ID}-ff", "01"),
        (f"cc-{TRACE_ID}-{SPAN_ID}-01", "01"),
        (f"cc-{TRACE_ID}-{SPAN_ID}-01-what-the-future-holds", "01"),
    ],
)
async def test_a_callers_trace_goes_on_with_a_span_of_ours(sent: str, flags: str) -> None:
    version, trace_id, span_id, seen = (
        (await ask({"traceparent": sent})).headers["traceparent"].split("-")
    )
    assert (version, trace_id, seen) == ("00", TRACE_ID, flags)
    assert re.fullmatch(r"[0-9a-f]{16}", span_id)
    assert span_id != SPAN_ID


@pytest.mark.parametrize(
    "sent",
    [
        None,
        "",
        "00",
        f"ff-{TRACE_ID}-{SPAN_ID}-01",
        f"00-{'0' * 32}-{SPAN_ID}-01",
        f"00-{TRACE_ID}-{'0' * 16}-01",
        f"00-{TRACE_ID.upper()}-{SPAN_ID}-01",
        f"00-{TRACE_ID}-{SPAN_ID}-01-more",
        f"00-{TRACE_ID}-{SPAN_ID}-1",
    ],
)
async def test_a_trace_that_is_none_begins_anew(sent: str | None) -> None:
    made = (await ask({} if sent is None else {"traceparent": sent})).headers["traceparent"]
    assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-00", made)
    assert TRACE_ID not in made


async def test_every_answer_says_what_browsers_must_not_do_with_it() -> None:
    headers = (await ask()).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"


async def test_what_nobody_foresaw_is_a_500_that_tells_nothing_and_a_log_line_that_does() -> None:
    async def broken(scope: Scope, receive: Receive, send: Send) -> None:
        raise RuntimeError("secret of 4242 4242 4242 4242")

    with structlog.testing.capture_logs() as lines:
        answer = await ask({"X-Request-ID": "r-1"}, broken)
    assert (answer.status_code, answer.json()["code"]) == (500, "internal_error")
    assert answer.headers["content-type"] == "application/problem+json"
    assert "secret" not in answer.text
    (line,) = (line for line in lines if line["event"] == "internal_error")
    assert (line["request_id"], line["error"]) == ("r-1", "RuntimeError")
    assert "secret of [card number]" in line["traceback"]
    assert "4242" not in orjson.dumps(lines).decode()


async def test_a_known_error_is_its_problem() -> None:
    async def away(scope: Scope, receive: Receive, send: Send) -> None:
        raise Unavailable("Redis at 10.0.0.1 is away")

    with structlog.testing.capture_logs() as lines:
        answer = await ask(None, away)
    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
    assert answer.headers["retry-after"] == "1"
    assert "10.0.0.1" not in answer.text
    (line,) = lines
    assert (line["log_level"], line["cause"]) == ("warning", "Redis at 10.0.0.1 is away")


async def test_an_answer_that_broke_off_is_not_followed_by_another() -> None:
    async def half(scope: Scope, receive: Receive, send: Send) -> None:
        await send_reply(scope[CONTEXT], send, Reply(200, b"{}"))
        raise RuntimeError("too late")

    with pytest.raises(RuntimeError, match="too late"):
        await ask(None, half)


async def test_a_caller_that_went_away_is_not_answered() -> None:
    sent: list[Any] = []

    async def gone(scope: Scope, receive: Receive, send: Send) -> None:
        raise Disconnected

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/x", "headers": []}
    await Gate(gone, 1)(scope, _no_message, send)
    assert sent == []


async def _no_message() -> Any:
    raise AssertionError("nobody reads")


async def test_more_requests_than_the_bound_are_shed_unread_but_not_those_about_health() -> None:
    release = asyncio.Event()
    entered: asyncio.Queue[str] = asyncio.Queue()

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/slow":
            entered.put_nowait("slow")
            await release.wait()
        await well(scope, receive, send)

    async with client(slow, max_in_flight=2) as http:
        held = [asyncio.create_task(http.get("/slow")) for _ in range(2)]
        for _ in held:
            await entered.get()
        shed = await http.get("/x")
        assert (shed.status_code, shed.json()["code"]) == (503, "overloaded")
        assert shed.headers["retry-after"] == "1"
        for path in ("/healthz", "/readyz", "/metrics"):
            assert (await http.get(path)).status_code == 200
        release.set()
        assert [answer.status_code for answer in await asyncio.gather(*held)] == [200, 200]
        assert (await http.get("/x")).status_code == 200


@pytest.mark.parametrize("name", ["Authorization", "Content-Type", "Traceparent"])
async def test_a_header_that_must_be_one_is_refused_twice(name: str) -> None:
    answer = await ask([(name, "a"), (name, "b")])
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request")
    assert answer.json()["errors"] == [{"path": name, "message": "given more than once"}]
    assert (await ask([("Accept", "a"), ("Accept", "b")])).status_code == 200


async def test_a_head_past_its_bound_is_refused() -> None:
    answer = await ask({"X-Filler": "x" * 20_000})
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request")


@pytest.mark.parametrize(
    ("status", "seconds", "level"),
    [
        (200, 0.01, logging.DEBUG),
        (409, 0.01, logging.DEBUG),
        (429, 0.01, logging.DEBUG),
        (200, 1.5, logging.INFO),
        (401, 0.01, logging.INFO),
        (422, 0.01, logging.INFO),
        (503, 0.01, logging.WARNING),
    ],
)
def test_what_an_operator_should_see_is_loud(status: int, seconds: float, level: int) -> None:
    assert _level(status, seconds) == level


async def test_a_line_is_logged_for_each_request_without_its_path(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG, "holdfast.request")
    with structlog.testing.capture_logs() as lines:
        await ask({"X-Request-ID": "r-2"})
    (line,) = lines
    assert (line["event"], line["status"], line["request_id"]) == ("request", 200, "r-2")
    assert (line["method"], line["route"]) == ("GET", "other")
    assert "/x" not in orjson.dumps(line).decode()


async def test_of_many_lines_a_second_most_are_left_out_and_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def away(scope: Scope, receive: Receive, send: Send) -> None:
        raise Unavailable("Redis is away")

    now_s = 7.0
    monkeypatch.setattr(middleware, "_lines", middleware._Lines(lambda: now_s))
    with structlog.testing.capture_logs() as lines:
        for _ in range(MAX_REQUEST_LINES_PER_S + 5):
            await ask(None, away)
        assert len(lines) == MAX_REQUEST_LINES_PER_S
        now_s = 8.0
        await ask(None, away)
    assert lines[-2] == {"event": "request_lines_left_out", "lines": 5, "log_level": "warning"}
    assert lines[-1]["event"] == "request"


async def test_a_hold_whose_turn_will_not_come_is_told_so_and_all_else_is_served(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Full(Admission):
        async def enter(self) -> bool:
            return False

    class Bookings:
        queued = frozenset({"POST"})

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            await well(scope, receive, send)

    monkeypatch.setattr(middleware, "Admission", Full)
    shortcuts = Shortcuts({"/v1/bookings": cast("Endpoint", Bookings())})
    transport = httpx.ASGITransport(Gate(well, 10, shortcuts))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
        shed = await http.post("/v1/bookings")
        assert (shed.status_code, shed.json()["code"]) == (503, "overloaded")
        assert shed.headers["retry-after"] == "1"
        assert (await http.get("/v1/bookings")).status_code == 200
        assert (await http.post("/x")).status_code == 200
