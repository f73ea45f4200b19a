"""What the scripts rely on: ids without separators, whole quantities, a harmless trace.

The API has refused worse long before; these guard whoever embeds the engine, since a colon in an
id would break the packed lines of a journal that nobody can mend afterwards.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from engine.limits import (
    CURRENCY_PATTERN,
    ID_PATTERN,
    MAX_CAPACITY,
    MAX_EPOCH_MS,
    MAX_HOLD_SECONDS,
    MAX_INTEGER,
    MAX_ITEMS_PER_SALE,
    MAX_LINES,
    MAX_NAME_CHARS,
    MAX_QUANTITY,
    MAX_TRACE_CHARS,
    MAX_UNIT_PRICE,
    MIN_HOLD_SECONDS,
)
from engine.types import LineRequest, SaleDefinition

_ID: Final = re.compile(ID_PATTERN.removesuffix("$") + r"\Z")
_CURRENCY: Final = re.compile(CURRENCY_PATTERN.removesuffix("$") + r"\Z")
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


def require_definition(definition: SaleDefinition) -> None:
    """Raise ValueError for a sale whose ids, items, prices, counts or times are out of bounds."""
    items = definition.items
    require_ids(definition.sale_id, *(item.item_id for item in items))
    if not 1 <= len(items) <= MAX_ITEMS_PER_SALE:
        raise ValueError(f"1 to {MAX_ITEMS_PER_SALE} items, not {len(items)}")
    if len({item.item_id for item in items}) < len(items):
        raise ValueError("the same item twice")
    if not _CURRENCY.match(definition.currency):
        raise ValueError(f"not a currency: {definition.currency!r}")
    for name in (definition.name, *(item.name for item in items)):
        if len(name) > MAX_NAME_CHARS:
            raise ValueError(f"a name of more than {MAX_NAME_CHARS} characters")
    hold_ms = (MIN_HOLD_SECONDS * 1000, MAX_HOLD_SECONDS * 1000)
    _require_integer("hold_ms", definition.hold_ms, *hold_ms)
    _require_integer("opens_ms", definition.opens_ms, 0, MAX_EPOCH_MS)
    _require_integer("closes_ms", definition.closes_ms, 0, MAX_EPOCH_MS)
    cap = definition.max_units_per_customer
    _require_integer("max_units_per_customer", cap, 0, MAX_INTEGER)
    for item in items:
        _require_integer("capacity", item.capacity, 0, MAX_CAPACITY)
        _require_integer("unit_price", item.unit_price, 0, MAX_UNIT_PRICE)
        _require_integer("max_per_booking", item.max_per_booking, 0, MAX_INTEGER)


def _require_integer(name: str, value: int, low: int, high: int) -> None:
    if type(value) is not int or not low <= value <= high:
        raise ValueError(f"{name} must be {low} to {high}, not {value!r}")


def require_trace(trace: str) -> None:
    """Raise ValueError for a trace that is neither empty nor a traceparent's characters."""
    if not _TRACE.match(trace):
        raise ValueError(f"not a traceparent: {trace!r}")
