"""A partition's place in PostgreSQL, and journal entries on their way there. Pure.

A `Step` is one entry, understood or to be quarantined for a reason. `fault_of` says whether what
Redis has follows from what PostgreSQL has: the second half of rule 5.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from types import NoneType
from typing import Any, Final

import orjson

from engine.journal import (
    MARK_TYPES,
    Entry,
    JournalSlice,
    RawEntry,
    UnknownEntry,
    parse_entry,
    unpack_levels,
)
from engine.limits import ID_PATTERN, MAX_EPOCH_MS, MAX_INTEGER
from engine.types import definition_of

UNREADABLE: Final = "unreadable"
"""Of a known type and malformed, or not even that."""
REFUSED: Final = "refused"
"""PostgreSQL does not take what it says."""
OUT_OF_ORDER: Final = "out_of_order"
"""The entry of the booking before it was not applied: it waits behind that one."""


JOURNAL_GAP: Final = "journal_gap"
"""Entries that PostgreSQL has or needs are not there."""
JOURNAL_MISMATCH: Final = "journal_mismatch"
"""The entry at the cursor is another than PostgreSQL has: this is not the journal it read."""
STALE_GENERATION: Final = "generation"
"""Redis is at another generation than PostgreSQL: it is PostgreSQL that came back older."""
UNKNOWN_ENTRY: Final = "unknown_entry"
"""A newer writer is about. No fence: nothing is wrong with Redis."""


@dataclass(frozen=True, slots=True)
class Position:
    """Where a partition stands in PostgreSQL. `entry` is the text at the cursor, if still kept.

    `bytes` is the length of all entries up to the cursor.
    """

    generation: int
    sequence: int
    chain: bytes
    entry: bytes | None
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class Step:
    """One entry on its way into the tables; `reason` says why it goes into quarantine instead."""

    raw: RawEntry
    entry: Entry | None
    reason: str | None = None
    detail: str = ""

    def quarantined(self, reason: str, detail: str) -> Step:
        """The same entry, not to be applied."""
        # PostgreSQL's text takes everything but NUL.
        return replace(self, reason=reason, detail=detail.replace("\0", "\\0"))


def understand(raws: Iterable[RawEntry]) -> tuple[list[Step], UnknownEntry | None]:
    """Parse entries up to the first that a newer writer made; that one is answered as an error."""
    steps = []
    for raw in raws:
        try:
            entry = parse_entry(raw.sequence, raw.text)
            _check(entry)
            steps.append(Step(raw, entry))
        except UnknownEntry as unknown:
            return steps, unknown
        except (ValueError, KeyError, TypeError, AttributeError) as fault:
            detail = f"{type(fault).__name__}: {fault}"
            steps.append(Step(raw, None).quarantined(UNREADABLE, detail))
    return steps, None


def _check(entry: Entry) -> None:
    """Look at what `parse_entry` passes on unread. Raises `ValueError` and its like."""
    booking = entry.booking
    if entry.type in MARK_TYPES:
        names: tuple[Any, ...] = (entry.sale_id,)
        numbers: tuple[Any, ...] = (entry.at_ms,)
    elif booking is None:
        names = (entry.sale_id,)
        numbers = (entry.at_ms, entry.version)
        definition_of(entry.definition or {}, {})
    else:
        names = (entry.sale_id, booking.booking_id, booking.customer_id)
        numbers = (
            entry.at_ms,
            booking.version,
            booking.amount,
            booking.hold_expires_ms,
            booking.created_ms,
            booking.updated_ms,
        )
        if payment := booking.payment:
            names += (payment.gateway, payment.method, payment.key, payment.fingerprint)
            told = (
                payment.return_url,
                payment.authorization_id,
                payment.capture_id,
                payment.decline_code,
            )
            names += tuple(name for name in told if name is not None)
            numbers += (payment.attempt, payment.begun_ms)
            if type(payment.next_action) not in (dict, NoneType):
                raise TypeError(f"{payment.next_action!r} is not an action")
    for name in names:
        if type(name) is not str:
            raise TypeError(f"{name!r} is not a text")
    for number in numbers:
        # A fraction would be cut off without a word on its way into PostgreSQL.
        if type(number) is not int:
            raise TypeError(f"{number!r} is not an integer")
    if entry.type in MARK_TYPES and not entry.deltas:
        return
    for delta, level in zip(entry.deltas, entry.levels, strict=True):
        if delta.item_id != level.item_id:
            raise ValueError(f"delta of {delta.item_id} beside levels of {level.item_id}")


def chain_of(chain: bytes, text: bytes) -> bytes:
    """The next link: SHA-256 over the chain so far and the bytes of the entry."""
    return hashlib.sha256(chain + text).digest()


def advance(position: Position, raws: Sequence[RawEntry]) -> tuple[Position, list[bytes]]:
    """Where a partition stands after some entries, and the chain at each of them."""
    chain, size = position.chain, position.bytes
    links = []
    for raw in raws:
        chain = chain_of(chain, raw.text)
        size += len(raw.text)
        links.append(chain)
    if raws:
        position = Position(position.generation, raws[-1].sequence, chain, raws[-1].text, size)
    return position, links


def bookings_to_look_up(steps: Iterable[Step]) -> list[str]:
    """Bookings whose version in PostgreSQL `plan` must know: all but those held in this batch."""
    held: set[str] = set()
    wanted: dict[str, None] = {}
    for step in steps:
        booking = step.entry.booking if step.entry else None
        if booking and booking.version == 1:
            held.add(booking.booking_id)
        elif booking and booking.booking_id not in held:
            wanted[booking.booking_id] = None
    return list(wanted)


def contacts_to_read(steps: Iterable[Step]) -> list[str]:
    """Bookings that were held with a contact, which lies beside them and not in the journal."""
    return [
        step.entry.booking.booking_id
        for step in steps
        if step.entry and step.entry.contact and step.entry.booking
    ]


def fault_of(position: Position, found: JournalSlice, limit: int) -> str | None:
    """Why a slice read from the cursor (inclusive) does not follow from it; None where it does.

    Args:
        limit: how many entries were asked for; fewer have to reach the journal's last.
    """
    raws = found.entries
    if position.sequence > 0:
        if not raws or raws[0].sequence != position.sequence:
            return JOURNAL_GAP
        if position.entry is not None and raws[0].text != position.entry:
            return JOURNAL_MISMATCH
        raws = raws[1:]
    expected = position.sequence
    for raw in raws:
        expected += 1
        if raw.sequence != expected:
            return JOURNAL_GAP
    if len(found.entries) < limit and not found.cut and expected != found.sequence:
        return JOURNAL_GAP
    return None


@dataclass(frozen=True, slots=True)
class Salvage:
    """What can be told of an entry that is not applied, each part only where it is sound."""

    type: str | None
    booking_id: str | None
    sale_id: str | None
    at_ms: int | None
    version: int | None
    """Of the booking or the sale."""
    deltas: str


def salvage(text: bytes) -> Salvage:
    """Tell what can be told of an entry, whatever it is."""
    try:
        fields = orjson.loads(text)
    except ValueError:
        fields = None
    if not isinstance(fields, dict):
        fields = {}
    at_ms, version, deltas = (fields.get(name) for name in ("at_ms", "version", "deltas"))
    try:
        unpack_levels(deltas or "")
    except (ValueError, AttributeError, TypeError):
        deltas = None
    return Salvage(
        type=_id(fields.get("type")),
        booking_id=_id(fields.get("booking_id")),
        sale_id=_id(fields.get("sale_id")),
        at_ms=at_ms if type(at_ms) is int and 0 <= at_ms <= MAX_EPOCH_MS else None,
        version=version if type(version) is int and 0 < version <= MAX_INTEGER else None,
        deltas=deltas if deltas and "\0" not in deltas else "",
    )


def _id(value: Any) -> str | None:
    return value if isinstance(value, str) and re.fullmatch(ID_PATTERN, value) else None
