"""What operators look at: the journal's way to PostgreSQL, payments that do not move."""

from __future__ import annotations

import asyncio
import base64
import binascii
import re
import zlib
from typing import Final, cast

from api.call import Call, Reply, json_reply
from api.operations import ADMINS, Answered, Operation
from api.paging import bad_cursor
from api.schemas import PageQuery
from api.shapes import BacklogRead, StuckPage, StuckPayment
from engine.backlog import measure, summary
from engine.engine import Engine
from engine.errors import Fenced
from engine.limits import BOOKING_ID_PATTERN, MAX_PAGE_ROWS, MAX_PARTITIONS
from engine.payments.limits import MAX_STUCK_LOOKS
from engine.payments.open import OpenPayment
from engine.payments.types import Step
from engine.shown import show_booking

TAG: Final = "operations"
_CHECK_BYTES: Final = 4
_PLACE: Final = re.compile(rf"([0-9]{{1,4}})\.([0-9]{{1,20}})\.({BOOKING_ID_PATTERN[1:-1]})?")

Place = tuple[int, int, str]
"""A partition, a position in it, and the last booking shown of those that are there."""


async def get_backlog(call: Call) -> Reply:
    """How far PostgreSQL is behind Redis. Takes a second: its rate is told by two looks."""
    partitions = await measure(call.parts.engine, call.parts.reads)
    # The shape names the fields of `PartitionBacklog`; a test holds answers against the document.
    return json_reply(200, cast("BacklogRead", summary(partitions)))


async def list_stuck_payments(call: Call) -> Reply:
    """Payments whose step is open for too long, partition by partition."""
    query: PageQuery = call.query
    engine = call.parts.engine
    place = _place_of(query.cursor)
    found, next_place = await _find(
        engine, place, query.limit, call.parts.payments.payment_stuck_ms
    )
    shown = await asyncio.gather(*(_show(engine, payment) for payment in found))
    page: StuckPage = {
        "payments": [payment for payment in shown if payment],
        "next_cursor": _cursor_of(next_place) if next_place else None,
    }
    return json_reply(200, page)


async def _find(
    engine: Engine, place: Place, limit: int, stuck_ms: int
) -> tuple[list[OpenPayment], Place | None]:
    """Look through some of the open payments; answers where to go on, None at the end."""
    partition, position, after = place
    found: list[OpenPayment] = []
    for _ in range(MAX_STUCK_LOOKS):
        if partition >= len(engine.partitions):
            return found, None
        try:
            page = await engine.payments.open(partition, position, MAX_PAGE_ROWS)
        except Fenced:
            # Its payments cannot move, and readiness says why. The others are worth a look.
            partition, position, after = partition + 1, 0, ""
            continue
        stuck = {one.booking_id: one for one in page.payments if one.is_stuck(stuck_ms)}
        left = [stuck[name] for name in sorted(stuck) if name > after]
        room = limit - len(found)
        found += left[:room]
        if len(left) > room:
            return found, (partition, position, found[-1].booking_id)
        position, after = page.next_position, ""
        if position == 0:
            partition += 1
        if len(found) == limit:
            break
    return found, (partition, position, after) if partition < len(engine.partitions) else None


async def _show(engine: Engine, payment: OpenPayment) -> StuckPayment | None:
    """None where it has come to its rest meanwhile."""
    booking = (await engine.bookings.get(payment.booking_id)).booking
    if booking is None or booking.payment is None or booking.payment.step is Step.NONE:
        return None
    return {
        "step": booking.payment.step,
        "open_s": round(payment.open_ms / 1000, 3),
        "booking": show_booking(booking),
    }


def _cursor_of(place: Place) -> str:
    partition, position, after = place
    text = f"{partition}.{position}.{after}".encode()
    check = zlib.crc32(b"stuck:" + text).to_bytes(_CHECK_BYTES, "big")
    return base64.urlsafe_b64encode(check + text).decode().rstrip("=")


def _place_of(cursor: str | None) -> Place:
    """What `_cursor_of` was given. Raises a 400."""
    if cursor is None:
        return 0, 0, ""
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), b"-_", validate=True)
        match = _PLACE.fullmatch(raw[_CHECK_BYTES:].decode("ascii"))
    except (binascii.Error, ValueError):
        raise bad_cursor() from None
    if match is None or int(match[1]) >= MAX_PARTITIONS:
        raise bad_cursor()
    place = int(match[1]), int(match[2]), match[3] or ""
    if _cursor_of(place) != cursor:
        raise bad_cursor()
    return place


OPERATIONS: Final = (
    Operation(
        name="getBacklog",
        method="GET",
        path="/v1/ops/backlog",
        tag=TAG,
        summary="How far PostgreSQL is behind Redis",
        about=(
            "What `holdfast backlog status --json` prints: per partition the entries that "
            "PostgreSQL lacks, their bytes and age, the rate of the drain and the time to empty. "
            "It takes a second, in which the rate is measured."
        ),
        handler=get_backlog,
        scopes=ADMINS,
        answers={200: Answered(about="Every partition.", shape=BacklogRead)},
    ),
    Operation(
        name="listStuckPayments",
        method="GET",
        path="/v1/ops/payments/stuck",
        tag=TAG,
        summary="Payments whose step is open for too long",
        about=(
            "From Redis alone, so also while PostgreSQL is away. A payment is stuck once its step "
            "is open for longer than `HOLDFAST_PAYMENT_STUCK_MS`, unless it waits for its buyer. A "
            "page may have fewer rows than its limit, or none, and not be the last: follow "
            "`next_cursor` to its end."
        ),
        handler=list_stuck_payments,
        scopes=ADMINS,
        query=PageQuery,
        answers={200: Answered(about="A page of payments.", shape=StuckPage)},
        codes=frozenset({"fenced"}),
    ),
)
