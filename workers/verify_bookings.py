"""Compares every booking that is in Redis with the journal entry that made it what it is.

An entry carries the whole booking, so that each is compared by itself, page by page, and nothing
is held in memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from engine.audit import BookingReading
from engine.engine import Engine
from engine.journal import UnknownEntry, parse_entry
from engine.types import Booking
from persistence.audit import Audit
from workers.replay import Cursors, Report


async def compare_bookings(
    engine: Engine, audit: Audit, cursors: Cursors, report: Report, bases: Mapping[int, int]
) -> None:
    """Compare the bookings of all partitions. Raises `Unavailable`.

    Args:
        bases: by partition, up to where its journal was dropped. Of a booking whose last entry is
            there PostgreSQL's own is compared with.
    """
    before = await _tips(engine)
    async for page in engine.audit.bookings():
        tips = await _tips(engine)
        for partition, readings in _by_partition(page).items():
            sound = [found for found in readings if found.sequence <= tips[partition]]
            for found in readings:
                if found.sequence > tips[partition]:
                    _differ(report, found, f"its last entry would be {found.sequence}, not written")
            if sound and await cursors.reached(partition, max(one.sequence for one in sound)):
                ends = bases.get(partition, 0), before[partition]
                await _compare(audit, report, sound, *ends)
        before = tips


async def _tips(engine: Engine) -> dict[int, int]:
    return {status.partition: status.sequence for status in await engine.journal.statuses()}


def _by_partition(page: Iterable[BookingReading]) -> dict[int, list[BookingReading]]:
    found: dict[int, list[BookingReading]] = {}
    for reading in page:
        found.setdefault(reading.partition, []).append(reading)
    return found


async def _compare(
    audit: Audit, report: Report, readings: list[BookingReading], base: int, before: int
) -> None:
    """Compare bookings of one partition. `before` is a sequence from before they were read."""
    partition = readings[0].partition
    texts = await audit.texts(partition, [found.sequence for found in readings])
    last = await audit.last_entries([found.booking_id for found in readings])
    below = [found.booking_id for found in readings if found.sequence <= base]
    archived = await audit.archived(below) if below else {}
    for found in readings:
        text = texts.get(found.sequence)
        if found.booking is None:
            _differ(report, found, "its fields in Redis do not make a booking")
        elif found.sequence <= base:
            if archived.get(found.booking_id) == (found.sequence, found.booking):
                continue
            if not _is_stale(found, last, before):
                _differ(
                    report,
                    found,
                    f"version {found.booking.version} in Redis, of entry {found.sequence}, is not "
                    "what PostgreSQL has; the entry has been dropped",
                )
            else:
                _differ_stale(report, found, last)
        elif text is None:
            _differ(report, found, f"the journal has no entry {found.sequence}, its last by Redis")
        elif _booking_in(found.sequence, text) != found.booking:
            _differ(
                report,
                found,
                f"version {found.booking.version} in Redis is not what entry {found.sequence} "
                "made it",
            )
        elif _is_stale(found, last, before):
            _differ_stale(report, found, last)


def _differ_stale(report: Report, found: BookingReading, last: Mapping[str, int]) -> None:
    _differ(report, found, f"entry {last[found.booking_id]} changed it and Redis does not know")


def _is_stale(found: BookingReading, last: Mapping[str, int], before: int) -> bool:
    """Whether PostgreSQL has a later entry that Redis had written before it was read."""
    return found.sequence < last.get(found.booking_id, 0) <= before


def _booking_in(sequence: int, text: bytes) -> Booking | None:
    try:
        return parse_entry(sequence, text).booking
    except (UnknownEntry, ValueError, KeyError, TypeError):
        return None


def _differ(report: Report, found: BookingReading, what: str) -> None:
    report.differ(f"partition {found.partition}: booking {found.booking_id}: {what}")
