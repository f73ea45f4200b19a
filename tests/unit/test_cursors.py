"""Cursors of pages: what was handed out is read again, nothing else is."""

from __future__ import annotations

import base64
import zlib
from string import ascii_letters, digits

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.limits import MAX_CURSOR_CHARS, MAX_EPOCH_MS, MAX_INTEGER
from persistence.cursors import (
    InvalidCursor,
    booking_cursor,
    read_booking_cursor,
    read_stock_cursor,
    stock_cursor,
)
from tests.helpers.ledger import booking_id

BOOKING = booking_id(7)
# What a cursor is made of, and some that it is not; to know all of Unicode takes seconds.
CHARACTERS = f"{ascii_letters}{digits}-_=+/ %:.\x00\n\x7fé漢😀"


def forged(text: str) -> str:
    body = text.encode()
    raw = zlib.crc32(body).to_bytes(4, "big") + body
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


@given(st.integers(0, MAX_EPOCH_MS))
def test_a_booking_cursor_is_read_as_it_was_made(created_ms: int) -> None:
    cursor = booking_cursor(created_ms, BOOKING)
    assert len(cursor) < MAX_CURSOR_CHARS
    assert read_booking_cursor(cursor) == (created_ms, BOOKING)


@given(st.integers(0, MAX_INTEGER))
def test_a_stock_cursor_is_read_as_it_was_made(sequence: int) -> None:
    assert read_stock_cursor(stock_cursor(sequence)) == sequence


@given(st.text(CHARACTERS, max_size=60))
def test_whatever_is_sent_is_read_or_refused_and_nothing_else(cursor: str) -> None:
    for read in (read_booking_cursor, read_stock_cursor):
        with pytest.raises(InvalidCursor):
            read(cursor)


@pytest.mark.parametrize("at", range(0, 40, 3))
def test_a_mistyped_cursor_is_refused(at: int) -> None:
    cursor = booking_cursor(1, BOOKING)
    other = "A" if cursor[at] != "A" else "B"
    with pytest.raises(InvalidCursor):
        read_booking_cursor(cursor[:at] + other + cursor[at + 1 :])


@pytest.mark.parametrize(
    "text",
    [
        "s:-1",
        "s:1.0",
        "s:01",
        "s: 1",
        f"s:{MAX_INTEGER + 1}",
        "s:1:2",
        "s:",
        "t:1",
        "b:1:x",
        f"b:-1:{BOOKING}",
    ],
)
def test_a_forged_place_that_no_page_ends_at_is_refused(text: str) -> None:
    for read in (read_booking_cursor, read_stock_cursor):
        with pytest.raises(InvalidCursor):
            read(forged(text))


def test_a_cursor_that_is_too_long_is_refused_unread() -> None:
    with pytest.raises(InvalidCursor, match="too long"):
        read_stock_cursor("A" * (MAX_CURSOR_CHARS + 1))
