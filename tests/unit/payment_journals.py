"""Journals of payments that went this way or that, and how to tamper with their entries."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from engine.journal import Entry
from engine.model import (
    Cancel,
    CaptureFailed,
    ClaimPayment,
    Complete,
    Expire,
    Extend,
    Operation,
    PartitionState,
    PaymentFailed,
    PaymentUnknown,
    Refund,
    Refunded,
    RequireAction,
    Voided,
    Warn,
    decide,
)
from engine.payments.types import Step
from tests.stories.paying import ACTION, CAPTURE, CONFIRM, GRACE_MS, begin
from tests.stories.story import CUSTOMER, HOLD_MS, OPERATOR, hold, put, sale

NOW_MS = 1_000_000
END_MS = NOW_MS + HOLD_MS + GRACE_MS + 10
Change = Callable[[Entry], Entry]

_HOLD: Final = (put(sale("P:3:500")), hold("b1", "P:2"))
_PAID: Final = (*_HOLD, begin(), CONFIRM, CAPTURE)
_CLAIM: Final = ClaimPayment("b1", "api")
_REFUNDED: Final = Refunded("b1", "api", 1)
_LATE: Final = (*_HOLD, begin(), END_MS, Expire("gig"))

JOURNALS: Final[dict[str, tuple[Operation | int, ...]]] = {
    "asked": (
        *_HOLD,
        begin(),
        RequireAction("b1", "api", 1, "pi_1", ACTION),
        _CLAIM,
        PaymentUnknown("b1", "api", 1, Step.AUTHORIZE),
        _CLAIM,
        PaymentFailed("b1", "api", 1, "declined"),
        Extend("b1"),
        begin("k2"),
    ),
    "used": (*_PAID, Complete("b1"), Refund("b1"), _CLAIM, _REFUNDED),
    "given_back": (*_PAID, Refund("b1")),
    "cancelled": (*_PAID, Cancel("b1", CUSTOMER)),
    "voided": (*_HOLD, begin(), CONFIRM, Cancel("b1", OPERATOR), Voided("b1", "api", 1)),
    "captured_too_late": (*_HOLD, begin(), CONFIRM, Cancel("b1", OPERATOR), CAPTURE),
    "refused": (*_HOLD, begin(), CONFIRM, CaptureFailed("b1", "api", 1, "expired")),
    "warned": (*_HOLD, NOW_MS + 10, Warn("gig", HOLD_MS - 1), begin(), CONFIRM),
    "late_and_taken": (*_LATE, CONFIRM),
    "late_and_sold_out": (*_LATE, hold("b2", "P:3", "bob"), CONFIRM),
    "late_after_a_cancel": (*_HOLD, begin(), Cancel("b1", CUSTOMER), CONFIRM),
}
"""Operations, with the time here and there."""


def journal(name: str) -> list[Entry]:
    state, now_ms = PartitionState(), NOW_MS
    entries: list[Entry] = []
    for step in JOURNALS[name]:
        if isinstance(step, int):
            now_ms = step
            continue
        now_ms += 1
        decision = decide(state, step, now_ms)
        state = decision.state
        entries += decision.entries
    return entries


def payment(**fields: Any) -> Change:
    """Change the payment of an entry's booking."""

    def change(entry: Entry) -> Entry:
        assert entry.booking
        assert entry.booking.payment
        changed = replace(entry.booking.payment, **fields)
        return entry._replace(booking=entry.booking._replace(payment=changed))

    return change


def booking(**fields: Any) -> Change:
    """Change an entry's booking."""

    def change(entry: Entry) -> Entry:
        assert entry.booking
        return entry._replace(booking=entry.booking._replace(**fields))

    return change


def also(*changes: Change) -> Change:
    """Several changes of one entry."""

    def change(entry: Entry) -> Entry:
        for each in changes:
            entry = each(entry)
        return entry

    return change


def fields(**changed: Any) -> Change:
    """Change an entry."""
    return lambda entry: entry._replace(**changed)
