"""The buyers of `holdfast demo`, against a shop that does what each test wants it to do wrong."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest

from holdfast import flash_sale
from holdfast.flash_sale import BAD_CARD, Failed, FlashSale, Tally
from holdfast.lean_http import Client


class Shop:
    """Sells so many units in memory, by the contract, unless a test overrides a part."""

    def __init__(self, stock: int) -> None:
        self.stock = stock
        self.bookings: dict[str, str] = {}
        self.kept: dict[tuple[str, str], tuple[int, dict[str, Any]]] = {}
        self.handlers: set[asyncio.Task[Any] | None] = set()
        self.numbers = itertools.count()
        self.card = ""
        """What the request at hand pays with."""

    def answer(self, method: str, path: str, key: str) -> tuple[int, dict[str, Any], str]:
        """Status, body, further header lines."""
        states = list(self.bookings.values())
        held, sold = states.count("PENDING"), states.count("CONFIRMED")
        left = self.stock - held - sold
        if method == "PUT":
            return 201, {}, ""
        if "availability" in path:
            return 200, {"items": [{"available": left, "held": held, "sold": sold}]}, ""
        if (path, key) in self.kept:
            return *self.kept[path, key], "Idempotency-Replayed: true\r\n"
        if path == "/v1/bookings":
            if left == 0:
                return 409, {"code": "sold_out"}, ""
            booking_id = f"b{next(self.numbers)}"
            self.bookings[booking_id] = "PENDING"
            status = 201
        else:
            booking_id = path.split("/")[3]
            status = 200
            if self.card == BAD_CARD:
                status = 402
            else:
                self.bookings[booking_id] = "CONFIRMED" if path.endswith("/pay") else "CANCELLED"
        body: dict[str, Any] = {"id": booking_id, "payment": {"status": "CAPTURED"}}
        if status == 402:
            body = {"code": "payment_declined"}
        if key:
            self.kept[path, key] = (status, body)
        return status, body, ""

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.handlers.add(asyncio.current_task())
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                fields = dict(line.split(": ", 1) for line in head.split("\r\n")[1:-2])
                content = await reader.readexactly(int(fields["Content-Length"]))
                self.card = orjson.loads(content).get("payment_method", "") if content else ""
                method, path, _ = head.split(" ", 2)
                status, body, more = self.answer(method, path, fields.get("Idempotency-Key", ""))
                content = orjson.dumps(body)
                writer.write(
                    f"HTTP/1.1 {status} X\r\nContent-Length: {len(content)}\r\n{more}\r\n".encode()
                    + content
                )
        except (asyncio.IncompleteReadError, OSError):
            writer.close()


@asynccontextmanager
async def open_sale(shop: Shop) -> AsyncIterator[FlashSale]:
    listening = await asyncio.start_server(shop.handle, "127.0.0.1", 0)
    client = Client(f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}", 8)
    try:
        yield FlashSale(client, shop.stock, seed=1)
    finally:
        client.close()
        listening.close()
        await asyncio.gather(*(handler for handler in shop.handlers if handler))


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Buyers who are told to come again come at once."""
    monkeypatch.setattr(flash_sale, "FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr(flash_sale, "MAX_ATTEMPTS", 4)


async def sell(shop: Shop, buyers: int) -> Tally:
    async with open_sale(shop) as sale:
        await sale.open("admin")
        await sale.run(["token"] * buyers)
        return sale.tally


async def test_the_stock_is_sold_out_and_who_cancelled_bought_after_all() -> None:
    shop = Shop(20)
    tally = await sell(shop, 60)
    assert len(tally.confirmed) == 20
    assert tally.left == 60
    assert tally.troubles == []
    assert tally.cancelled >= 1
    assert tally.replayed >= 2
    assert tally.refused >= 40
    assert tally.duplicates == 0
    assert len(tally.latencies_s) > 60


async def test_who_wants_less_than_there_is_gets_it() -> None:
    tally = await sell(Shop(50), 10)
    assert (len(tally.confirmed), tally.refused, tally.troubles) == (10, 0, [])


async def test_not_now_is_tried_again_and_is_no_error() -> None:
    class Busy(Shop):
        def __init__(self, stock: int) -> None:
            super().__init__(stock)
            self.asked: set[tuple[str, str]] = set()

        def answer(self, method: str, path: str, key: str) -> tuple[int, dict[str, Any], str]:
            if method != "GET" and (path, key) not in self.asked:
                self.asked.add((path, key))
                return (503 if len(self.asked) % 2 else 429), {"code": "overloaded"}, ""
            return super().answer(method, path, key)

    tally = await sell(Busy(5), 10)
    assert (len(tally.confirmed), tally.troubles) == (5, [])


async def test_not_now_for_ever_is_an_error_of_each_buyer() -> None:
    class Shut(Shop):
        def answer(self, method: str, path: str, key: str) -> tuple[int, dict[str, Any], str]:
            if method == "POST":
                return 503, {}, ""
            return super().answer(method, path, key)

    tally = await sell(Shut(5), 3)
    assert len(tally.troubles) == 3
    assert "still not after 4 attempts" in tally.troubles[0]


async def test_what_nobody_should_be_answered_is_an_error() -> None:
    class Broken(Shop):
        def answer(self, method: str, path: str, key: str) -> tuple[int, dict[str, Any], str]:
            if path.endswith("/pay"):
                return 500, {"code": "internal"}, ""
            return super().answer(method, path, key)

    tally = await sell(Broken(5), 5)
    assert len(tally.troubles) == 5
    assert all("pay: 500" in trouble for trouble in tally.troubles)


async def test_a_key_that_makes_two_bookings_is_a_duplicate() -> None:
    class Forgetful(Shop):
        def answer(self, method: str, path: str, key: str) -> tuple[int, dict[str, Any], str]:
            return super().answer(method, path, "")

    tally = await sell(Forgetful(40), 20)
    assert tally.duplicates >= 2


async def test_a_repetition_that_is_not_called_one_is_an_error() -> None:
    class Silent(Shop):
        def answer(self, method: str, path: str, key: str) -> tuple[int, dict[str, Any], str]:
            status, body, _ = super().answer(method, path, key)
            return status, body, ""

    tally = await sell(Silent(40), 20)
    assert any("neither a replay" in trouble for trouble in tally.troubles)


async def test_a_sale_that_cannot_be_created_ends_the_demonstration() -> None:
    class Closed(Shop):
        def answer(self, method: str, path: str, key: str) -> tuple[int, dict[str, Any], str]:
            return 403, {"code": "forbidden"}, ""

    with pytest.raises(Failed, match="403"):
        await sell(Closed(1), 1)
