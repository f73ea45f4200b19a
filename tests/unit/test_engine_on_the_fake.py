"""The engine's own work around the scripts, on fakeredis."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import pytest_asyncio

from engine import limits
from engine.errors import Fenced
from engine.journal import parse_entry
from engine.limits import PIECE_CALLS
from engine.model import fold
from engine.outcomes import Outcome
from engine.types import (
    Booking,
    CancelReason,
    Contact,
    ItemDefinition,
    Levels,
    LineRequest,
    RateLimit,
    SaleDefinition,
    Status,
)
from tests.helpers.fake import FakeEngine

GIG = SaleDefinition(
    sale_id="gig",
    name="A gig",
    items=(
        ItemDefinition("seat", "A seat", capacity=4, unit_price=2_500),
        ItemDefinition("free", "Standing", capacity=2, unit_price=0, max_per_booking=2),
    ),
    hold_ms=60_000,
)
SEAT = LineRequest("seat", 1)
FREE = LineRequest("free", 1)


@pytest_asyncio.fixture
async def engine() -> AsyncIterator[FakeEngine]:
    async with FakeEngine() as found:
        yield found


async def test_a_sale_is_put_read_and_listed(engine: FakeEngine) -> None:
    created = await engine.sales.put(GIG)
    assert created.outcome is Outcome.CREATED
    assert created.sale
    assert created.sale.definition == GIG
    assert await engine.sales.get("gig") == created.sale
    assert await engine.sales.list() == [created.sale]
    assert await engine.sales.list("gig") == []
    assert await engine.sales.get("other") is None
    assert await engine.sales.availability("other") is None
    available = await engine.sales.availability("gig")
    assert available
    assert available.items == (Levels("seat", 4, 0, 0), Levels("free", 2, 0, 0))


async def test_a_refused_sale_names_the_item(engine: FakeEngine) -> None:
    await engine.sales.put(GIG)
    await engine.bookings.reserve("gig", "ann", [LineRequest("seat", 3)], "k")
    smaller = replace(GIG, items=(replace(GIG.items[0], capacity=2), GIG.items[1]))
    answer = await engine.sales.put(smaller)
    assert (answer.outcome, answer.item_id) == (Outcome.CAPACITY_IN_USE, "seat")


async def test_sales_of_all_partitions_are_listed_in_pages(engine: FakeEngine) -> None:
    names = sorted(f"sale-{at}" for at in range(7))
    for name in names:
        await engine.sales.put(replace(GIG, sale_id=name))
    first = [sale.definition.sale_id for sale in await engine.sales.list("", 4)]
    rest = [sale.definition.sale_id for sale in await engine.sales.list(first[-1], 4)]
    assert first + rest == names
    assert len({engine.keys.partition_of_sale(name) for name in names}) > 1


async def test_a_booking_lives_its_life(engine: FakeEngine) -> None:
    await engine.sales.put(GIG)
    held = await engine.bookings.reserve("gig", "ann", [FREE, FREE], "k")
    assert held.outcome is Outcome.HELD
    assert held.booking
    name = held.booking.booking_id
    assert engine.keys.partition_of_booking(name) == engine.keys.partition_of_sale("gig")
    assert (await engine.bookings.extend(name, "ann")).outcome is Outcome.EXTENDED
    assert (await engine.bookings.confirm(name, "ann", "p")).outcome is Outcome.CONFIRMED
    replay = await engine.bookings.confirm(name, "ann", "p")
    assert (replay.outcome, replay.replayed) == (Outcome.REPLAYED, True)
    completed = await engine.bookings.complete(name)
    assert completed.booking
    assert completed.booking.status is Status.COMPLETED
    found = await engine.bookings.get(name, "ann")
    assert found.booking == completed.booking
    assert (await engine.bookings.get(name, "bob")).outcome is Outcome.ABSENT


async def test_a_key_that_comes_again_gets_the_first_booking(engine: FakeEngine) -> None:
    await engine.sales.put(GIG)
    first = await engine.bookings.reserve("gig", "ann", [SEAT], "k")
    again = await engine.bookings.reserve("gig", "ann", [SEAT], "k")
    assert (again.outcome, again.replayed) == (Outcome.REPLAYED, True)
    assert again.booking == first.booking
    other = await engine.bookings.reserve("gig", "ann", [LineRequest("seat", 2)], "k")
    assert other.outcome is Outcome.IDEMPOTENCY_KEY_REUSED
    contact = Contact(email="ann@example.org")
    other = await engine.bookings.reserve("gig", "ann", [SEAT], "k", contact=contact)
    assert other.outcome is Outcome.IDEMPOTENCY_KEY_REUSED


async def test_a_refusal_names_its_item(engine: FakeEngine) -> None:
    await engine.sales.put(GIG)
    answer = await engine.bookings.reserve("gig", "ann", [SEAT, LineRequest("free", 3)], "k")
    assert (answer.outcome, answer.item_id) == (Outcome.BOOKING_LIMIT, "free")
    answer = await engine.bookings.reserve("gig", "ann", [LineRequest("seat", 5)], "k")
    assert (answer.outcome, answer.item_id) == (Outcome.SOLD_OUT, "seat")


async def test_contact_data_is_kept_encrypted(engine: FakeEngine) -> None:
    await engine.sales.put(GIG)
    contact = Contact(email="ann@example.org", phone="+4912345")
    held = await engine.bookings.reserve("gig", "ann", [SEAT], "k", contact=contact)
    bare = await engine.bookings.reserve("gig", "ann", [SEAT], "k2")
    assert held.booking
    assert bare.booking
    partition = engine.keys.partition_of_sale("gig")
    names = [held.booking.booking_id, bare.booking.booking_id]
    found = await engine.journal.contacts(partition, names)
    assert list(found) == names[:1]
    assert b"ann" not in found[names[0]]
    assert engine.vault.decrypt(found[names[0]]) == contact
    assert await engine.journal.contacts(partition, []) == {}


async def test_a_rate_is_spent_by_reserve_unless_it_is_not_limited() -> None:
    async with FakeEngine(rate_limit=RateLimit(interval_us=3_600_000_000, burst=1)) as engine:
        await engine.sales.put(GIG)
        assert (await engine.bookings.reserve("gig", "ann", [SEAT], "1")).booking
        limited = await engine.bookings.reserve("gig", "ann", [SEAT], "2")
        assert limited.outcome is Outcome.RATE_LIMITED
        assert limited.retry_after_ms
        free = await engine.bookings.reserve("gig", "ann", [SEAT], "2", limited=False)
        assert free.outcome is Outcome.HELD
        partition = engine.keys.partition_of_sale("gig")
        assert await engine.rate_limit.spend(partition, "bob") is None
        assert await engine.rate_limit.spend(partition, "bob")
    async with FakeEngine() as engine:
        assert await engine.rate_limit.spend(0, "bob") is None


async def test_the_journal_is_read_in_slices_and_folds_to_what_was_sold(
    engine: FakeEngine,
) -> None:
    await engine.sales.put(GIG)
    for at in range(3):
        await engine.bookings.reserve("gig", f"c{at}", [SEAT], "k")
    partition = engine.keys.partition_of_sale("gig")
    first = await engine.journal.read(partition, 1, 3)
    rest = await engine.journal.read(partition, 4, 3)
    raw = first.entries + rest.entries
    assert [entry.sequence for entry in raw] == [1, 2, 3, 4]
    assert rest.sequence == 4
    state = fold(parse_entry(entry.sequence, entry.text) for entry in raw)
    assert state.sales["gig"].levels["seat"] == Levels("seat", 1, 3, 0)


async def test_a_partition_that_was_fenced_refuses_and_says_why(engine: FakeEngine) -> None:
    await engine.sales.put(GIG)
    partition = engine.keys.partition_of_sale("gig")
    await engine.journal.fence(partition, "operator")
    with pytest.raises(Fenced) as refused:
        await engine.bookings.reserve("gig", "ann", [SEAT], "k")
    assert (refused.value.partition, refused.value.reason) == (partition, "operator")


@pytest.mark.parametrize(
    "name", ["", "x", "zzz" + "0" * 26, "001" + "0" * 25, "001" + "0" * 26 + "\n", "fff" + "0" * 26]
)
async def test_what_no_booking_can_be_called_is_absent(name: str, engine: FakeEngine) -> None:
    before = len(engine.transport.exchanges)
    assert (await engine.bookings.get(name)).outcome is Outcome.ABSENT
    assert (await engine.bookings.extend(name)).outcome is Outcome.ABSENT
    assert (await engine.bookings.cancel(name, CancelReason.OPERATOR)).outcome is Outcome.ABSENT
    assert (await engine.bookings.complete(name)).outcome is Outcome.ABSENT
    assert len(engine.transport.exchanges) == before


async def test_an_argument_that_would_break_the_books_is_refused(engine: FakeEngine) -> None:
    await engine.sales.put(GIG)
    reserve = engine.bookings.reserve
    many = [SEAT] * (limits.MAX_LINES + 1)
    for bad in (
        reserve("gig", "ann:bob", [SEAT], "k"),
        reserve("gig", 'a"b', [SEAT], "k"),
        reserve("gig", "ann", [SEAT], "k,1"),
        reserve("gig", "ann", [SEAT], ""),
        reserve("gig", "ann", [SEAT], "x" * 65),
        reserve("gig", "ann", [SEAT], "k\n"),
        reserve("gig", "ann", [], "k"),
        reserve("gig", "ann", many, "k"),
        reserve("gig", "ann", [LineRequest("seat", 0)], "k"),
        reserve("gig", "ann", [LineRequest("seat", -1)], "k"),
        reserve("gig", "ann", [LineRequest("seat", limits.MAX_QUANTITY + 1)], "k"),
        reserve("gig", "ann", [LineRequest("seat", True)], "k"),
        reserve("gig", "ann", [SEAT], "k", trace='"'),
        engine.bookings.confirm("000" + "0" * 26, "ann", 'k"'),
        engine.bookings.confirm("000" + "0" * 26, "a b", "k"),
        engine.sales.put(replace(GIG, items=())),
        engine.sales.put(replace(GIG, items=(GIG.items[0], GIG.items[0]))),
        engine.sales.put(replace(GIG, currency='U"D')),
        engine.sales.put(replace(GIG, hold_ms=0)),
        engine.sales.put(replace(GIG, closes_ms=-1)),
        engine.sales.put(replace(GIG, max_units_per_customer=-1)),
        engine.sales.put(replace(GIG, name="x" * (limits.MAX_NAME_CHARS + 1))),
        engine.sales.put(replace(GIG, items=(replace(GIG.items[0], capacity=-1),))),
        engine.sales.put(
            replace(GIG, items=(replace(GIG.items[0], unit_price=limits.MAX_INTEGER + 1),))
        ),
    ):
        with pytest.raises(ValueError, match=r"not |must be|twice|more than"):
            await bad
    sale = await engine.sales.get("gig")
    assert sale
    assert sale.levels == (Levels("seat", 4, 0, 0), Levels("free", 2, 0, 0))


async def test_a_due_hold_reads_as_expired_and_its_units_as_available(engine: FakeEngine) -> None:
    await engine.sales.put(replace(GIG, hold_ms=1_000))
    held = await engine.bookings.reserve("gig", "ann", [SEAT], "k")
    assert held.booking
    await _pass(engine, held.booking)
    available = await engine.sales.availability("gig")
    sale = await engine.sales.get("gig")
    assert available
    assert sale
    assert available.items[0] == Levels("seat", 4, 0, 0)
    assert sale.levels[0] == Levels("seat", 3, 1, 0)
    read = await engine.bookings.get(held.booking.booking_id)
    assert read.booking
    assert read.booking.cancel_reason is CancelReason.EXPIRED


async def test_a_sweep_ends_what_is_due_and_answers_how_many(engine: FakeEngine) -> None:
    await engine.sales.put(replace(GIG, hold_ms=1_000))
    answers = [await engine.bookings.reserve("gig", f"c{i}", [SEAT], "k") for i in range(3)]
    partition = engine.keys.partition_of_sale("gig")
    assert await engine.bookings.sweep(partition, 100) == 0
    last = answers[-1].booking
    assert last
    await _pass(engine, last)
    assert await engine.bookings.sweep(partition, 100) == 3
    assert await engine.bookings.sweep(partition, 100) == 0
    assert await engine.bookings.evict(partition, 100, 0, 2) == 2
    assert await engine.bookings.evict(partition, 1, 0, 2) == 0
    assert await engine.bookings.evict(partition, 100, 0, 2) == 1


async def test_calls_that_are_made_together_leave_together(engine: FakeEngine) -> None:
    await engine.sales.put(replace(GIG, items=(replace(GIG.items[0], capacity=100),)))
    await engine.bookings.reserve("gig", "ann", [SEAT], "k")
    before = len(engine.transport.exchanges)
    answers = await asyncio.gather(
        *(engine.bookings.reserve("gig", f"c{at}", [SEAT], "k") for at in range(50))
    )
    assert {answer.outcome for answer in answers} == {Outcome.HELD}
    assert len(engine.transport.exchanges) <= before + math.ceil(50 / PIECE_CALLS)


async def _pass(engine: FakeEngine, booking: Booking) -> None:
    """Let the hold's time pass."""
    meta = engine.keys.meta(engine.keys.partition_of_sale(booking.sale_id)).decode()
    await engine.transport.client.hset(meta, "last_ms", booking.hold_expires_ms)
