"""Recognises payment card numbers, so that none is ever stored, journalled or logged.

A number counts as a card's when it has a known issuer's prefix and length (ISO/IEC 7812; the
ranges below are those that the networks publish) and passes Luhn's check. A run of digits may be
grouped by single spaces, dots or hyphens. Fields whose type says what they hold (ids, times,
telephone numbers in international form, currencies) are exempt while they match that type, and
UUIDs inside other text are: one in 150 of them would be refused by accident.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Any, Final

from engine.limits import CURRENCY_PATTERN, ID_PATTERN

_UUID: Final = re.compile(r"(?i)\b[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\b")
_RUN_OF_BYTES: Final = re.compile(rb"\d(?:[ .-]?\d){12,}")
_RUN: Final = re.compile(r"(?<!\d)\d(?:[ .\-\u2010-\u2015\u00a0]?\d){12,}(?!\d)", re.ASCII)

# First digits (as a range of equally long prefixes) → the lengths that such numbers have.
_ISSUERS: Final = (
    ("4", "4", {13, 16, 18, 19}),  # Visa
    ("51", "55", {16}),  # Mastercard
    ("2221", "2720", {16}),
    ("34", "34", {15}),  # American Express
    ("37", "37", {15}),
    ("300", "305", range(14, 20)),  # Diners Club
    ("3095", "3095", range(14, 20)),
    ("36", "36", range(14, 20)),
    ("38", "39", range(14, 20)),
    ("3528", "3589", range(16, 20)),  # JCB
    ("6011", "6011", range(16, 20)),  # Discover
    ("644", "659", range(16, 20)),
    ("62", "62", range(16, 20)),  # UnionPay
    ("81", "81", range(16, 20)),
    ("50", "50", range(13, 20)),  # Maestro
    ("56", "58", range(13, 20)),
    ("60", "61", range(13, 20)),
    ("63", "69", range(13, 20)),
    ("2200", "2204", range(16, 20)),  # Mir
)

PHONE_PATTERN: Final = r"^\+?[0-9(][0-9 ().-]{4,18}[0-9]$"
"""A telephone number as people write it, with `+` and country code or national."""

_EXEMPT: Final = {
    **dict.fromkeys(
        ("sale_id", "customer_id", "item_id", "id"), re.compile(ID_PATTERN[:-1] + r"\Z")
    ),
    **dict.fromkeys(
        ("opens_at", "closes_at"),
        re.compile(r"^\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d[0-9.:+Zz-]{1,20}\Z"),
    ),
    # Only in international form: fifteen digits without the `+` may as well be a card's.
    "phone": re.compile(r"^\+(?:[ ().-]?[0-9]){6,15}\Z"),
    "currency": re.compile(CURRENCY_PATTERN[:-1] + r"\Z"),
    # Either one that we made, or refused without being repeated.
    "cursor": re.compile(""),
}
_COUNTS: Final = frozenset({"capacity", "unit_price"})
"""Numbers that may be as large as a card's; every other is bounded far below."""
_SHORTEST: Final = 10**12


def is_card_number(digits: str) -> bool:
    """Whether a string of ASCII digits has an issuer's prefix and length and passes Luhn."""
    length = len(digits)
    if not any(
        length in lengths and low <= digits[: len(low)] <= high for low, high, lengths in _ISSUERS
    ):
        return False
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = ord(digit) - 48
        if place % 2:
            value = value * 2 - 9 if value > 4 else value * 2
        total += value
    return total % 10 == 0


def holds_card_number(text: str) -> bool:
    """Whether a free text has a card number in it.

    Groups of digits next to each other are taken together in every way that makes 13 to 19
    digits: who types an order number, a space and a card number has still typed a card number.
    A longer unbroken run is none.
    """
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
    if not _RUN.search(text):
        return False
    for run in _RUN.finditer(_UUID.sub("\n", text)):
        groups = re.findall(r"\d+", run[0], re.ASCII)
        for first in range(len(groups)):
            digits = ""
            for group in groups[first:]:
                digits += group
                if len(digits) > 19:
                    break
                if len(digits) >= 13 and is_card_number(digits):
                    return True
    return False


def without_card_numbers(text: str) -> str:
    """The text with every run of digits that holds a card number taken out."""
    return _RUN.sub(lambda run: "[card number]" if holds_card_number(run[0]) else run[0], text)


def may_hold_card_number(text: bytes) -> bool:
    """Whether a JSON text need be searched: most hold no run of digits that is long enough.

    An escape may spell a digit, and other alphabets have digits too.
    """
    return b"\\" in text or not text.isascii() or _RUN_OF_BYTES.search(text) is not None


def paths_of_card_numbers(value: Any) -> list[str]:
    """Where in a parsed JSON value a card number is: dotted paths, at most one a string or number.

    The names of objects are looked at too: a name that is a card number is reported as `?`.
    """
    found: list[str] = []
    _search(value, "", "", found)
    return found


def _search(value: Any, name: str, path: str, found: list[str]) -> None:
    if isinstance(value, str):
        if len(value) >= 13:
            exempt = _EXEMPT.get(name)
            if not (exempt and exempt.match(value)) and holds_card_number(value):
                found.append(path)
    elif isinstance(value, (int, float)):
        # As it is written, but for a fraction.
        digits = str(value) if isinstance(value, int) else f"{value:.0f}"
        if value >= _SHORTEST and name not in _COUNTS and holds_card_number(digits):
            found.append(path)
    elif isinstance(value, dict):
        for key, inner in value.items():
            shown = key
            if len(key) >= 13 and holds_card_number(key):
                shown = "?"
                found.append(f"{path}.?" if path else "?")
            _search(inner, key, f"{path}.{shown}" if path else shown, found)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            _search(inner, name, f"{path}.{index}" if path else str(index), found)
