"""A partition's journal folded again, and what `holdfast verify` finds on the way.

The fold follows: it goes on to the sequence at which Redis was read, as soon as PostgreSQL has it,
and stands still there for the comparison. So nothing has to be frozen, and memory holds the state
of one partition and no readings.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from engine.journal import Entry, UnknownEntry, parse_entry
from engine.limits import VERIFY_STALL_MS
from engine.model import Disagreement, PartitionState, advance, is_paying
from engine.types import Booking, Status
from persistence.audit import Audit, AuditEntry
from persistence.payments import PaymentRow
from persistence.reads import Reads
from persistence.rollups import Rollups
from persistence.steps import chain_of

MAX_DIFFERENCES: Final = 1_000
POLL_S: Final = 0.02


@dataclass(slots=True)
class Report:
    """What was compared, and where it disagrees: a line each, the first thousand."""

    differences: list[str] = field(default_factory=list)
    found: int = 0
    bookings: int = 0
    journal_entries: int = 0
    payments: int = 0

    def differ(self, text: str) -> None:
        """Note a difference."""
        self.found += 1
        if len(self.differences) < MAX_DIFFERENCES:
            self.differences.append(text)

    def end(self) -> None:
        """Say how many more there are."""
        if self.found > len(self.differences):
            self.differences.append(f"and {self.found - len(self.differences)} more")


class Cursors:
    """Waits for PostgreSQL to have what was read in Redis; not for ever.

    A partition whose cursor has not moved for `VERIFY_STALL_MS` while it was waited for is not
    waited for again.
    """

    def __init__(self, reads: Reads) -> None:
        self._reads = reads
        self._known: dict[int, int] = {}
        self._stalled: set[int] = set()

    async def reached(self, partition: int, sequence: int) -> bool:
        """Wait until a partition's cursor is at a sequence; whether it came there."""
        seen, since_s = self._known.get(partition, -1), time.monotonic()
        while seen < sequence:
            floors = await self._reads.cursors()
            self._known = {name: floor.sequence for name, floor in floors.items()}
            now = self._known.get(partition, 0)
            if now > seen:
                seen, since_s = now, time.monotonic()
            elif partition in self._stalled or time.monotonic() - since_s > VERIFY_STALL_MS / 1000:
                self._stalled.add(partition)
                return False
            else:
                await asyncio.sleep(POLL_S)
        return True

    def cursor(self, partition: int) -> int:
        """The cursor when it was last asked for."""
        return self._known.get(partition, 0)


class Replay:
    """A partition as its journal tells it, up to and with entry `state.sequence`.

    `last` names the last entry of each booking, `payments` has each attempt as of its last entry,
    `paying` names the bookings whose payment is open, `holds` counts live holds by sale,
    `changes` the changes of each item's stock, and `rollups` sums up for the reports.
    """

    def __init__(
        self,
        audit: Audit,
        cursors: Cursors,
        partition: int,
        report: Report,
        folded: Callable[[], None],
    ) -> None:
        self.partition = partition
        self.report = report
        self.state = PartitionState()
        self.chain = bytes(32)
        self.bytes = 0
        self.last: dict[str, int] = {}
        self.payments: dict[tuple[str, int], PaymentRow] = {}
        self.paying: set[str] = set()
        self.holds: Counter[str] = Counter()
        self.changes: Counter[tuple[str, str]] = Counter()
        self.rollups = Rollups()
        self._audit = audit
        self._cursors = cursors
        self._folded = folded
        self._lags = False

    def differ(self, text: str) -> None:
        """Note a difference of this partition."""
        self.report.differ(f"partition {self.partition}: {text}")

    async def follow(self, sequence: int) -> bool:
        """Go on to where Redis was read; whether the state is now that of `sequence`."""
        if sequence < self.state.sequence:
            self.differ(f"Redis is at {sequence}, and PostgreSQL has {self.state.sequence}")
            return False
        if not await self._cursors.reached(self.partition, sequence):
            if not self._lags:
                self._lags = True
                cursor = self._cursors.cursor(self.partition)
                self.differ(
                    f"PostgreSQL stays at {cursor} and Redis is at {sequence}: nobody drains it"
                )
            return False
        await self.fold(sequence)
        return self.state.sequence == sequence

    async def fold(self, sequence: int) -> None:
        """Go on to a sequence that PostgreSQL has."""
        while self.state.sequence < sequence:
            rows = await self._audit.entries(self.partition, self.state.sequence, sequence)
            for row in rows:
                self._fold(row)
            if not rows:
                self.differ(f"the journal lacks {self.state.sequence + 1} to {sequence}")
                self.state.sequence = sequence
            # Idempotency records are compared with nothing here, and are most of the memory.
            self.state.records.clear()
            self._folded()

    def _fold(self, row: AuditEntry) -> None:
        sequence = row.sequence
        if sequence != self.state.sequence + 1:
            self.differ(f"the journal lacks {self.state.sequence + 1} to {sequence - 1}")
            self.state.sequence = sequence - 1
        if chain_of(self.chain, row.entry) != row.chain:
            self.differ(f"entry {sequence} does not follow by its chain: it or one before changed")
        # Where it broke it is said once; what comes after is judged from there.
        self.chain = row.chain
        self.bytes += len(row.entry)
        self.report.journal_entries += 1
        try:
            entry = parse_entry(sequence, row.entry)
            booking_id = entry.booking.booking_id if entry.booking else ""
            before = self.state.bookings.get(booking_id)
            if _columns_of(entry) != (row.at_ms, row.type, row.booking_id, row.sale_id):
                self.differ(f"entry {sequence}: the columns beside it say something else")
            advance(self.state, entry)
        except Disagreement as disagreement:
            self.differ(f"the journal does not follow from itself: {disagreement}")
        except (UnknownEntry, ValueError, KeyError, TypeError) as fault:
            self.differ(f"entry {sequence} cannot be read: {fault!r}")
        else:
            self._count(entry, was_held=before is not None and before.status is Status.PENDING)
        self.state.sequence = sequence

    def _count(self, entry: Entry, *, was_held: bool) -> None:
        self.rollups.add(entry)
        for delta in entry.deltas:
            self.changes[entry.sale_id, delta.item_id] += 1
        if entry.booking:
            self.last[entry.booking.booking_id] = entry.sequence
            self._note_payment(entry.booking)
            is_held = entry.booking.status is Status.PENDING
            self.holds[entry.sale_id] += is_held - was_held

    def _note_payment(self, booking: Booking) -> None:
        payment = booking.payment
        if payment is None:
            return
        step_ms: int | None = booking.updated_ms
        before = self.payments.get((booking.booking_id, payment.attempt))
        if before and before.payment.step is payment.step:
            step_ms = before.step_ms
        self.payments[booking.booking_id, payment.attempt] = PaymentRow(
            booking_id=booking.booking_id,
            payment=payment,
            version=booking.version,
            step_ms=step_ms if is_paying(booking) else None,
            amount=booking.amount,
            currency=booking.currency,
            updated_ms=booking.updated_ms,
        )
        if is_paying(booking):
            self.paying.add(booking.booking_id)
        else:
            self.paying.discard(booking.booking_id)


def _columns_of(entry: Entry) -> tuple[int, str, str | None, str | None]:
    booking_id = entry.booking.booking_id if entry.booking else None
    return (entry.at_ms, entry.type, booking_id, entry.sale_id or None)
