"""Writes a batch's rows, set by set, inside a transaction that somebody else opens."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import asyncpg

from engine.crypto import email_hash_of
from engine.limits import DATABASE_DRAIN_TIMEOUT_MS
from persistence.pool import Connection
from persistence.projections import Batch, Row
from persistence.queries import query
from persistence.steps import Step, bookings_to_look_up

_TIMEOUT_S: Final = DATABASE_DRAIN_TIMEOUT_MS / 1000
_JOURNAL: Final = (
    "partition",
    "sequence",
    "generation",
    "at_ms",
    "type",
    "booking_id",
    "sale_id",
    "entry",
    "chain",
)
QUARANTINE: Final = (
    "partition",
    "sequence",
    "generation",
    "reason",
    "detail",
    "type",
    "booking_id",
    "sale_id",
    "version",
    "deltas",
    "entry",
)
_BOOKINGS: Final = (
    "booking_id",
    "partition",
    "sequence",
    "version",
    "sale_id",
    "customer_id",
    "status",
    "cancel_reason",
    "amount",
    "currency",
    "hold_expires_ms",
    "created_ms",
    "updated_ms",
    "extended",
    "events",
    "warned",
)
_LINES: Final = ("booking_id", "position", "item_id", "quantity", "unit_price")
_STOCK_HISTORY: Final = (
    "sale_id",
    "item_id",
    "sequence",
    "partition",
    "at_ms",
    "type",
    "booking_id",
    "delta_available",
    "delta_held",
    "delta_sold",
    "level_available",
    "level_held",
    "level_sold",
)
_OUTBOX: Final = ("event_id", "type", "subject", "subject_sequence", "partition", "sequence")


async def write_rows(
    taken: Connection, batch: Batch, contacts: Mapping[str, bytes]
) -> list[asyncpg.Record]:
    """Write a batch; answers the levels that its items have now, as rows of `add_deltas`."""
    await _copy(taken, "journal", _JOURNAL, batch.journal)
    await _copy(taken, "quarantine", QUARANTINE, batch.quarantine)
    await _copy(taken, "bookings", _BOOKINGS, batch.bookings.values())
    await _copy(taken, "lines", _LINES, batch.lines)
    await _copy(taken, "stock_history", _STOCK_HISTORY, batch.history)
    await _copy(taken, "outbox", _OUTBOX, batch.outbox)
    await _set(taken, query("change_bookings"), batch.changes.values())
    await _set(taken, query("upsert_payments"), batch.payments.values())
    sealed = [(name, contacts[name]) for name in batch.bookings if name in contacts]
    kept = [(name, contact, email_hash_of(contact)) for name, contact in sealed]
    await _set(taken, query("upsert_contacts"), kept)
    await _set(taken, query("upsert_sales"), batch.sales.values())
    await _set(taken, query("retire_items"), [(row[0], row[2]) for row in batch.sales.values()])
    await _set(taken, query("define_items"), [row for rows in batch.items.values() for row in rows])
    await _set(taken, query("add_sale_days"), list(batch.rollups.days()))
    await _set(taken, query("add_sale_steps"), list(batch.rollups.steps()))
    return await _set(
        taken, query("add_deltas"), [(*key, *batch.deltas[key]) for key in batch.deltas]
    )


async def _copy(
    taken: Connection, table: str, columns: Sequence[str], rows: Collection[Row]
) -> None:
    if not rows:
        return
    try:
        await taken.copy_records_to_table(table, columns=columns, records=rows, timeout=_TIMEOUT_S)
    except (ArithmeticError, AttributeError, TypeError, ValueError) as error:
        # What asyncpg turns into this by itself for the arguments of a statement.
        raise asyncpg.DataError(f"{table}: {error}") from error


async def _set(taken: Connection, sql: str, rows: Collection[Row]) -> list[asyncpg.Record]:
    """Run a query that takes its rows as one array for each column."""
    if not rows:
        return []
    return await taken.fetch(sql, *zip(*rows, strict=True), timeout=_TIMEOUT_S)


@dataclass(frozen=True, slots=True)
class Known:
    """What PostgreSQL has of the bookings of some steps, as `plan` takes it."""

    versions: dict[str, int]
    events: dict[str, int]
    absent: set[str]


async def look_up(taken: Connection, steps: Sequence[Step]) -> Known:
    """Read what `plan` has to know of the bookings that steps are about."""
    known = Known({}, {}, set())
    for row in await taken.fetch(query("booking_versions"), bookings_to_look_up(steps)):
        booking_id, version, events = row
        # A discarded entry counts as applied for the order, though the row is not what it says.
        known.versions[booking_id] = max(version, known.versions.get(booking_id, 0))
        if events is not None:
            known.events[booking_id] = events
    known.absent.update(known.versions.keys() - known.events.keys())
    return known
