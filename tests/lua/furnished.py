"""A partition with something of everything in it, and for every script a call that does something.

Tests that are about all scripts alike (the fence, a full memory) go by this table; a script that
is not in it fails them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from engine.limits import TOMBSTONE_TTL_MS
from engine.model import (
    BeginPayment,
    Cancel,
    CaptureFailed,
    ClaimPayment,
    Complete,
    Confirm,
    ConfirmFree,
    Expire,
    Extend,
    Operation,
    PaymentFailed,
    PaymentUnknown,
    RecordCapture,
    Refund,
    Refunded,
    RequireAction,
    Snapshot,
    Voided,
)
from engine.outcomes import Outcome
from engine.payments.types import Step
from engine.types import CancelReason
from tests.helpers.script_calls import script_call
from tests.helpers.scripted import START_MS, ScriptedPartition
from tests.stories.story import HOLD_MS, hold, put, sale

NOW_MS: Final = START_MS + HOLD_MS
EVICTED: Final = "b-evicted"

AUTHORIZING: Final = "b-authorizing"
CAPTURING: Final = "b-capturing"
CAPTURED: Final = "b-captured"
VOIDING: Final = "b-voiding"
REFUNDING: Final = "b-refunding"

Call = tuple[str, tuple[bytes | str | int, ...], Outcome]
"""A script, its arguments after the fence's, and its outcome on a furnished partition."""


def furnish(partition: ScriptedPartition) -> None:
    """A sale with a due hold, a live one, a confirmed one, a cancelled one, and an evicted one.

    And bookings of which each has a payment at another step, all owned by `api`.
    """
    partition.perform(put(sale("A:20:0 B:15:300")))
    partition.perform(hold(EVICTED, "A:1", "ann"))
    partition.perform(Cancel(EVICTED, CancelReason.CUSTOMER))
    partition.raw("evict", 3, 0, 10, TOMBSTONE_TTL_MS)
    partition.perform(hold("b-due", "A:1", "ann"))
    for name in ("closed", "left"):
        closed = replace(sale("A:2:0"), sale_id=name, closes_ms=START_MS + 10)
        partition.perform(put(closed, f"put-{name}"))
    partition.move_clock(START_MS + 10)
    partition.raw("retire_sale", "left", 0)
    partition.move_clock(NOW_MS - 1_000)
    partition.perform(hold("b-soon", "B:1", "eve"))
    partition.move_clock(NOW_MS)
    partition.perform(hold("b-live", "A:2", "ann", contact=True))
    partition.perform(hold("b-paid", "A:1 A:2", "bob"))
    partition.perform(ConfirmFree("b-paid", "bob", "pay", "f"))
    partition.perform(hold("b-gone", "B:1", "cat", contact=True))
    partition.perform(Cancel("b-gone", CancelReason.OPERATOR))
    partition.perform(hold("b-unpaid", "B:1", "dan"))
    for booking_id in (AUTHORIZING, CAPTURING, CAPTURED, VOIDING, REFUNDING):
        partition.perform(hold(booking_id, "B:1", "dan"))
        partition.perform(BeginPayment(booking_id, "dan", "k", "f", "api"))
    for booking_id in (CAPTURING, CAPTURED, VOIDING, REFUNDING):
        partition.perform(Confirm(booking_id, "api", 1, "pi_1"))
    for booking_id in (CAPTURED, REFUNDING):
        partition.perform(RecordCapture(booking_id, "api", 1, "ch_1"))
    for booking_id in (VOIDING, REFUNDING):
        partition.perform(Cancel(booking_id, CancelReason.CUSTOMER))
        partition.perform(ClaimPayment(booking_id, "api"))


def _operation(operation: Operation, outcome: Outcome) -> Call:
    name, arguments = script_call(operation)
    return name, arguments, outcome


LOADED: Final = (
    EVICTED,
    2,
    b"ciphertext",
    3,
    *("sale_id", "gig", "customer_id", "ann", "status", "CANCELLED", "cancel_reason", "customer"),
    *("lines", "A:1:0", "amount", 0, "currency", "USD", "hold_expires_ms", START_MS + HOLD_MS),
    *("created_ms", START_MS, "updated_ms", START_MS, "extended", 0),
)
"""What `load` is told of the booking that was evicted."""

LOADED_SALE: Final = (
    *("left", 99, 0, "{}", 0, START_MS + 10, HOLD_MS, 0, "USD", 1, START_MS, START_MS),
    *("A:available", 2, "A:held", 0, "A:sold", 0, "A:unit_price", 0, "A:max_per_booking", 0),
)
"""What `load_sale` is told of the sale that has left."""

WRITES: Final[tuple[Call, ...]] = (
    _operation(put(sale("A:30:0 B:15:300"), "put-2"), Outcome.UPDATED),
    _operation(hold("b-new", "A:1", "dan", contact=True), Outcome.HELD),
    _operation(Extend("b-live"), Outcome.EXTENDED),
    _operation(Cancel("b-live", CancelReason.CUSTOMER), Outcome.CANCELLED),
    _operation(ConfirmFree("b-live", "ann", "pay", "f"), Outcome.CONFIRMED),
    _operation(Complete("b-paid"), Outcome.COMPLETED),
    _operation(Expire("gig"), Outcome.DONE),
    _operation(Snapshot("gig"), Outcome.DONE),
    _operation(BeginPayment("b-unpaid", "dan", "k", "f", "api"), Outcome.BEGUN),
    _operation(ClaimPayment(AUTHORIZING, "api"), Outcome.DONE),
    _operation(Confirm(AUTHORIZING, "api", 1, "pi_1"), Outcome.CONFIRMED),
    _operation(
        RequireAction(AUTHORIZING, "api", 1, "pi_1", '{"type":"x"}'), Outcome.REQUIRES_ACTION
    ),
    _operation(PaymentUnknown(AUTHORIZING, "api", 1, Step.AUTHORIZE), Outcome.PAYMENT_UNKNOWN),
    _operation(PaymentFailed(AUTHORIZING, "api", 1, "declined"), Outcome.PAYMENT_FAILED),
    _operation(RecordCapture(CAPTURING, "api", 1, "ch_1"), Outcome.CAPTURED),
    _operation(CaptureFailed(CAPTURING, "api", 1, "expired"), Outcome.CANCELLED),
    _operation(Voided(VOIDING, "api", 1), Outcome.VOIDED),
    _operation(Refund(CAPTURED), Outcome.REFUND_BEGUN),
    _operation(Refunded(REFUNDING, "api", 1), Outcome.REFUNDED),
    ("nudge", (AUTHORIZING, "simulator", "evt_1", 60_000, 1, 300, "USD"), Outcome.DONE),
    ("load", LOADED, Outcome.DONE),
    ("warn", ("gig", HOLD_MS - 1, 0, 0, 10), Outcome.DONE),
    ("evict", (99, 0, 10, TOMBSTONE_TTL_MS), Outcome.DONE),
    ("retire_sale", ("closed", 0), Outcome.DONE),
    ("load_customers", ("left", "ann", 2), Outcome.DONE),
    ("load_sale", LOADED_SALE, Outcome.DONE),
    ("trim", (5, 5, 2_000), Outcome.DONE),
    ("shed", ("disk", 5_000), Outcome.DONE),
    ("rate_limit", ("ann", 1_000_000, 5_000_000), Outcome.ALLOWED),
    ("refuse", (31, "gig", 1_000_000, 5_000_000, "ann", "k-new"), Outcome.DONE),
)
READS: Final[tuple[Call, ...]] = (
    ("get_booking", ("b-live", ""), Outcome.FOUND),
    ("get_sale", ("gig", 10), Outcome.FOUND),
    ("list_sales", ("", 10), Outcome.DONE),
    ("closed_sales", ("", 10, 0), Outcome.DONE),
    ("due", (10,), Outcome.DONE),
    ("soon", (10_000, 0, 10), Outcome.DONE),
    ("due_payments", (10,), Outcome.DONE),
    ("open_payments", (0, 10), Outcome.DONE),
    ("audit_payments", (AUTHORIZING,), Outcome.DONE),
    ("read_journal", (1, 10, 1_000_000), Outcome.DONE),
    ("audit_sale", ("gig",), Outcome.FOUND),
    ("audit_customers", ("gig", "ann"), Outcome.DONE),
    ("audit_holds", ("gig", "b-live"), Outcome.DONE),
)
REBUILDING: Final[dict[str, tuple[bytes | str | int, ...]]] = {
    "reset_partition": (2, 40, 9_000, START_MS, 1, "crc32"),
    "forget_keys": ("stock:gig", "meta"),
    "restore_sale": (*("other", "{}", 0, 0, 1, 0, "USD", 1, 1, 1), "A:available", 1),
    "restore_customers": ("gig", "zoe", 2),
    "restore_bookings": (
        b'{"booking_id":"b-1","sale_id":"gig","deadline_ms":"9","look_ms":"8","updated_ms":"7",'
        b'"contact":"x","fields":["status","PENDING"]}',
    ),
    "restore_tombstones": (60_000, "b-2", 3),
    "restore_records": (b'["hold","gig","k","zoe","4000000000000","f {}"]',),
    "finish_rebuild": (b'{"the":"cursor"}',),
}
"""Scripts of a rebuild, which a partition runs only for who closed it, by token: arguments."""
UNFENCED: Final = {
    "init_partition",
    "fence",
    "beat",
    "begin_rebuild",
    "freeze_sale",
    "finish_sale",
    *REBUILDING,
}
"""Scripts that are not behind the fence: they make it, close it, or know nothing of it."""

CALLS: Final = {name: (arguments, outcome) for name, arguments, outcome in WRITES + READS}
