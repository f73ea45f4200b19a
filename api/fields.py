"""The types of fields: what a text or a number may be, with its bounds, for bodies and queries."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    StringConstraints,
    WithJsonSchema,
)
from pydantic_core import PydanticCustomError

from api.card_numbers import PHONE_PATTERN
from api.times import epoch_ms
from engine import limits
from engine.payments.currencies import EXPONENTS, exponent

_RFC3339: Final = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt](\d\d:\d\d:\d\d)(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII
)


def _milliseconds(text: str) -> str:
    """Accept an RFC 3339 time that is a real one and lies between 1970 and 9999."""
    found = _RFC3339.fullmatch(text)
    try:
        ms = epoch_ms(text) if found else -1
    except (ValueError, OverflowError):
        ms = -1
    if not 0 < ms <= limits.MAX_EPOCH_MS:
        raise PydanticCustomError(
            "rfc3339", "Input should be a time like 2026-11-22T10:00:00.000Z, after 1970"
        )
    return text


def _day_or_milliseconds(text: str) -> str:
    """Accept a UTC day as well as a time."""
    if re.fullmatch(r"\d{4}-\d\d-\d\d", text, re.ASCII):
        _milliseconds(f"{text}T23:59:59Z")
        return text
    return _milliseconds(text)


def _whole_number(text: Any) -> Any:
    """Read a query's decimal number; signs, spaces and underscores are not digits."""
    if isinstance(text, str):
        if not re.fullmatch(r"[0-9]{1,9}", text):
            raise PydanticCustomError("decimal", "Input should be a whole number")
        return int(text)
    return text


def _currency(code: str) -> str:
    """Accept a currency in which something can be priced, and so be paid."""
    if exponent(code) is None:
        raise PydanticCustomError(
            "currency", "Input should be an ISO 4217 code that has a minor unit, like USD"
        )
    return code


Id = Annotated[str, StringConstraints(pattern=limits.ID_PATTERN)]
Time = Annotated[
    str,
    StringConstraints(max_length=40),
    AfterValidator(_milliseconds),
    WithJsonSchema({"type": "string", "format": "date-time", "maxLength": 40}),
]
DayOrTime = Annotated[
    str,
    StringConstraints(max_length=40),
    AfterValidator(_day_or_milliseconds),
    WithJsonSchema(
        {
            "type": "string",
            "maxLength": 40,
            "anyOf": [{"format": "date"}, {"format": "date-time"}],
        }
    ),
]
# No control character, and not of blanks alone: PostgreSQL cannot keep NUL, people not read it.
Name = Annotated[
    str,
    StringConstraints(
        min_length=1,
        max_length=limits.MAX_NAME_CHARS,
        pattern=r"^[^\x00-\x1f\x7f]*[^\s\x00-\x1f\x7f][^\x00-\x1f\x7f]*$",
    ),
]
Email = Annotated[
    str,
    StringConstraints(
        max_length=limits.MAX_EMAIL_CHARS,
        pattern=r"^[^@\s\x00-\x1f\x7f\"<>(),;:\\\[\]]{1,64}@[^@\s\x00-\x1f\x7f\"<>(),;:\\\[\]]+$",
    ),
]
Phone = Annotated[str, StringConstraints(max_length=limits.MAX_PHONE_CHARS, pattern=PHONE_PATTERN)]
Currency = Annotated[
    str,
    AfterValidator(_currency),
    Field(
        description="An ISO 4217 code that has a minor unit.",
        json_schema_extra={"enum": [*sorted(EXPONENTS)]},
    ),
]
Cursor = Annotated[
    str,
    StringConstraints(
        min_length=1, max_length=limits.MAX_CURSOR_CHARS, pattern=r"^[A-Za-z0-9_=.:-]+$"
    ),
]
PageRows = Annotated[int, Field(ge=1, le=limits.MAX_PAGE_ROWS), BeforeValidator(_whole_number)]
PaymentId = Annotated[
    str, StringConstraints(pattern=rf"^[A-Za-z0-9_-]{{1,{limits.MAX_PAYMENT_ID_CHARS}}}$")
]
BookingId = Annotated[str, StringConstraints(pattern=limits.BOOKING_ID_PATTERN)]
PaymentMethod = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,255}$")]
