"""One item with few units as a thing to be asked one call at a time: `engine.model` says what of.

Time stands still in it, so that a history must be shorter than its holds live.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import Final

from engine.model import (
    Cancel,
    ConfirmFree,
    Extend,
    Operation,
    PartitionState,
    PutSale,
    Reserve,
    decide,
)
from engine.outcomes import Outcome
from engine.types import CancelReason, ItemDefinition, LineRequest, SaleDefinition
from tests.helpers.client import UNKNOWN as NO_ANSWER
from tests.helpers.client import Exchange
from tests.helpers.linearizable import UNKNOWN, Call

SALE: Final = "sale"
_ITEM: Final = "A"
_NOW_MS: Final = 1_900_000_000_000
_DONE: Final = {
    Outcome.HELD,
    Outcome.REPLAYED,
    Outcome.CONFIRMED,
    Outcome.CANCELLED,
    Outcome.EXTENDED,
    Outcome.UNCHANGED,
}


@dataclass(frozen=True, slots=True)
class Read:
    """`availability?fresh=1`."""


Asked = Operation | Read


class OneItem:
    """The sequential specification. What is told is a word and what goes with it."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity

    def start(self) -> PartitionState:
        """A sale of the item, untouched."""
        item = ItemDefinition(_ITEM, "Item", self._capacity, 0)
        put = PutSale(SaleDefinition(SALE, "Sale", (item,), hold_ms=3_600_000), "put")
        return decide(PartitionState(), put, _NOW_MS).state

    def perform(self, state: PartitionState, asked: Asked) -> tuple[Hashable, PartitionState]:
        """What a call is told, and the state after it."""
        if isinstance(asked, Read):
            at = state.sales[SALE].levels[_ITEM]
            return ("levels", at.available, at.held, at.sold), state
        decision = decide(state, asked, _NOW_MS)
        if decision.outcome not in _DONE or decision.booking is None:
            return (str(decision.outcome),), decision.state
        booking = decision.booking
        return (str(booking.status), booking.booking_id), decision.state

    def key(self, state: PartitionState) -> Hashable:
        """The bookings as they stand, and the answers that are kept."""
        bookings = frozenset(
            (name, booking.status, booking.extended) for name, booking in state.bookings.items()
        )
        return bookings, frozenset(state.records)


def calls_of(exchanges: Iterable[Exchange]) -> list[Call]:
    """Read a history of HTTP: holds, extensions, cancels, free payments and fresh availability.

    A booking is named by the key that it was held under; the second booking of a key by its id, so
    that no order explains it.
    """
    history = sorted(exchanges, key=lambda exchange: exchange.ended_s)
    names: dict[str, str] = {}
    for one in history:
        if one.path == "/v1/bookings" and one.answer.status == 201:
            name = name_of(one.key or "")
            names.setdefault(one.answer.json["id"], name if name not in names.values() else "")
    calls = []
    for one in history:
        told = _told(one, names)
        if told is not None:
            calls.append(Call(_asked(one, names), told, one.began_s, one.ended_s))
    return calls


def name_of(key: str) -> str:
    """How the specification calls the booking that a key holds."""
    return f"booking of {key}"


def _asked(one: Exchange, names: dict[str, str]) -> Asked:
    if one.method == "GET":
        return Read()
    customer_id = one.sent["customer_id"]
    if one.path == "/v1/bookings":
        lines = tuple(LineRequest(_ITEM, line["quantity"]) for line in one.sent["lines"])
        key = one.key or ""
        return Reserve(name_of(key), SALE, customer_id, lines, key, fingerprint=repr(lines))
    booking_id, what = one.path.split("/")[3:5]
    name = names[booking_id]
    match what:
        case "extend":
            return Extend(name, customer_id)
        case "cancel":
            return Cancel(name, CancelReason.CUSTOMER, customer_id)
        case "pay":
            return ConfirmFree(name, customer_id, one.key or "", "free")
    raise AssertionError(one.path)


def _told(one: Exchange, names: dict[str, str]) -> Hashable:
    """What an answer says; None where nothing was tried, or only a read has failed."""
    answer = one.answer
    lost = answer.status == NO_ANSWER or answer.code == "unavailable"
    if answer.code == "overloaded" or (lost and one.method == "GET"):
        return None
    if lost:
        return UNKNOWN
    if answer.status not in {200, 201}:
        return (answer.code,)
    if one.method == "GET":
        (item,) = answer.json["items"]
        return ("levels", item["available"], item["held"], item["sold"])
    booking = answer.json
    return (booking["status"], names.get(booking["id"], ""))
