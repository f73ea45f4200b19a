"""Opaque cursors of pages: where the next one begins. Checked, because they come from outside.

Not a secret and not signed: whoever makes one up that passes names a place in a list that is theirs
to read anyway. The check is for those that were cut, mistyped, or belong to another list.
"""

from __future__ import annotations

import base64
import binascii
import re
import zlib
from typing import Final

from engine.limits import BOOKING_ID_PATTERN, MAX_CURSOR_CHARS, MAX_EPOCH_MS, MAX_INTEGER

_CHECK_BYTES: Final = 4


class InvalidCursor(ValueError):
    """The cursor is not one that a page of this list ended with."""


def booking_cursor(created_ms: int, booking_id: str) -> str:
    """The cursor after a booking in a history."""
    return _encode(f"b:{created_ms}:{booking_id}")


def read_booking_cursor(cursor: str) -> tuple[int, str]:
    """`created_ms` and id of the booking that a history goes on after. Raises `InvalidCursor`."""
    kind, created_ms, booking_id = _decode(cursor, 3)
    if kind != "b" or not re.fullmatch(BOOKING_ID_PATTERN, booking_id):
        raise InvalidCursor("not a cursor of this list")
    return _number(created_ms, MAX_EPOCH_MS), booking_id


def stock_cursor(sequence: int) -> str:
    """The cursor after a change in an item's stock history."""
    return _encode(f"s:{sequence}")


def read_stock_cursor(cursor: str) -> int:
    """The sequence that a stock history goes on below. Raises `InvalidCursor`."""
    kind, sequence = _decode(cursor, 2)
    if kind != "s":
        raise InvalidCursor("not a cursor of this list")
    return _number(sequence, MAX_INTEGER)


def delivery_cursor(delivery_id: int) -> str:
    """The cursor after a delivery in a log."""
    return _encode(f"d:{delivery_id}")


def read_delivery_cursor(cursor: str) -> int:
    """The id that a log of deliveries goes on below. Raises `InvalidCursor`."""
    kind, delivery_id = _decode(cursor, 2)
    if kind != "d":
        raise InvalidCursor("not a cursor of this list")
    return _number(delivery_id, MAX_INTEGER)


def _encode(text: str) -> str:
    body = text.encode()
    check = zlib.crc32(body).to_bytes(_CHECK_BYTES, "big")
    return base64.urlsafe_b64encode(check + body).rstrip(b"=").decode()


def _decode(cursor: str, parts: int) -> list[str]:
    if len(cursor) > MAX_CURSOR_CHARS:
        raise InvalidCursor("too long")
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        raw = base64.b64decode(padded, altchars=b"-_", validate=True)
        text = raw[_CHECK_BYTES:].decode("ascii")
    except (binascii.Error, UnicodeError) as error:
        raise InvalidCursor("not a cursor") from error
    found = text.split(":")
    # Compared as it is spelled: several spellings of one place are several mistakes.
    if _encode(text) != cursor or len(found) != parts:
        raise InvalidCursor("not a cursor of this list")
    return found


def _number(text: str, at_most: int) -> int:
    if not re.fullmatch(r"0|[1-9][0-9]{0,15}", text) or int(text) > at_most:
        raise InvalidCursor("not a cursor of this list")
    return int(text)
