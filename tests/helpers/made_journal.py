"""Makes the journal of a partition of as many bookings as one likes, whose lives go every way.

Not by the engine, which would take hours for a million. That the entries follow from each other is
seen to by `engine.model`, whose fold of such a journal raises nothing.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from engine.model.changes import HOLD, NO_MOVE, Move
from tests.helpers.ledger import NOON_MS, booking_id

HOLD_MS: Final = 300_000
CAPACITY: Final = 10**9
MIDNIGHT_MS: Final = NOON_MS - NOON_MS % 86_400_000
_SELL: Final = (0, -1, 1)
_SELL_LATE: Final = (-1, 0, 1)
_RELEASE: Final = (1, -1, 0)
_TAKE_BACK: Final = (1, 0, -1)

Fields = dict[str, Any]
Step = tuple[str, int, Move, Fields, Fields]
"""An entry's type, milliseconds after the one before, what moves, fields of booking and payment."""


def _step(kind: str, after_ms: int, move: Move = NO_MOVE, **fields: Any) -> Step:
    payment = fields.pop("payment", {})
    return kind, after_ms, move, fields, payment


_BEGIN: Final = _step("payment_begun", 20_000, payment={"status": "AUTHORIZING"})
_DECLINE: Final = _step(
    "payment_failed", 900, payment={"status": "DECLINED", "step": "none", "decline_code": "no"}
)
_AUTHORIZED: Final = {"authorization_id": "pi_1", "decline_code": None}
_CAPTURING: Final = {"status": "CAPTURING", "step": "capture", **_AUTHORIZED}
_CONFIRM: Final = _step("confirmed", 1_200, _SELL, status="CONFIRMED", payment=_CAPTURING)
_UNSURE: Final = _step("payment_unknown", 10_000, payment={"status": "UNKNOWN"})
_CAPTURE: Final = _step(
    "captured", 700, payment={"status": "CAPTURED", "step": "none", "capture_id": "ch_1"}
)
_COMPLETE: Final = _step("completed", 3_600_000, status="COMPLETED")
_EXPIRE: Final = _step("expired", HOLD_MS, _RELEASE, status="CANCELLED", cancel_reason="expired")
_LEAVE: Final = _step("cancelled", 9_000, _RELEASE, status="CANCELLED", cancel_reason="customer")
_REFUNDING: Final = {"status": "REFUNDING", "step": "refund"}
_VOIDING: Final = {"status": "AUTHORIZED", "step": "void"}
_REFUNDED: Final = _step("refunded", 4_000, payment={"status": "REFUNDED", "step": "none"})
_VOIDED: Final = _step("voided", 4_000, payment={"status": "VOIDED", "step": "none"})
_PAID: Final = (_BEGIN, _CONFIRM, _CAPTURE)


def _cancel(after_ms: int, reason: str, payment: Fields) -> Step:
    """Of a booking that is sold."""
    fields = {"status": "CANCELLED", "cancel_reason": reason, "payment": payment}
    return _step("cancelled", after_ms, _TAKE_BACK, **fields)


LIVES: Final[dict[str, tuple[Step, ...]]] = {
    "expired": (_EXPIRE,),
    "left": (_LEAVE,),
    "free": (_step("confirmed", 800, _SELL, status="CONFIRMED"), _COMPLETE),
    "free_and_cancelled": (
        _step("confirmed", 800, _SELL, status="CONFIRMED"),
        _cancel(40_000_000, "customer", {}),
    ),
    "paid": _PAID,
    "used": (*_PAID, _COMPLETE),
    "slow": (_BEGIN, _CONFIRM, _UNSURE, _CAPTURE),
    "paid_at_the_second_try": (_BEGIN, _DECLINE, *_PAID),
    "declined": (_BEGIN, _DECLINE, _EXPIRE),
    "cancelled": (*_PAID, _cancel(90_000_000, "customer", _REFUNDING), _REFUNDED),
    "refunded": (
        *_PAID,
        _step(
            "refund_begun",
            5_000,
            _TAKE_BACK,
            status="CANCELLED",
            cancel_reason="operator",
            payment=_REFUNDING,
        ),
        _REFUNDED,
    ),
    "refunded_after_use": (
        *_PAID,
        _COMPLETE,
        _step("refund_begun", 5_000, payment=_REFUNDING),
        _UNSURE,
        _REFUNDED,
    ),
    "capture_refused": (_BEGIN, _CONFIRM, _cancel(600, "payment_failed", _VOIDING), _VOIDED),
    "captured_too_late": (
        _BEGIN,
        _CONFIRM,
        _cancel(600, "customer", _VOIDING),
        _step("refund_begun", 800, payment={**_REFUNDING, "capture_id": "ch_1"}),
        _REFUNDED,
    ),
    "late_and_taken": (
        _BEGIN,
        _EXPIRE,
        _step(
            "late_money",
            60_000,
            _SELL_LATE,
            status="CONFIRMED",
            cancel_reason=None,
            payment=_CAPTURING,
        ),
        _CAPTURE,
    ),
    "late_after_a_cancel": (
        _BEGIN,
        _LEAVE,
        _step("late_money", 30_000, payment={**_VOIDING, **_AUTHORIZED}),
        _VOIDED,
    ),
}
"""What becomes of a booking after it is held, by name."""
FREE: Final = ("free", "free_and_cancelled")


@dataclass(slots=True)
class MadeJournal:
    """A journal of `bookings` bookings, some of each life, held in time order over `days` days.

    Every sale has two items, one of which costs nothing. The same seed makes the same bytes.
    """

    bookings: int
    sales: tuple[str, ...]
    days: float
    seed: int
    partition: int = 0
    currencies: tuple[str, ...] = ("USD", "EUR", "JPY")
    common: tuple[str, ...] = ()
    """Lives that are lived eight times as often as others, for each time they are named here."""
    _levels: dict[tuple[str, str], list[int]] = field(default_factory=dict)

    def texts(self) -> Iterator[bytes]:
        """The entries in order, as scripts write them."""
        rng = random.Random(self.seed)
        for number, sale_id in enumerate(self.sales):
            yield self._sale(sale_id, self._currency(number))
        lives = [*LIVES, *self.common * 8]
        span_ms = int(self.days * 86_400_000)
        begins = sorted(MIDNIGHT_MS + rng.randrange(span_ms) for _ in range(self.bookings))
        # Those that go on: when, which (so that nothing is left to chance), and its next steps.
        waiting: list[tuple[int, int, Iterator[Step], Fields]] = []
        for number, begin_ms in enumerate(begins):
            while waiting and waiting[0][0] <= begin_ms:
                yield self._next(waiting)
            life = lives[number % len(lives)]
            sale = rng.randrange(len(self.sales))
            booking = self._held(number, begin_ms, life, sale, rng)
            yield self._entry(booking, "held", begin_ms, HOLD)
            self._wait(waiting, number, iter(LIVES[life]), booking)
        while waiting:
            yield self._next(waiting)

    def _currency(self, sale: int) -> str:
        return self.currencies[sale % len(self.currencies)]

    def _wait(
        self, waiting: list[Any], number: int, steps: Iterator[Step], booking: Fields
    ) -> None:
        if step := next(steps, None):
            heapq.heappush(waiting, (booking["updated_ms"] + step[1], number, steps, booking, step))

    def _next(self, waiting: list[Any]) -> bytes:
        at_ms, number, steps, booking, (kind, _, move, fields, payment) = heapq.heappop(waiting)
        booking.update(fields, version=booking["version"] + 1, updated_ms=at_ms)
        if kind == "payment_begun":
            booking["payment"] = self._attempt(booking, at_ms)
        elif payment:
            booking["payment"].update(payment)
        text = self._entry(booking, kind, at_ms, move)
        self._wait(waiting, number, steps, booking)
        return text

    def _held(self, number: int, at_ms: int, life: str, sale: int, rng: random.Random) -> Fields:
        quantity = rng.randint(1, 6)
        item, price = ("stand", 0) if life in FREE else ("seat", 1_000 + sale)
        return {
            "booking_id": booking_id(number, self.partition),
            "version": 1,
            "sale_id": self.sales[sale],
            "customer_id": f"c{rng.randrange(100_000)}",
            "status": "PENDING",
            "cancel_reason": None,
            "lines": f"{item}:{quantity}:{price}",
            "amount": quantity * price,
            "currency": self._currency(sale),
            "hold_expires_ms": at_ms + HOLD_MS,
            "created_ms": at_ms,
            "updated_ms": at_ms,
            "extended": 0,
            "payment": None,
        }

    def _attempt(self, booking: Fields, at_ms: int) -> Fields:
        last = booking["payment"]
        return {
            "status": "AUTHORIZING",
            "step": "authorize",
            "attempt": last["attempt"] + 1 if last else 1,
            "gateway": "simulator",
            "method": "pm_card_visa",
            "return_url": None,
            "key": "k",
            "fingerprint": "f",
            "begun_ms": at_ms,
            "authorization_id": None,
            "capture_id": None,
            "decline_code": None,
            "next_action": None,
        }

    def _entry(self, booking: Fields, kind: str, at_ms: int, move: Move) -> bytes:
        more: Fields = {"deltas": "", "levels": ""}
        if move != NO_MOVE:
            item, quantity, _ = booking["lines"].split(":")
            more = self._moved(booking["sale_id"], item, [int(quantity) * n for n in move])
        if kind == "held" or (kind == "confirmed" and not booking["payment"]):
            more |= {"key": booking["booking_id"], "fingerprint": "f"}
        return orjson.dumps({"type": kind, "v": 1, "at_ms": at_ms, "trace": "", **booking, **more})

    def _moved(self, sale_id: str, item: str, deltas: list[int]) -> Fields:
        before = self._levels.setdefault((sale_id, item), [0, 0, 0])
        after = self._levels[sale_id, item] = [
            level + delta for level, delta in zip(before, deltas, strict=True)
        ]
        return {
            "deltas": f"{item}:{deltas[0]}:{deltas[1]}:{deltas[2]}",
            "levels": f"{item}:{after[0]}:{after[1]}:{after[2]}",
        }

    def _sale(self, sale_id: str, currency: str) -> bytes:
        prices = {"seat": 1_000 + self.sales.index(sale_id), "stand": 0}
        moved = [self._moved(sale_id, item, [CAPACITY, 0, 0]) for item in prices]
        return orjson.dumps(
            {
                "type": "sale_put",
                "v": 1,
                "at_ms": MIDNIGHT_MS,
                "sale_id": sale_id,
                "version": 1,
                "definition": {
                    "sale_id": sale_id,
                    "name": sale_id,
                    "opens_ms": 0,
                    "closes_ms": 0,
                    "hold_ms": HOLD_MS,
                    "max_units_per_customer": 0,
                    "currency": currency,
                    "items": [
                        {"item_id": item, "name": item, "unit_price": price, "max_per_booking": 0}
                        for item, price in prices.items()
                    ],
                },
                "deltas": ",".join(fields["deltas"] for fields in moved),
                "levels": ",".join(fields["levels"] for fields in moved),
                "trace": "",
            }
        )
