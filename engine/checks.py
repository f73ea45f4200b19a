"""What the scripts rely on: ids without separators, whole quantities, a harmless trace.

The API has refused worse long before; these guard whoever embeds the engine, since a colon in an
id would break the packed lines of a journal that nobody can mend afterwards.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from engine.limits import ID_PATTERN, MAX_LINES, MAX_QUANTITY, MAX_TRACE_CHARS
from engine.types import LineRequest

_ID: Final = re.compile(ID_PATTERN.removesuffix("$") + r"\Z")
_TRACE: Final = re.compile(rf"[0-9a-f-]{{0,{MAX_TRACE_CHARS}}}\Z")


def require_ids(*names: str) -> None:
    """Raise ValueError for an id that is not `[A-Za-z0-9_-]{1,64}`."""
    for name in names:
        if not _ID.match(name):
            raise ValueError(f"not an id: {name!r}")


def require_quantities(lines: Sequence[LineRequest]) -> None:
    """Raise ValueError for no lines, too many, or a quantity out of bounds."""
    if not 1 <= len(lines) <= MAX_LINES:
        raise ValueError(f"1 to {MAX_LINES} lines, not {len(lines)}")
    for line in lines:
        if type(line.quantity) is not int or not 1 <= line.quantity <= MAX_QUANTITY:
            raise ValueError(f"1 to {MAX_QUANTITY} units, not {line.quantity!r}")


def require_trace(trace: str) -> None:
    """Raise ValueError for a trace that is neither empty nor a traceparent's characters."""
    if not _TRACE.match(trace):
        raise ValueError(f"not a traceparent: {trace!r}")
