"""The check of short histories: it explains what may be, and refuses what must not."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from typing import Any

import orjson
import pytest

from engine.model import Cancel, ConfirmFree, Extend, Reserve
from engine.types import CancelReason, LineRequest
from tests.helpers.client import UNKNOWN as NO_ANSWER
from tests.helpers.client import Answer, Exchange
from tests.helpers.linearizable import UNKNOWN, Call, order_of
from tests.helpers.one_item import SALE, Asked, OneItem, Read, calls_of, name_of

CAPACITY = 2
SOLD_OUT = ("sold_out",)


def hold(key: str, quantity: int = 1) -> Reserve:
    lines = (LineRequest("A", quantity),)
    return Reserve(name_of(key), SALE, "ann", lines, key, fingerprint=repr(lines))


def held(key: str) -> Hashable:
    return ("PENDING", name_of(key))


def cancel(key: str) -> Cancel:
    return Cancel(name_of(key), CancelReason.CUSTOMER, "ann")


def confirm(key: str, pay: str = "pay") -> ConfirmFree:
    return ConfirmFree(name_of(key), "ann", pay, "free")


def levels(available: int, held_units: int, sold: int = 0) -> Hashable:
    return ("levels", available, held_units, sold)


def one_after_the_other(*said: tuple[Asked, Hashable]) -> list[Call]:
    return [Call(asked, told, at, at + 0.5) for at, (asked, told) in enumerate(said)]


def at_once(*said: tuple[Asked, Hashable]) -> list[Call]:
    return [Call(asked, told, 0, 1) for asked, told in said]


EXPLAINED: dict[str, Sequence[Call]] = {
    "nothing": [],
    "one after the other": one_after_the_other(
        (hold("a"), held("a")),
        (Read(), levels(1, 1)),
        (Extend(name_of("a"), "ann"), held("a")),
        (confirm("a"), ("CONFIRMED", name_of("a"))),
        (Read(), levels(1, 0, 1)),
        (cancel("a"), ("CANCELLED", name_of("a"))),
        (Read(), levels(2, 0)),
    ),
    "the last units go to whoever is first": at_once(
        (hold("a", 2), SOLD_OUT), (hold("b", 2), held("b")), (Read(), levels(2, 0))
    ),
    "the same key, twice at once": [
        *at_once((hold("a"), held("a")), (hold("a"), held("a"))),
        Call(Read(), levels(1, 1), 2, 3),
    ],
    "a hold of which nobody heard has happened": [
        Call(hold("a", 2), UNKNOWN, 0, 1),
        Call(hold("b"), SOLD_OUT, 2, 3),
    ],
    "a hold of which nobody heard happens late": [
        Call(hold("a", 2), UNKNOWN, 0, 1),
        Call(Read(), levels(2, 0), 2, 3),
        Call(Read(), levels(0, 2), 4, 5),
    ],
    "a hold of which nobody heard never happens": [
        Call(hold("a", 2), UNKNOWN, 0, 1),
        Call(hold("b", 2), held("b"), 2, 3),
    ],
    "the first answer, whatever happened since": one_after_the_other(
        (hold("a"), held("a")),
        (cancel("a"), ("CANCELLED", name_of("a"))),
        (hold("a"), held("a")),
    ),
}
REFUSED: dict[str, Sequence[Call]] = {
    "an oversell": at_once((hold("a"), held("a")), (hold("b"), held("b")), (hold("c"), held("c"))),
    "a stale read": one_after_the_other((hold("a"), held("a")), (Read(), levels(2, 0))),
    "an acknowledged hold that is lost": one_after_the_other(
        (hold("a", 2), held("a")), (hold("b", 2), held("b"))
    ),
    "an acknowledged hold of which nobody knows any more": one_after_the_other(
        (hold("a"), held("a")), (cancel("a"), ("absent",))
    ),
    "two effects of one key": one_after_the_other(
        (hold("a"), held("a")), (hold("a"), held("a")), (Read(), levels(0, 2))
    ),
    "another booking for the same key": one_after_the_other(
        (hold("a"), held("a")), (hold("a"), ("PENDING", ""))
    ),
    "a cancel that gives back more than it took": one_after_the_other(
        (hold("a"), held("a")),
        (hold("b"), held("b")),
        (cancel("a"), ("CANCELLED", name_of("a"))),
        (cancel("a"), ("CANCELLED", name_of("a"))),
        (Read(), levels(2, 0)),
    ),
    "what was sold is held again": one_after_the_other(
        (hold("a"), held("a")),
        (confirm("a"), ("CONFIRMED", name_of("a"))),
        (Read(), levels(1, 1, 0)),
    ),
    "sold out, and yet there is one": one_after_the_other(
        (hold("a"), SOLD_OUT), (Read(), levels(2, 0))
    ),
    "what happened late is undone": [
        Call(hold("a", 2), UNKNOWN, 0, 1),
        Call(Read(), levels(0, 2), 2, 3),
        Call(Read(), levels(2, 0), 4, 5),
    ],
    "what happens before it is asked": [
        Call(Read(), levels(1, 1), 0, 1),
        Call(hold("a"), UNKNOWN, 2, math.inf),
    ],
}


@pytest.mark.parametrize("name", EXPLAINED)
def test_what_may_be_is_explained(name: str) -> None:
    history = EXPLAINED[name]
    order = order_of(history, OneItem(CAPACITY))
    assert order is not None
    assert set(map(id, order)) <= set(map(id, history))
    assert {id(call) for call in history if call.told != UNKNOWN} <= set(map(id, order))


@pytest.mark.parametrize("name", REFUSED)
def test_what_must_not_be_is_refused(name: str) -> None:
    assert order_of(REFUSED[name], OneItem(CAPACITY)) is None


def test_a_long_history_of_calls_at_once_is_not_searched_for_ever() -> None:
    keys = [f"k{number}" for number in range(10)]
    said: list[tuple[Asked, Hashable]] = [(hold(key), SOLD_OUT) for key in keys]
    said += [(hold("a"), held("a")), (hold("b"), held("b")), (cancel("a"), ("absent",))]
    assert order_of(at_once(*said), OneItem(CAPACITY)) is not None
    assert order_of(at_once(*said, (Read(), levels(2, 1))), OneItem(CAPACITY)) is None


def exchange(
    path: str, status: int, body: Any = None, *, key: str | None = None, sent: Any = None, at: int
) -> Exchange:
    problem = {"content-type": "application/problem+json"} if status >= 400 else {}
    answer = Answer(status, problem, orjson.dumps(body))
    method = "GET" if "availability" in path else "POST"
    return Exchange(method, path, key, sent, at, at + 0.5, answer)


def holding(key: str, booking_id: str, at: int) -> Exchange:
    sent = {"customer_id": "ann", "lines": [{"item_id": "A", "quantity": 1}]}
    body = {"id": booking_id, "status": "PENDING"}
    return exchange("/v1/bookings", 201, body, key=key, sent=sent, at=at)


def reading(available: int, held_units: int, at: int) -> Exchange:
    items = [{"available": available, "held": held_units, "sold": 0}]
    return exchange("/v1/sales/s/availability?fresh=1", 200, {"items": items}, at=at)


def cancelling(booking_id: str, at: int, status: int = 200, code: str = "") -> Exchange:
    body = {"code": code} if code else {"id": booking_id, "status": "CANCELLED"}
    path = f"/v1/bookings/{booking_id}/cancel"
    return exchange(path, status, body, sent={"customer_id": "ann"}, at=at)


def explained(*history: Exchange) -> bool:
    return order_of(calls_of(history), OneItem(CAPACITY)) is not None


def test_a_history_of_http_is_read() -> None:
    first = (holding("a", "id-1", 0), reading(1, 1, 1))
    assert explained(*first, cancelling("id-1", 2), reading(2, 0, 3))
    assert not explained(*first, cancelling("id-1", 2), reading(1, 1, 3))
    unknown = (cancelling("id-1", 2, 503, "unavailable"), cancelling("id-1", 2, NO_ANSWER))
    for lost in unknown:
        assert explained(*first, lost, reading(2, 0, 3))
        assert explained(*first, lost, reading(1, 1, 3), reading(2, 0, 4))
    nothing = cancelling("id-1", 2, 503, "overloaded")
    assert explained(*first, nothing, reading(1, 1, 3))
    assert not explained(*first, nothing, reading(2, 0, 3))


def test_two_bookings_of_one_key_are_seen_by_their_ids() -> None:
    assert explained(holding("a", "id-1", 0), holding("a", "id-1", 1), reading(1, 1, 2))
    assert not explained(holding("a", "id-1", 0), holding("a", "id-2", 1))
