"""Bookings that have left Redis: read from the archive, brought back to be changed, never lost."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace

import pytest
import pytest_asyncio

from engine.engine import Engine
from engine.errors import Fenced, Unavailable
from engine.outcomes import Outcome
from engine.types import (
    ArchivedBooking,
    ArchivedSale,
    Booking,
    CancelReason,
    Contact,
    Levels,
    Status,
)
from tests.helpers.engines import SEAT, gig, opened, replayed


@dataclass(slots=True)
class Archive:
    """What PostgreSQL has, as far as a test wants it to."""

    rows: dict[str, ArchivedBooking] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    away: bool = False

    async def booking(self, booking_id: str) -> ArchivedBooking | None:
        self.asked.append(booking_id)
        if self.away:
            raise Unavailable("PostgreSQL is away")
        return self.rows.get(booking_id)

    async def sale(self, sale_id: str) -> ArchivedSale | None:
        raise AssertionError("no sale leaves Redis here")

    async def customers(self, sale_id: str) -> dict[str, int]:
        raise AssertionError("no sale leaves Redis here")


@pytest.fixture
def archive() -> Archive:
    return Archive()


@pytest_asyncio.fixture
async def engine(redis_url: str, archive: Archive) -> AsyncIterator[Engine]:
    async with opened(redis_url, archive=archive) as found:
        await found.sales.put(gig())
        yield found


@pytest_asyncio.fixture
async def sold(engine: Engine, archive: Archive) -> Booking:
    """A confirmed booking that the archive has, and Redis had."""
    contact = Contact(email="ann@example.org")
    held = (await engine.bookings.reserve("gig", "ann", SEAT, "key", contact=contact)).booking
    assert held
    booking = (await engine.bookings.confirm(held.booking_id, "ann", "pay")).booking
    assert booking
    partition = engine.keys.partition_of_sale("gig")
    contacts = await engine.journal.contacts(partition, [booking.booking_id])
    archive.rows[booking.booking_id] = ArchivedBooking(booking, contacts[booking.booking_id], 3)
    assert await engine.bookings.evict(partition, 3, 0, 10) == 1
    return booking


async def test_a_booking_that_left_is_read_from_the_archive(
    engine: Engine, archive: Archive, sold: Booking
) -> None:
    found = await engine.bookings.get(sold.booking_id, "ann")
    assert (found.outcome, found.booking) == (Outcome.FOUND, sold)
    assert (await engine.bookings.get(sold.booking_id, "bob")).outcome is Outcome.ABSENT
    assert (await engine.bookings.get(sold.booking_id)).booking == sold


async def test_a_booking_that_left_comes_back_to_be_cancelled(
    engine: Engine, archive: Archive, sold: Booking
) -> None:
    partition = engine.keys.partition_of_sale("gig")
    answer = await engine.bookings.cancel(sold.booking_id, CancelReason.CUSTOMER, "ann")
    assert answer.outcome is Outcome.CANCELLED
    assert answer.booking
    assert answer.booking.version == sold.version + 1
    state = await replayed(engine, partition)
    assert state.bookings[sold.booking_id] == answer.booking
    assert state.sales["gig"].levels["seat"] == Levels("seat", 10, 0, 0)
    contacts = await engine.journal.contacts(partition, [sold.booking_id])
    assert engine.vault.decrypt(contacts[sold.booking_id]) == Contact(email="ann@example.org")
    asked = len(archive.asked)
    assert (await engine.bookings.get(sold.booking_id)).booking == answer.booking
    assert len(archive.asked) == asked


async def test_a_booking_that_left_comes_back_to_be_completed(
    engine: Engine, sold: Booking
) -> None:
    answer = await engine.bookings.complete(sold.booking_id)
    assert answer.booking == sold._replace(
        status=Status.COMPLETED,
        version=sold.version + 1,
        updated_ms=answer.booking.updated_ms if answer.booking else 0,
    )


async def test_a_cancelled_booking_that_left_comes_back_with_its_reason(
    engine: Engine, archive: Archive
) -> None:
    held = (await engine.bookings.reserve("gig", "ann", SEAT, "key")).booking
    assert held
    ended = (await engine.bookings.cancel(held.booking_id, CancelReason.OPERATOR)).booking
    assert ended
    archive.rows[ended.booking_id] = ArchivedBooking(ended, None, 3)
    assert await engine.bookings.evict(engine.keys.partition_of_sale("gig"), 3, 0, 10) == 1
    again = await engine.bookings.cancel(ended.booking_id, CancelReason.CUSTOMER)
    assert (again.outcome, again.booking) == (Outcome.UNCHANGED, ended)


async def test_another_customer_changes_nothing_that_left(engine: Engine, sold: Booking) -> None:
    answer = await engine.bookings.cancel(sold.booking_id, CancelReason.CUSTOMER, "bob")
    assert (answer.outcome, answer.booking) == (Outcome.ABSENT, None)


async def test_a_live_booking_of_another_customer_is_absent_and_not_looked_for(
    engine: Engine, archive: Archive
) -> None:
    held = (await engine.bookings.reserve("gig", "ann", SEAT, "key")).booking
    assert held
    archive.rows[held.booking_id] = ArchivedBooking(held, None, 2)
    archive.away = True
    name = held.booking_id
    assert (await engine.bookings.get(name, "bob")).outcome is Outcome.ABSENT
    assert (await engine.bookings.extend(name, "bob")).outcome is Outcome.ABSENT
    assert (await engine.bookings.confirm(name, "bob", "pay")).outcome is Outcome.ABSENT
    cancel = await engine.bookings.cancel(name, CancelReason.CUSTOMER, "bob")
    assert cancel.outcome is Outcome.ABSENT
    assert archive.asked == []


async def test_a_booking_that_nobody_knows_is_absent(engine: Engine, archive: Archive) -> None:
    name = "000" + "0" * 26
    assert (await engine.bookings.get(name)).outcome is Outcome.ABSENT
    assert (await engine.bookings.extend(name)).outcome is Outcome.ABSENT
    assert archive.asked == [name, name]


async def test_an_archive_that_is_away_is_never_absence(
    engine: Engine, archive: Archive, sold: Booking
) -> None:
    archive.away = True
    for call in (
        engine.bookings.get(sold.booking_id),
        engine.bookings.cancel(sold.booking_id, CancelReason.CUSTOMER),
        engine.bookings.complete(sold.booking_id),
    ):
        with pytest.raises(Unavailable, match="away"):
            await call


@pytest.mark.parametrize("known", [True, False])
async def test_an_archive_behind_the_tombstone_is_never_believed(
    known: bool, engine: Engine, archive: Archive, sold: Booking
) -> None:
    row = archive.rows.pop(sold.booking_id)
    if known:
        older = sold._replace(version=sold.version - 1, status=Status.CANCELLED)
        archive.rows[sold.booking_id] = replace(row, booking=older)
    for call in (
        engine.bookings.get(sold.booking_id),
        engine.bookings.cancel(sold.booking_id, CancelReason.CUSTOMER),
    ):
        with pytest.raises(Unavailable):
            await call


async def test_a_hold_that_only_the_archive_has_is_never_brought_back(
    engine: Engine, archive: Archive, sold: Booking
) -> None:
    other = "Y" if sold.booking_id.endswith("Z") else "Z"
    lost = sold._replace(booking_id=sold.booking_id[:-1] + other, status=Status.PENDING)
    archive.rows[lost.booking_id] = ArchivedBooking(lost, None, 3)
    # Redis has lost it: who sold on would sell its units again.
    with pytest.raises(Fenced, match="keys_missing"):
        await engine.bookings.extend(lost.booking_id)


async def test_an_engine_without_an_archive_does_not_deny_what_left(redis_url: str) -> None:
    async with opened(redis_url) as engine:
        await engine.sales.put(gig())
        held = (await engine.bookings.reserve("gig", "ann", SEAT, "key")).booking
        assert held
        await engine.bookings.cancel(held.booking_id, CancelReason.CUSTOMER)
        await engine.bookings.evict(engine.keys.partition_of_sale("gig"), 99, 0, 10)
        with pytest.raises(Unavailable):
            await engine.bookings.get(held.booking_id)
        with pytest.raises(Unavailable):
            await engine.bookings.cancel(held.booking_id, CancelReason.CUSTOMER)
