"""A booking that has left Redis, and of which PostgreSQL did not take the last entry."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import asyncpg
import pytest
from redis.asyncio import Redis

from engine.errors import Unavailable
from engine.outcomes import Outcome
from engine.types import Booking, CancelReason
from persistence import rows
from persistence.quarantine import Quarantine
from tests.helpers.stage import Stage

AT = 3
"""Where the entry lies that is not taken."""


@pytest.fixture
async def left(on: Stage, monkeypatch: pytest.MonkeyPatch) -> Booking:
    """A hold that was cancelled, which PostgreSQL refuses, long enough ago to have left Redis."""
    held = await on.hold("ann")
    await on.drain_all()
    cancelled = await on.engine.bookings.cancel(held.booking_id, CancelReason.CUSTOMER)
    assert cancelled.booking
    take = rows._set

    async def refuse_changes(taken: Any, sql: str, changed: Sequence[Any]) -> Any:
        if sql.startswith("UPDATE bookings") and changed:
            raise asyncpg.DataError("poison")
        return await take(taken, sql, changed)

    with monkeypatch.context() as patched:
        patched.setattr(rows, "_set", refuse_changes)
        await on.drain_all()
    assert await on.reads.quarantined() == {on.partition(): 1}
    await leave(on, held.booking_id)
    return cancelled.booking


async def leave(on: Stage, booking_id: str) -> None:
    """Let finished bookings leave Redis, and one's tombstone end."""
    cursors = await on.reads.cursors()
    cursor = cursors[on.partition()].sequence
    assert await on.engine.bookings.evict(on.partition(), cursor, 0, 10) == 1
    async with Redis.from_url(on.settings.redis_url) as redis:
        key = on.engine.keys.key("tombstone", on.partition(), booking_id)
        assert await redis.delete(key) == 1


async def test_while_it_waits_its_booking_is_unavailable_and_its_partition_stays_open(
    on: Stage, left: Booking
) -> None:
    with pytest.raises(Unavailable, match="quarantine"):
        await on.engine.bookings.get(left.booking_id)
    with pytest.raises(Unavailable, match="quarantine"):
        await on.engine.bookings.cancel(left.booking_id, CancelReason.CUSTOMER)
    await on.hold("bob")


async def test_discarded_it_is_what_its_booking_is_told_by(on: Stage, left: Booking) -> None:
    await Quarantine(on.pool).discard(on.partition(), AT, "olga", "drill")
    assert (await on.engine.bookings.get(left.booking_id)).booking == left
    again = await on.engine.bookings.cancel(left.booking_id, CancelReason.CUSTOMER)
    assert (again.outcome, again.booking) == (Outcome.UNCHANGED, left)
    await on.hold("bob")


async def test_discarded_and_beyond_reading_its_booking_is_unavailable(
    on: Stage, left: Booking
) -> None:
    await Quarantine(on.pool).discard(on.partition(), AT, "olga", "drill")
    await on.pool.execute('UPDATE quarantine SET entry = \'{"type": "cancelled", "v": 1}\'')
    with pytest.raises(Unavailable, match="discarded"):
        await on.engine.bookings.cancel(left.booking_id, CancelReason.CUSTOMER)
    await on.hold("bob")
