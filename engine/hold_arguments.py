"""How a hold is spelled for `lua/reserve.lua`."""

from __future__ import annotations

from collections.abc import Sequence

from engine import limits
from engine.checks import require_ids, require_quantities, require_trace
from engine.crypto import Vault
from engine.pressure import Marks
from engine.types import Contact, LineRequest, RateLimit


def wanted_of(lines: Sequence[LineRequest]) -> str:
    """What is asked for, as one text: the same request has the same."""
    return ",".join([f"{line.item_id}:{line.quantity}" for line in lines])


def hold_arguments(
    vault: Vault,
    marks: Marks,
    rate: RateLimit | None,
    booking_id: str,
    sale_id: str,
    customer_id: str,
    lines: Sequence[LineRequest],
    key: str,
    *,
    contact: Contact | None = None,
    trace: str = "",
) -> list[bytes | str | int]:
    """The script's arguments after the generation and the sequence seen.

    Raises:
        ValueError: something that the scripts rely on is not so.
    """
    require_ids(sale_id, customer_id, key, *[line.item_id for line in lines])
    require_quantities(lines)
    require_trace(trace)
    email, phone = (contact.email, contact.phone) if contact else (None, None)
    arguments: list[bytes | str | int] = [
        booking_id,
        sale_id,
        customer_id,
        key,
        vault.fingerprint(wanted_of(lines), repr(email), repr(phone)),
        limits.IDEMPOTENCY_TTL_MS,
        rate.interval_us if rate else 0,
        rate.interval_us * rate.burst if rate else 0,
        marks.max_entries,
        marks.max_bytes,
        marks.max_age_ms,
        limits.MAX_DUE_SCANNED,
        limits.MAX_TAKEN_BACK_PER_RESERVE,
        limits.MAX_INTEGER,
        vault.seal_contact(contact) if contact and (email or phone) else b"",
        trace,
    ]
    for line in lines:
        arguments += (line.item_id, line.quantity)
    return arguments
