"""The bench's load: what it sends, and how it counts what it is answered."""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import orjson
import pytest

from holdfast import dev_auth
from holdfast.bench.flows import FLOWS, Paid, keys
from holdfast.bench.http_load import HttpLoad
from holdfast.bench.orders import Measured, Order, percentile

UUID4 = re.compile(rb"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")

Answer = Callable[[bytes, int], tuple[int, bytes]]


@pytest.fixture
def data(tmp_path: Path) -> str:
    dev_auth.keep_key(tmp_path)
    return str(tmp_path)


@asynccontextmanager
async def server(answer: Answer) -> AsyncIterator[str]:
    """Answers the n-th request with a status and a body; `b""` cuts the connection."""
    count = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal count
        while not reader.at_eof():
            try:
                head = await reader.readuntil(b"\r\n\r\n")
            except asyncio.IncompleteReadError:
                break
            length = re.search(rb"Content-Length: (\d+)", head)
            body = await reader.readexactly(int(length[1])) if length else b""
            status, text = answer(head + body, count)
            count += 1
            if not status:
                break
            # In two pieces, the cut in the head or in the body in turn.
            whole = b"HTTP/1.1 %d X\r\ncontent-length: %d\r\n\r\n%b" % (status, len(text), text)
            at = 5 if count % 2 else len(whole) - 1
            writer.write(whole[:at])
            await asyncio.sleep(0)
            writer.write(whole[at:])
        writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with listening:
        yield f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"


def order(url: str, data: str, work: str = "hold", **terms: object) -> Order:
    given: dict[str, object] = {"connections": 4, "seconds": 0.2, "customers": 8, "subject": "c"}
    return Order(work=work, url=url, data=data, **(given | terms))  # type: ignore[arg-type]


def subject_of(request: bytes) -> str:
    found = re.search(rb"Bearer [^.]+\.([^.]+)\.", request)
    assert found
    claims = orjson.loads(base64.urlsafe_b64decode(found[1] + b"=" * (-len(found[1]) % 4)))
    subject: str = claims["sub"]
    return subject


def test_idempotency_keys_are_uuids_of_version_4_and_never_come_twice() -> None:
    made = [key for _, key in zip(range(1000), keys(), strict=False)]
    assert all(UUID4.fullmatch(key) for key in made)
    assert len(set(made)) == 1000


def test_every_customer_comes_before_one_comes_again(data: str) -> None:
    flow = FLOWS["hold"](order("http://x:1", data, customers=3))
    assert [subject_of(flow.first()) for _ in range(4)] == ["c-0", "c-1", "c-2", "c-0"]


def test_a_payment_is_of_what_was_held_by_the_same_customer_under_a_key_of_its_own(
    data: str,
) -> None:
    flow = Paid(order("http://x:1", data))
    hold = flow.first()
    pay = flow.then(hold, 201, b'{"id": "B1"}')
    assert pay
    assert pay.startswith(b"POST /v1/bookings/B1/pay HTTP/1.1\r\nHost: x:1\r\n")
    assert subject_of(pay) == subject_of(hold)
    assert UUID4.findall(pay) != UUID4.findall(hold)
    assert flow.then(hold, 409, b"{}") is None
    assert flow.wanted(200, b'{"payment":{"status":"CAPTURED"}}')
    assert not flow.wanted(202, b'{"payment":{"status":"CAPTURING"}}')


async def test_only_wanted_answers_count_and_the_rest_is_counted_apart(data: str) -> None:
    def answer(_: bytes, number: int) -> tuple[int, bytes]:
        return (201, b"{}") if number % 2 else (503, b"{}")

    async with server(answer) as url:
        measured = await HttpLoad(order(url, data)).run()
    assert set(measured.answers) == {"201", "503"}
    assert measured.done == measured.answers["201"] > 0
    assert measured.failed == measured.answers["503"] > 0
    assert measured.sent >= measured.done + measured.failed
    assert 0 < measured.p50_ms <= measured.p99_ms


async def test_a_flow_of_two_requests_is_done_when_its_last_answer_is_there(data: str) -> None:
    def answer(request: bytes, _: int) -> tuple[int, bytes]:
        if b"/pay" in request:
            return 200, b'{"payment":{"status":"CAPTURED"}}'
        return 201, b'{"id":"B1"}'

    async with server(answer) as url:
        measured = await HttpLoad(order(url, data, "paid")).run()
    assert measured.done == measured.answers["200"] > 0


async def test_a_connection_that_ends_is_counted_and_nobody_waits_for_it(data: str) -> None:
    async with server(lambda _, __: (0, b"")) as url:
        measured = await HttpLoad(order(url, data)).run()
    assert measured.answers == {"lost": 4}
    assert measured.done == 0


async def test_on_a_schedule_no_more_is_sent_than_is_due(data: str) -> None:
    async with server(lambda _, __: (201, b"{}")) as url:
        measured = await HttpLoad(order(url, data, per_s=50.0)).run()
    assert 1 <= measured.sent <= 11


def test_orders_and_what_came_of_them_cross_the_pipe_unchanged() -> None:
    asked = Order(work="hold", url="http://x:1", per_s=7.5)
    assert Order.read(asked.line()) == asked
    told = Measured(seconds=2.0, done=10, answers={"201": 10}, shares={"api": 0.5})
    assert Measured.read(told.line()) == told
    assert told.per_s == 5.0


def test_a_percentile_is_a_value_that_was_measured() -> None:
    values = [float(number) for number in range(100)]
    assert percentile(values, 50) == 50.0
    assert percentile(values, 99) == 99.0
    assert percentile([], 99) == 0.0
