"""Makes wrong requests from an OpenAPI document: for each field, what its schema does not allow."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

Path = tuple[str | int, ...]

RIGHT_BODIES: dict[str, Any] = {
    "putSale": {
        "name": "Gig",
        "opens_at": "2026-01-01T00:00:00Z",
        "closes_at": "2999-01-01T00:00:00Z",
        "hold_seconds": 60,
        "max_units_per_customer": 5,
        "currency": "USD",
        "items": [
            {"id": "A", "name": "Seat", "capacity": 9, "unit_price": 1, "max_per_booking": 2}
        ],
    },
    "hold": {
        "sale_id": "gig",
        "lines": [{"item_id": "A", "quantity": 1}],
        "contact": {"email": "ann@mail.example", "phone": "+15551234567"},
        "customer_id": "ann",
    },
    "pay": {"customer_id": "ann", "payment_method": "pm_card_visa"},
    "extend": {"customer_id": "ann"},
    "cancel": {"customer_id": "ann"},
    "complete": {},
    "refund": {},
    "createWebhookEndpoint": {"url": "https://shop.example/events", "events": ["booking.*"]},
    "changeWebhookEndpoint": {
        "url": "https://shop.example/events",
        "events": ["booking.*"],
        "enabled": True,
        "rotate_secret": False,
    },
    "redeliverWebhook": {},
    "testWebhookEndpoint": {},
    "retryDelivery": {},
    "retryParkedDeliveries": {"destination": "email"},
    "searchBookings": {
        "booking_id": "00001M8G4KN3F1G7TGT5ZA7D4FKSM",
        "customer_id": "ann",
        "email": "ann@mail.example",
        "payment_id": "pi_1",
    },
}
"""A right body for each operation that takes one, with every field that it has."""

_OTHERS: dict[str, tuple[Any, ...]] = {
    "string": (7, True, 1.5, [], {}),
    "integer": ("7", True, 1.5, 7.0, [], {}, 10**400),
    "boolean": ("x", 7, [], {}),
    "array": ("x", 7, {}),
    "object": ("x", 7, []),
}
_TOO_MUCH = 10**6


def wrong_bodies(document: Any, schema: Any, right: Any) -> Iterator[tuple[str, Any]]:
    """Yield bodies that differ from a right one in one fault, with the fault's path.

    Args:
        right: a body with every field that the schema has, arrays of one element.
    """
    for at, field, is_required in _fields(document, schema, ()):
        path = ".".join(str(part) for part in at)
        for value in wrong_values(document, field):
            yield path, _with(right, at, value)
        if at and is_required and isinstance(at[-1], str):
            yield path, _without(right, at)
        kind = _resolve(document, field)
        if kind.get("type") == "object":
            assert kind["additionalProperties"] is False, path
            yield ".".join(filter(None, (path, "unheard_of"))), _with(right, (*at, "unheard_of"), 1)


def wrong_values(document: Any, schema: Any) -> Iterator[Any]:
    """Yield values that a schema does not allow."""
    kinds = [_resolve(document, kind) for kind in schema.get("anyOf", [schema])]
    types = {kind["type"] for kind in kinds}
    if "null" not in types:
        yield None
    (kind,) = (kind for kind in kinds if kind["type"] != "null")
    yield from (value for value in _OTHERS[kind["type"]] if value != {} or kind["type"] != "object")
    if "enum" in kind:
        yield "unheard of"
    if "pattern" in kind or "format" in kind:
        yield from ("", "\x00", "\n")
    if "maxLength" in kind and kind["maxLength"] < _TOO_MUCH:
        yield "a" * (kind["maxLength"] + 1)
    if "minimum" in kind:
        yield from (kind["minimum"] - 1, -(10**18))
    if "maximum" in kind:
        yield kind["maximum"] + 1
    if kind.get("minItems"):
        yield []


def _resolve(document: Any, schema: Any) -> Any:
    if "$ref" in schema:
        return document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return schema


def _fields(document: Any, schema: Any, at: Path) -> Iterator[tuple[Path, Any, bool]]:
    """Every place of a body: its path, its schema, whether it must be there."""
    yield at, schema, True
    kinds = [_resolve(document, kind) for kind in schema.get("anyOf", [schema])]
    for kind in kinds:
        if kind["type"] == "array":
            yield from _fields(document, kind["items"], (*at, 0))
        for name, inner in kind.get("properties", {}).items():
            for place, field, is_required in _fields(document, inner, (*at, name)):
                direct = len(place) == len(at) + 1
                needed = name in kind.get("required", ()) if direct else is_required
                yield place, field, needed


def _with(right: Any, at: Path, value: Any) -> Any:
    if not at:
        return value
    changed = copy.deepcopy(right)
    inner = changed
    for part in at[:-1]:
        inner = inner[part]
    inner[at[-1]] = value
    return changed


def _without(right: Any, at: Path) -> Any:
    changed = copy.deepcopy(right)
    inner = changed
    for part in at[:-1]:
        inner = inner[part]
    del inner[at[-1]]
    return changed
