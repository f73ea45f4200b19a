"""Finished bookings leave Redis, each with a tombstone, and come back; and their contact data."""

from __future__ import annotations

import pytest

from engine.limits import TOMBSTONE_TTL_MS
from engine.model import Cancel, Complete, ConfirmFree, Expire
from engine.outcomes import Outcome
from engine.types import Booking, CancelReason, Status
from tests.helpers.scripted import START_MS, ScriptedPartition
from tests.stories.story import CUSTOMER, HOLD_MS, OPERATOR, hold, levels_of, put, sale


def evict(
    partition: ScriptedPartition, *, cursor: int = 10_000, retention_ms: int = 0, limit: int = 100
) -> int:
    reply = partition.raw("evict", cursor, retention_ms, limit, TOMBSTONE_TTL_MS)
    assert reply[0] == b"done"
    return int(reply[2])


def load(partition: ScriptedPartition, booking: Booking, contact: bytes = b"") -> list[object]:
    """What the engine sends for a booking that PostgreSQL has."""
    fields: dict[str, str | int] = {
        "sale_id": booking.sale_id,
        "customer_id": booking.customer_id,
        "status": booking.status,
        "lines": "A:2:0",
        "amount": booking.amount,
        "currency": booking.currency,
        "hold_expires_ms": booking.hold_expires_ms,
        "created_ms": booking.created_ms,
        "updated_ms": booking.updated_ms,
        "extended": int(booking.extended),
    }
    if booking.cancel_reason:
        fields["cancel_reason"] = booking.cancel_reason
    flat = [part for pair in fields.items() for part in pair]
    return partition.raw("load", booking.booking_id, booking.version, contact, 9, *flat)


@pytest.fixture
def sold(partition: ScriptedPartition) -> Booking:
    """A confirmed booking `b1` of two units."""
    partition.perform(put(sale("A:3:0")))
    partition.perform(hold("b1", "A:2", contact=True))
    booking = partition.perform(ConfirmFree("b1", "ann", "k", "f")).booking
    assert booking
    return booking


def test_an_evicted_booking_leaves_its_version_and_its_units(
    partition: ScriptedPartition, sold: Booking
) -> None:
    assert evict(partition) == 1
    assert partition.raw("get_booking", "b1", "ann")[0::2] == [b"evicted", b"2"]
    assert partition.perform(Cancel("b1", CUSTOMER)).outcome is Outcome.EVICTED
    assert not partition.client.exists(
        partition.key("booking", "b1"), partition.key("contact", "b1")
    )
    ttl_ms = partition.client.pttl(partition.key("tombstone", "b1"))
    assert 0 < ttl_ms <= TOMBSTONE_TTL_MS
    assert partition.levels("gig") == levels_of("A:1:0:2")
    assert evict(partition) == 0


def test_a_hold_is_never_evicted(partition: ScriptedPartition) -> None:
    partition.perform(put(sale()))
    partition.perform(hold("b1", "A:1"))
    partition.move_clock(START_MS + 10 * HOLD_MS)
    assert evict(partition) == 0


def test_a_booking_that_postgresql_lacks_is_not_evicted(
    partition: ScriptedPartition, sold: Booking
) -> None:
    assert evict(partition, cursor=2) == 0
    assert evict(partition, cursor=3) == 1


def test_a_booking_is_kept_for_its_retention(partition: ScriptedPartition, sold: Booking) -> None:
    partition.move_clock(START_MS + 99)
    assert evict(partition, retention_ms=100) == 0
    partition.perform(Complete("b1"))
    partition.move_clock(START_MS + 198)
    assert evict(partition, retention_ms=100) == 0
    partition.move_clock(START_MS + 199)
    assert evict(partition, retention_ms=100) == 1


def test_eviction_comes_in_slices(partition: ScriptedPartition) -> None:
    partition.perform(put(sale()))
    for at in range(5):
        partition.perform(hold(f"b{at}", "A:1"))
        partition.perform(Cancel(f"b{at}", OPERATOR))
    assert [evict(partition, limit=2) for _ in range(4)] == [2, 2, 1, 0]


def test_a_booking_that_came_back_can_be_changed(
    partition: ScriptedPartition, sold: Booking
) -> None:
    evict(partition)
    assert load(partition, sold, b"ciphertext")[0] == b"done"
    assert partition.client.get(partition.key("contact", "b1")) == b"ciphertext"
    result = partition.perform(Cancel("b1", CUSTOMER, "ann"))
    assert result.outcome is Outcome.CANCELLED
    assert result.booking
    assert (result.booking.version, result.booking.status) == (3, Status.CANCELLED)
    assert partition.levels("gig") == levels_of("A:3:0:0")
    partition.check()
    assert evict(partition) == 1


def test_nothing_is_loaded_below_its_tombstone(partition: ScriptedPartition, sold: Booking) -> None:
    partition.perform(Complete("b1"))
    evict(partition)
    before = partition.dump()
    assert load(partition, sold)[0::2] == [b"stale", b"3"]
    assert partition.dump() == before


def test_nothing_is_loaded_over_a_booking_that_is_there(
    partition: ScriptedPartition, sold: Booking
) -> None:
    before = partition.dump()
    assert load(partition, sold)[0] == b"unchanged"
    assert partition.dump() == before


def test_a_cancelled_booking_comes_back_with_its_reason(partition: ScriptedPartition) -> None:
    partition.perform(put(sale("A:3:0")))
    partition.perform(hold("b1", "A:2"))
    ended = partition.perform(Cancel("b1", CancelReason.PAYMENT_FAILED)).booking
    assert ended
    evict(partition)
    load(partition, ended)
    again = partition.perform(Cancel("b1", CUSTOMER))
    assert (again.outcome, again.booking) == (Outcome.UNCHANGED, ended)


def test_a_replay_is_answered_after_its_booking_has_left(
    partition: ScriptedPartition, sold: Booking
) -> None:
    evict(partition)
    replay = partition.perform(hold("b9", "A:2", key="key-b1"))
    assert replay.outcome is Outcome.REPLAYED
    assert replay.booking
    assert (replay.booking.booking_id, replay.booking.status) == ("b1", Status.PENDING)
    paid = partition.perform(ConfirmFree("b1", "ann", "k", "f"))
    assert (paid.outcome, paid.booking) == (Outcome.REPLAYED, sold)


def test_contact_data_lies_beside_the_booking_and_never_in_the_journal(
    partition: ScriptedPartition,
) -> None:
    partition.perform(put(sale()))
    partition.perform(hold("b1", "A:1", contact=True))
    partition.perform(hold("b2", "A:1"))
    assert partition.client.get(partition.key("contact", "b1")) == b"ciphertext"
    assert not partition.client.exists(partition.key("contact", "b2"))
    texts = [fields[b"entry"] for _, fields in partition.client.xrange(partition.key("journal"))]
    assert not any(b"ciphertext" in text for text in texts)
    assert [entry.contact for entry in partition.entries()] == [False, True, False]


def test_an_id_without_a_booking_leaves_the_list_of_the_finished(
    partition: ScriptedPartition, sold: Booking
) -> None:
    partition.client.delete(partition.key("booking", "b1"))
    assert evict(partition) == 0
    assert partition.client.zcard(partition.key("finished")) == 0


def test_expiry_does_not_touch_what_was_confirmed_and_left(
    partition: ScriptedPartition, sold: Booking
) -> None:
    evict(partition)
    partition.move_clock(START_MS + 2 * HOLD_MS)
    assert partition.perform(Expire("gig")).expired == 0
    assert partition.levels("gig") == levels_of("A:1:0:2")
