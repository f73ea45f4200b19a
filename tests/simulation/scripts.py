"""Scripts as the model knows them: what a call's arguments mean, and how an answer is spelled.

The other way round than `tests.helpers.script_calls`. Arguments are read by the names in the
script's header, so that a script which takes one more is still understood.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any, Final

import orjson

from engine.journal import MARK_TYPES, Entry
from engine.model import (
    BeginPayment,
    Bounds,
    Cancel,
    CaptureFailed,
    ClaimPayment,
    Complete,
    Confirm,
    ConfirmFree,
    Decision,
    Expire,
    Extend,
    Operation,
    PaymentFailed,
    PaymentUnknown,
    PutSale,
    RecordCapture,
    Refund,
    Refunded,
    RequireAction,
    Reserve,
    Snapshot,
    Voided,
    Warn,
)
from engine.outcomes import Outcome
from engine.payments.types import Step
from engine.scripts import Script
from engine.types import CancelReason, Levels, LineRequest, definition_of

Arg = bytes | str | int


@dataclass(frozen=True, slots=True)
class Arguments:
    """A call's arguments by name; `rest` is what repeats at its end."""

    named: dict[str, Arg]
    rest: tuple[Arg, ...]

    @classmethod
    def of(cls, script: Script, args: Sequence[Arg]) -> Arguments:
        """Read a call's arguments by its script's header."""
        names = list(takewhile(lambda name: not name.startswith("["), script.args))
        assert len(args) >= len(names), f"{script.name} lacks arguments"
        named = dict(zip(names, args, strict=False))
        return cls(named, tuple(args[len(names) :]))

    def text(self, name: str) -> str:
        """An argument as text."""
        value = self.named[name]
        return value.decode() if isinstance(value, bytes) else str(value)

    def number(self, name: str) -> int:
        """An argument as a number."""
        return int(self.named[name])


def _reserve(a: Arguments) -> Operation:
    lines = zip(a.rest[::2], a.rest[1::2], strict=True)
    return Reserve(
        booking_id=a.text("booking_id"),
        sale_id=a.text("sale_id"),
        customer_id=a.text("customer_id"),
        lines=tuple(LineRequest(str(item_id), int(quantity)) for item_id, quantity in lines),
        key=a.text("key"),
        fingerprint=a.text("fingerprint"),
        contact=bool(a.text("contact")),
        bounds=Bounds(
            max_backlog_entries=a.number("max_backlog_entries"),
            max_due_scanned=a.number("max_due_scanned"),
            max_taken=a.number("max_taken"),
            max_amount=a.number("max_amount"),
        ),
    )


def _put_sale(a: Arguments) -> Operation:
    capacities = {str(a.rest[at]): int(a.rest[at + 1]) for at in range(0, len(a.rest), 4)}
    definition = definition_of(orjson.loads(a.text("definition")), capacities)
    return PutSale(definition, a.text("operation"))


def _begin(a: Arguments) -> Operation:
    return BeginPayment(
        a.text("booking_id"),
        a.text("customer_id"),
        key=a.text("key"),
        fingerprint=a.text("fingerprint"),
        owner=a.text("owner"),
        gateway=a.text("gateway"),
        method=a.text("method"),
        return_url=a.text("return_url") or None,
        grace_ms=a.number("grace_ms"),
        max_attempts=a.number("max_attempts"),
    )


def _owned(a: Arguments) -> tuple[str, str, int]:
    return a.text("booking_id"), a.text("owner"), a.number("attempt")


OPERATIONS: Final[dict[str, Callable[[Arguments], Operation]]] = {
    "reserve": _reserve,
    "put_sale": _put_sale,
    "extend": lambda a: Extend(a.text("booking_id"), a.text("customer_id")),
    "cancel": lambda a: Cancel(
        a.text("booking_id"), CancelReason(a.text("reason")), a.text("customer_id")
    ),
    "confirm_free": lambda a: ConfirmFree(
        a.text("booking_id"), a.text("customer_id"), a.text("key"), a.text("fingerprint")
    ),
    "complete": lambda a: Complete(a.text("booking_id")),
    "expire": lambda a: Expire(a.text("sale_id"), a.number("limit")),
    "begin_payment": _begin,
    "claim_payment": lambda a: ClaimPayment(a.text("booking_id"), a.text("owner")),
    "confirm": lambda a: Confirm(*_owned(a), a.text("authorization_id")),
    "requires_action": lambda a: RequireAction(
        *_owned(a), a.text("authorization_id"), a.text("next_action")
    ),
    "payment_unknown": lambda a: PaymentUnknown(
        *_owned(a), Step(a.text("step")), a.number("retry_ms")
    ),
    "payment_failed": lambda a: PaymentFailed(*_owned(a), a.text("decline_code")),
    "record_capture": lambda a: RecordCapture(*_owned(a), a.text("capture_id")),
    "capture_failed": lambda a: CaptureFailed(*_owned(a), a.text("decline_code")),
    "voided": lambda a: Voided(*_owned(a)),
    "refund": lambda a: Refund(a.text("booking_id")),
    "refunded": lambda a: Refunded(*_owned(a)),
    "snapshot": lambda a: Snapshot(a.text("sale_id")),
    # From the start at each call: a run has fewer holds than one call looks at.
    "warn": lambda a: Warn(a.text("sale_id"), a.number("warning_ms"), a.number("limit")),
}
"""The scripts that the model decides, by name."""


def reply_of(operation: Operation, decision: Decision) -> list[Any]:
    """What the script answers."""
    text = b""
    if isinstance(operation, Expire):
        text = str(decision.expired).encode()
    elif isinstance(operation, Warn):
        text = f"{decision.warned} {decision.state.last_ms} 0".encode()
    elif decision.booking is not None:
        text = decision.booking.to_json()
    elif decision.item_id is not None:
        text = decision.item_id.encode()
    elif getattr(operation, "booking_id", "") in decision.state.bookings:
        text = b"other_customer" if decision.outcome is Outcome.ABSENT else b""
    answer = [decision.outcome.value.encode(), decision.state.sequence, text]
    # Nothing is to be remembered of it: what is, is tried on a real server.
    return [*answer, b"0"] if decision.outcome is Outcome.SOLD_OUT else answer


def entry_text(entry: Entry) -> bytes:
    """An entry as it lies in the journal, as `lua/lib/entry.lua` makes it."""
    about: dict[str, Any]
    if entry.booking is not None:
        about = orjson.loads(entry.booking.to_json())
    elif entry.type in MARK_TYPES:
        about = {"sale_id": entry.sale_id}
    else:
        about = {
            "sale_id": entry.sale_id,
            "version": entry.version,
            "definition": entry.definition,
        }
    if entry.key is not None:
        about |= {"key": entry.key, "fingerprint": entry.fingerprint}
    if entry.type == "held":
        about["contact"] = entry.contact
    return orjson.dumps(
        {
            "type": entry.type,
            "v": 1,
            "at_ms": entry.at_ms,
            **about,
            "deltas": _pack(entry.deltas),
            "levels": _pack(entry.levels),
            "trace": entry.trace,
        }
    )


def _pack(levels: Sequence[Levels]) -> str:
    return ",".join(f"{at.item_id}:{at.available}:{at.held}:{at.sold}" for at in levels)
