"""The words that scripts answer with.

An outcome is a value, never an exception: a refusal is an ordinary answer. Each is either
*final* (the same call gives the same answer until the state changes) or *transient* (nothing
was done, and it may be tried again). In order of precedence: a script checks from the top, so
that a replay is recognised before a rate, a window or a cap is looked at.
"""

from __future__ import annotations

from enum import StrEnum


class Outcome(StrEnum):
    """What a script did, or why it did nothing."""

    # The partition cannot be trusted: nothing was tried.
    FENCED = "fenced"

    # The same request came before.
    REPLAYED = "replayed"
    IDEMPOTENCY_KEY_REUSED = "idempotency_key_reused"

    # Nothing was done, the caller may try again.
    RATE_LIMITED = "rate_limited"
    SHED = "shed"
    BACKLOG_FULL = "backlog_full"
    DUE_BACKLOG = "due_backlog"

    # What was named is not there.
    UNKNOWN_SALE = "unknown_sale"
    UNKNOWN_ITEM = "unknown_item"
    SALE_RETIRED = "sale_retired"
    ABSENT = "absent"
    EVICTED = "evicted"

    # Refusals.
    SALE_NOT_OPEN = "sale_not_open"
    SALE_CLOSED = "sale_closed"
    BOOKING_LIMIT = "booking_limit"
    AMOUNT_TOO_LARGE = "amount_too_large"
    CUSTOMER_LIMIT = "customer_limit"
    SOLD_OUT = "sold_out"
    HOLD_EXPIRED = "hold_expired"
    INVALID_STATE = "invalid_state"
    PAYMENT_REQUIRED = "payment_required"
    PAYMENT_FREE = "payment_free"
    ATTEMPTS_EXHAUSTED = "attempts_exhausted"
    LEASE_LOST = "lease_lost"
    MOVED_ON = "moved_on"
    CAPACITY_IN_USE = "capacity_in_use"
    CURRENCY_IN_USE = "currency_in_use"
    SALE_IN_PAST = "sale_in_past"
    STALE = "stale"

    # Done.
    ALLOWED = "allowed"
    HELD = "held"
    EXTENDED = "extended"
    CONFIRMED = "confirmed"
    COMPLETED = "completed"
    CANCELLED = "cancelled"
    BEGUN = "begun"
    JOINED = "joined"
    REQUIRES_ACTION = "requires_action"
    PAYMENT_UNKNOWN = "payment_unknown"
    PAYMENT_FAILED = "payment_failed"
    CAPTURED = "captured"
    LATE_MONEY = "late_money"
    VOIDED = "voided"
    REFUND_BEGUN = "refund_begun"
    REFUNDED = "refunded"
    UNCHANGED = "unchanged"
    CREATED = "created"
    UPDATED = "updated"
    FOUND = "found"
    DONE = "done"


TRANSIENT = frozenset(
    {
        Outcome.FENCED,
        Outcome.RATE_LIMITED,
        Outcome.SHED,
        Outcome.BACKLOG_FULL,
        Outcome.DUE_BACKLOG,
    }
)
"""Outcomes after which the very same call may succeed without anybody else acting."""
