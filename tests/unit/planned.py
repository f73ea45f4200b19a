"""What `plan` makes of entries, without a server."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from engine.journal import RawEntry
from persistence.projections import Batch, plan
from persistence.steps import Position, advance, understand
from tests.helpers.ledger import booking_entry


def raw(texts: Sequence[bytes], after: int = 0) -> list[RawEntry]:
    return [RawEntry(sequence, text) for sequence, text in enumerate(texts, after + 1)]


def planned(
    *texts: bytes,
    versions: dict[str, int] | None = None,
    events: dict[str, int] | None = None,
    after: int = 0,
) -> Batch:
    """Plan entries that follow sequence `after`."""
    raws = raw(texts, after)
    steps, unknown = understand(raws)
    assert unknown is None
    _, links = advance(Position(1, after, bytes(32), None), raws)
    return plan(3, 1, steps, links, versions or {}, events or {})


def held(number: int = 1, **fields: Any) -> bytes:
    return booking_entry(
        "held", number, 1, **({"deltas": "seat:-2:2:0", "levels": "seat:98:2:0"} | fields)
    )


def cancelled(number: int = 1, version: int = 2) -> bytes:
    return booking_entry("cancelled", number, version, deltas="seat:2:-2:0", levels="seat:100:0:0")
