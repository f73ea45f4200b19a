"""Answers that never come from Redis, or from the gateway's side of a payment: one effect each.

A proxy between the engine and the server resets connections before a request or after it, or
keeps its answer for ever. What the engine cannot make definite by itself, the caller can: the same
request with the same key.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import redis

from engine import limits
from engine.bookings import Answer
from engine.engine import Engine
from engine.errors import Unavailable
from engine.outcomes import Outcome
from engine.payments.books import PaymentRequest
from engine.payments.cashier import Cashier
from engine.payments.types import PaymentStatus
from engine.scripts import load_script
from engine.types import CancelReason, Levels
from tests.helpers.engines import SEAT, check_books, gig, move_clock, opened
from tests.helpers.gateways import Simulator
from tests.helpers.stage import stage, stage_settings
from tests.helpers.till import open_till, quiet
from tests.helpers.wire_proxy import Cut, WireProxy

LOST = (Cut.RESET_BEFORE, Cut.RESET_AFTER, Cut.SWALLOW)


@pytest.fixture
async def proxy(redis_url: str) -> AsyncIterator[WireProxy]:
    async with WireProxy(redis_url) as proxy:
        yield proxy


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that does not come is given up sooner than in earnest."""
    monkeypatch.setattr("engine.pipeline.CALL_TIMEOUT_MS", 300)


@pytest.fixture(scope="module")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    server = quiet(tmp_path_factory.mktemp("simulator"))
    yield server
    server.close()


def digest(script: str) -> bytes:
    return load_script(script).sha1


@dataclass(frozen=True, slots=True)
class Change:
    """A call that changes something: what leads up to it, what it leaves of ten units."""

    script: str
    before: str
    call: Callable[[Engine, str], Awaitable[Any]]
    outcome: Outcome
    levels: tuple[int, int, int]


async def reserve(engine: Engine, _: str = "") -> Answer:
    return await engine.bookings.reserve("gig", "ann", SEAT, "key")


async def confirm(engine: Engine, booking_id: str) -> Answer:
    return await engine.bookings.confirm(booking_id, "ann", "pay")


CHANGES = (
    Change("reserve", "", reserve, Outcome.HELD, (9, 1, 0)),
    Change("extend", "held", lambda e, b: e.bookings.extend(b), Outcome.EXTENDED, (9, 1, 0)),
    Change("confirm_free", "held", confirm, Outcome.CONFIRMED, (9, 0, 1)),
    Change(
        "cancel",
        "sold",
        lambda e, b: e.bookings.cancel(b, CancelReason.CUSTOMER),
        Outcome.CANCELLED,
        (10, 0, 0),
    ),
    Change("complete", "sold", lambda e, b: e.bookings.complete(b), Outcome.COMPLETED, (9, 0, 1)),
    Change(
        "put_sale",
        "",
        lambda e, _: e.sales.put(gig(12), operation="put-twice"),
        Outcome.UPDATED,
        (12, 0, 0),
    ),
)
"""The outcomes are those of a call whose answer came."""

REPEATED = {Outcome.REPLAYED, Outcome.UNCHANGED}
"""What a call answers that finds itself done: it cannot tell its caller's repetition from its own,
but for a hold, whose id it made itself."""


@pytest.mark.parametrize("cut", LOST, ids=lambda cut: cut.value)
@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.script)
@pytest.mark.usefixtures("impatient")
async def test_a_lost_answer_is_asked_for_again_and_has_one_effect(
    proxy: WireProxy, change: Change, cut: Cut
) -> None:
    async with opened(proxy.url) as engine:
        await engine.sales.put(gig())
        booking_id = ""
        if change.before:
            held = (await reserve(engine)).booking
            assert held
            booking_id = held.booking_id
        if change.before == "sold":
            await confirm(engine, booking_id)
        partition = engine.keys.partition_of_sale("gig")
        before = (await engine.journal.status(partition)).sequence

        fault = proxy.plan(cut, digest(change.script))
        first = await change.call(engine, booking_id)
        assert fault.fired.is_set()
        again = await change.call(engine, booking_id)

        was_done = cut is not Cut.RESET_BEFORE and change.script != "reserve"
        assert first.outcome in ({change.outcome, *REPEATED} if was_done else {change.outcome})
        assert again.outcome in {change.outcome, *REPEATED}
        if change.before or change.script == "reserve":
            assert again.booking == first.booking
        assert (await engine.journal.status(partition)).sequence == before + 1
        state = await check_books(engine)
        assert state.sales["gig"].levels["seat"] == Levels("seat", *change.levels)


@pytest.mark.parametrize("cut", [Cut.RESET_BEFORE, Cut.RESET_AFTER], ids=lambda cut: cut.value)
async def test_what_stays_unknown_is_definite_once_the_same_request_comes_again(
    proxy: WireProxy, cut: Cut
) -> None:
    async with opened(proxy.url) as engine:
        await engine.sales.put(gig())
        faults = [proxy.plan(cut, digest("reserve")) for _ in range(limits.MAX_CALL_ATTEMPTS)]
        with pytest.raises(Unavailable):
            await reserve(engine)
        assert all(fault.fired.is_set() for fault in faults)
        answer = await reserve(engine)
        was_done = cut is Cut.RESET_AFTER
        assert answer.outcome is (Outcome.REPLAYED if was_done else Outcome.HELD)
        state = await check_books(engine)
        assert list(state.bookings.values()) == [answer.booking]


@pytest.mark.parametrize("cut", [Cut.RESET_BEFORE, Cut.RESET_AFTER], ids=lambda cut: cut.value)
async def test_due_holds_are_given_back_once_whatever_happens_to_the_sweepers_call(
    proxy: WireProxy, redis_url: str, cut: Cut
) -> None:
    async with opened(proxy.url) as engine:
        await engine.sales.put(gig())
        for customer_id in ("ann", "bob", "eve"):
            answer = await engine.bookings.reserve("gig", customer_id, SEAT, "key")
        assert answer.booking
        await move_clock(redis_url, "gig", answer.booking.hold_expires_ms)
        fault = proxy.plan(cut, digest("expire"))
        partition = engine.keys.partition_of_sale("gig")
        # A sweep whose answer was lost finds nothing left, and counts nothing.
        assert await engine.bookings.sweep(partition, 100) == (3 if cut is Cut.RESET_BEFORE else 0)
        assert fault.fired.is_set()
        state = await check_books(engine)
        assert state.sales["gig"].levels["seat"] == Levels("seat", 10, 0, 0)
        assert state.sequence == 1 + 3 + 3


@pytest.mark.parametrize("cut", [Cut.RESET_BEFORE, Cut.RESET_AFTER], ids=lambda cut: cut.value)
async def test_a_payment_whose_every_answer_is_lost_once_is_captured_once(
    proxy: WireProxy, database_url: str, simulator: Simulator, cut: Cut
) -> None:
    async with open_till(proxy.url, database_url, simulator) as till:
        before = simulator.totals()
        scripts = ("reserve", "begin_payment", "confirm", "record_capture")
        faults = [proxy.plan(cut, digest(script)) for script in scripts]
        engine = till.stage.engine
        held = await till.stage.hold("ann")
        request = PaymentRequest(held.booking_id, "ann", str(uuid.uuid4()), "pm_card_visa")
        cashier = Cashier(engine.payments, engine.bookings, till.saga, engine.vault)
        paid = await cashier.pay(request)
        assert all(fault.fired.is_set() for fault in faults)
        assert (await cashier.pay(request)).booking == paid.booking == await till.booking(held)
        assert (await till.payment(held)).status is PaymentStatus.CAPTURED
        after = simulator.totals()
        assert after["captured"] == before["captured"] + 1
        assert after["duplicate_charges"] == 0
        assert await till.stage.levels() == (9, 0, 1)
        state = await check_books(engine)
        assert len(state.bookings) == 1


async def test_callers_that_are_cancelled_in_the_middle_of_a_reply_cross_and_leak_nothing(
    proxy: WireProxy, redis_url: str
) -> None:
    async with opened(proxy.url) as engine:
        await engine.sales.put(gig(300))

        async def buy(number: int, of: int) -> Answer:
            return await engine.bookings.reserve("gig", f"c{number}", SEAT, f"key-{of}")

        for round_ in range(3):
            fault = proxy.plan(Cut.HOLD_ANSWER, digest("reserve"))
            buyers = [asyncio.create_task(buy(number, round_)) for number in range(100)]
            await fault.fired.wait()
            # Pieces on other connections may have been answered by now.
            cancelled = [buyer for buyer in buyers[::2] if buyer.cancel()]
            assert cancelled
            # Others come while their replies are still due on the wire.
            readers = [asyncio.create_task(engine.sales.get("gig")) for _ in range(20)]
            fault.release()
            answers = await asyncio.gather(*buyers[1::2])
            for number, answer in zip(range(1, 100, 2), answers, strict=True):
                assert answer.booking
                assert answer.booking.customer_id == f"c{number}"
            assert all(
                sale and sale.definition == gig(300) for sale in await asyncio.gather(*readers)
            )
            assert all(buyer.cancelled() for buyer in cancelled)
        # What the cancelled ones had asked for was done once, or not at all where it still waited.
        replays = [await buy(number, of) for of in range(3) for number in range(0, 100, 2)]
        assert Outcome.REPLAYED in {answer.outcome for answer in replays}
        assert all(answer.booking for answer in replays)
        state = await check_books(engine)
        assert state.sales["gig"].levels["seat"] == Levels("seat", 0, 300, 0)
        with redis.Redis.from_url(redis_url) as client:
            ours = [one for one in client.client_list() if one["name"] == "holdfast-engine"]
        assert 0 < len(ours) <= limits.MAX_BATCHES_IN_FLIGHT


async def test_readers_of_postgresql_that_are_cancelled_in_the_middle_cross_and_leak_nothing(
    redis_url: str, database_url: str
) -> None:
    async with (
        WireProxy(database_url) as proxy,
        stage(stage_settings(redis_url, proxy.url, partitions="4")) as on,
    ):
        await on.put(capacity=50)
        for number in range(20):
            await on.hold(f"c{number}")
        await on.drain_all()
        for _ in range(3):
            fault = proxy.plan(Cut.HOLD_ANSWER, b"c0")
            reading = asyncio.create_task(on.reads.history("c0", 10))
            await fault.fired.wait()
            reading.cancel()
            fault.release()
            with pytest.raises(asyncio.CancelledError):
                await reading
        pages = await asyncio.gather(*(on.reads.history(f"c{n}", 10) for n in range(20)))
        for number, page in enumerate(pages):
            assert [booking.customer_id for booking in page.bookings] == [f"c{number}"]
        assert on.pool.get_idle_size() == on.pool.get_size() <= limits.MAX_DATABASE_CONNECTIONS
        assert proxy.connections == on.pool.get_size()
