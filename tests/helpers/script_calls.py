"""How an operation of the model is spelled as a script and its arguments after the fence's."""

from __future__ import annotations

from engine import limits
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
    PaymentOperation,
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
from engine.payments.limits import PAYMENT_LEASE_MS, PAYMENT_POLL_MS
from engine.types import definition_json


def script_call(operation: Operation) -> tuple[str, tuple[bytes | str | int, ...]]:
    """The script of an operation, and its arguments after the fence's."""
    match operation:
        case PutSale(definition, name):
            flat: list[str | int] = []
            for item in definition.items:
                flat += (item.item_id, item.capacity, item.unit_price, item.max_per_booking)
            return "put_sale", (
                definition.sale_id,
                name,
                definition_json(definition),
                definition.opens_ms,
                definition.closes_ms,
                definition.hold_ms,
                definition.max_units_per_customer,
                definition.currency,
                "",
                *flat,
            )
        case Reserve(booking_id, sale_id, customer_id, lines, key, fingerprint, contact, bounds):
            return "reserve", (
                booking_id,
                sale_id,
                customer_id,
                key,
                fingerprint,
                limits.IDEMPOTENCY_TTL_MS,
                0,
                0,
                bounds.max_backlog_entries,
                bounds.max_backlog_bytes,
                bounds.max_backlog_age_ms,
                bounds.max_due_scanned,
                bounds.max_taken,
                bounds.max_amount,
                b"ciphertext" if contact else b"",
                "",
                *(part for line in lines for part in (line.item_id, line.quantity)),
            )
        case Extend(booking_id, customer_id):
            return "extend", (booking_id, customer_id, "")
        case Cancel(booking_id, reason, customer_id):
            return "cancel", (booking_id, customer_id, reason, "")
        case ConfirmFree(booking_id, customer_id, key, fingerprint):
            ttl_ms = limits.IDEMPOTENCY_TTL_MS
            return "confirm_free", (booking_id, customer_id, key, fingerprint, ttl_ms, "")
        case Complete(booking_id):
            return "complete", (booking_id, "")
        case Expire(sale_id, limit):
            return "expire", (sale_id, limit)
        case Snapshot(sale_id):
            return "snapshot", (sale_id,)
        case Warn(sale_id, warning_ms, limit):
            return "warn", (sale_id, warning_ms, 0, 0, limit)
        case _:
            return _payment_call(operation)


def _payment_call(operation: PaymentOperation) -> tuple[str, tuple[bytes | str | int, ...]]:
    ttl_ms = limits.IDEMPOTENCY_TTL_MS
    match operation:
        case BeginPayment():
            return "begin_payment", (
                operation.booking_id,
                operation.customer_id,
                operation.key,
                operation.fingerprint,
                operation.gateway,
                operation.method,
                operation.owner,
                PAYMENT_LEASE_MS,
                operation.grace_ms,
                operation.max_attempts,
                operation.return_url or "",
                "",
            )
        case ClaimPayment(booking_id, owner):
            return "claim_payment", (booking_id, owner, PAYMENT_LEASE_MS)
        case Confirm(booking_id, owner, attempt, authorization_id):
            return "confirm", (booking_id, owner, attempt, authorization_id, "")
        case RequireAction(booking_id, owner, attempt, authorization_id, next_action):
            more = (authorization_id, next_action, PAYMENT_POLL_MS, "")
            return "requires_action", (booking_id, owner, attempt, *more)
        case PaymentUnknown(booking_id, owner, attempt, step, retry_ms):
            return "payment_unknown", (booking_id, owner, attempt, step, retry_ms, "")
        case PaymentFailed(booking_id, owner, attempt, decline_code):
            return "payment_failed", (booking_id, owner, attempt, decline_code, ttl_ms, "")
        case RecordCapture(booking_id, owner, attempt, capture_id):
            return "record_capture", (booking_id, owner, attempt, capture_id, ttl_ms, "")
        case CaptureFailed(booking_id, owner, attempt, decline_code):
            return "capture_failed", (booking_id, owner, attempt, decline_code, "")
        case Voided(booking_id, owner, attempt):
            return "voided", (booking_id, owner, attempt, ttl_ms, "")
        case Refund(booking_id):
            return "refund", (booking_id, "")
        case Refunded(booking_id, owner, attempt):
            return "refunded", (booking_id, owner, attempt, "")
