"""What one buyer sends, as bytes that are ready: making them must cost the load next to nothing."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import urlsplit

import orjson

from holdfast import dev_auth
from holdfast.bench.orders import BODY, ITEM, SALE, SOLD_OUT, Order

TOKEN_TTL_S: Final = 3600
_KEY: Final = b"Idempotency-Key: "
PAYMENT: Final = orjson.dumps({"payment_method": "pm_card_visa"})


class Flow(Protocol):
    """Requests that belong together, sent one after the other on one connection."""

    def first(self) -> bytes:
        """The request that begins the next flow."""

    def then(self, sent: bytes, status: int, body: bytes) -> bytes | None:
        """The request that follows an answer; None where the flow has ended."""

    def wanted(self, status: int, body: bytes) -> bool:
        """Whether an answer that ended a flow is the one wanted."""


def _head(method: str, url: str, path: str, more: str = "") -> bytes:
    return f"{method} {path} HTTP/1.1\r\nHost: {urlsplit(url).netloc}\r\n{more}".encode("latin-1")


def _post(head: bytes, body: bytes) -> bytes:
    return head + b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body


def keys() -> Iterator[bytes]:
    """Idempotency keys: UUIDs of version 4 by their form, and never one twice."""
    prefix = os.urandom(4).hex().encode()
    number = 0
    while True:
        number += 1
        yield b"%s-0000-4000-8000-%012x" % (prefix, number)


class Same:
    """The same request again and again: echoes, availability, the conventional service."""

    def __init__(self, request: bytes, status: int) -> None:
        self._request = request
        self._status = status

    def first(self) -> bytes:
        """The request."""
        return self._request

    def then(self, _sent: bytes, _status: int, _body: bytes) -> bytes | None:
        """One request is all there is."""
        return None

    def wanted(self, status: int, _body: bytes) -> bool:
        """By its status."""
        return status == self._status


class Holds:
    """A hold each, of one customer after the other, each under a key of its own."""

    def __init__(
        self, order: Order, sale_id: str, statuses: frozenset[int], **more: object
    ) -> None:
        self._statuses = statuses
        lines = [{"item_id": ITEM, "quantity": 1}]
        body = orjson.dumps({"sale_id": sale_id, "lines": lines, **more})
        start = _head("POST", order.url, "/v1/bookings")
        self._customers = [
            start + b"Authorization: Bearer " + token.encode() + b"\r\n" + _KEY
            for token in _tokens(order)
        ]
        self._end = _post(b"\r\n", body)
        self._keys = keys()
        self._at = -1

    def customer(self) -> bytes:
        """The head of the next customer's hold, up to its key."""
        self._at += 1
        return self._customers[self._at % len(self._customers)]

    def first(self) -> bytes:
        """The next customer's hold."""
        return self.customer() + next(self._keys) + self._end

    def then(self, _sent: bytes, _status: int, _body: bytes) -> bytes | None:
        """A hold is all there is."""
        return None

    def wanted(self, status: int, _body: bytes) -> bool:
        """By its status."""
        return status in self._statuses


class Paid(Holds):
    """A hold, and then its payment by the same customer."""

    def __init__(self, order: Order, **more: object) -> None:
        super().__init__(order, SALE, frozenset({200}), **more)
        self._pay_end = _post(b"\r\n", PAYMENT)

    def then(self, sent: bytes, status: int, body: bytes) -> bytes | None:
        """The payment of what was held."""
        if status != 201:
            return None
        # Host and token are those of the hold.
        head = sent[sent.index(b"\r\n") : sent.index(_KEY) + len(_KEY)]
        path = b"POST /v1/bookings/%s/pay HTTP/1.1" % orjson.loads(body)["id"].encode()
        return b"".join((path, head, next(self._keys), self._pay_end))

    def wanted(self, status: int, body: bytes) -> bool:
        """The money is there."""
        return status == 200 and b'"status":"CAPTURED"' in body


def _tokens(order: Order) -> Iterator[str]:
    key = dev_auth.read_key(Path(order.data))
    subjects = (f"{order.subject}-{number}" for number in range(order.customers))
    return key.tokens(subjects, "bookings", TOKEN_TTL_S)


def _echo(order: Order) -> Flow:
    # With the headers of a hold, so that reading a request costs both the same.
    token = dev_auth.read_key(Path(order.data)).token("echo", "bookings", TOKEN_TTL_S)
    more = f"Authorization: Bearer {token}\r\nIdempotency-Key: {next(keys()).decode()}\r\n"
    return Same(_post(_head("POST", order.url, "/echo", more), BODY), 200)


def _availability(order: Order) -> Flow:
    return Same(_head("GET", order.url, f"/v1/sales/{SALE}/availability") + b"\r\n", 200)


def _conventional(order: Order) -> Flow:
    return Same(_post(_head("POST", order.url, order.path), BODY), 201)


FLOWS: Final[dict[str, Callable[[Order], Flow]]] = {
    "echo": _echo,
    "availability": _availability,
    "conventional": _conventional,
    "hold": lambda order: Holds(order, SALE, frozenset({201})),
    "refusal": lambda order: Holds(order, SOLD_OUT, frozenset({409})),
    "answered": lambda order: Holds(order, SALE, frozenset({201, 409})),
    "paid": Paid,
    "told": lambda order: Paid(order, contact={"email": "buyer@example.com"}),
}
