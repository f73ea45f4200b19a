"""`holdfast verify` compares with the gateway: what it calls equal, and each way to differ."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Iterator

import pytest

from engine.errors import Unavailable
from engine.keys import new_booking_id
from engine.payments.gateway import Approved, Missing, Page, Payment, Reference, Unknown
from engine.payments.intents import intent_of
from tests.helpers.gateways import Simulator, adapter, an_intent, payment_settings
from tests.helpers.till import Till, open_till, quiet
from workers import verify, verify_gateway
from workers.replay import Report
from workers.verify_gateway import GatewayComparison


@pytest.fixture
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    server = quiet(tmp_path_factory.mktemp("simulator"))
    yield server
    server.close()


@pytest.fixture
async def till(
    redis_url: str,
    database_url: str,
    simulator: Simulator,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Till]:
    # Nothing is under way in these tests, however young it is.
    monkeypatch.setattr(verify_gateway, "SETTLED_MS", 0)
    async with open_till(redis_url, database_url, simulator) as opened:
        yield opened


async def verified(till: Till, url: str | None = None) -> Report:
    await till.stage.drain_all()
    payments = payment_settings(url or till.simulator.url)
    return await verify.compare(till.stage.settings, payments=payments)


async def test_bookings_and_charges_that_agree_are_equal(till: Till) -> None:
    await till.paid("ann")
    await till.saga.drive(
        await till.begin("pm_card_chargeDeclined", "bob"), "a-process-that-is-gone"
    )
    await till.begin(customer_id="eve")
    report = await verified(till)
    assert report.differences == []
    assert report.payments == 3


@pytest.mark.parametrize("forgotten", [False, True], ids=["with", "without"])
async def test_a_charge_of_a_booking_that_has_left_redis_is_no_difference(
    till: Till, *, forgotten: bool
) -> None:
    """With its tombstone and without."""
    booking = await till.paid()
    await till.stage.drain_all()
    partition, keys = till.stage.partition(), till.stage.engine.keys
    sequence = (await till.stage.engine.journal.status(partition)).sequence
    assert await till.stage.engine.bookings.evict(partition, sequence, 0, 10) == 1
    if forgotten:
        assert await till.redis.delete(keys.key("tombstone", partition, booking.booking_id)) == 1
    report = await verified(till)
    assert report.differences == []
    assert report.payments == 1


async def test_a_charge_without_a_booking_is_a_difference(till: Till) -> None:
    stray = an_intent(booking_id=new_booking_id(till.stage.engine.keys.partition_of_sale("gig")))
    answer = await till.gateway.authorize(stray)
    assert isinstance(answer, Approved)
    (line,) = (await verified(till)).differences
    assert line.startswith(f"booking {stray.reference.booking_id}: orphan: the gateway has")
    assert line.endswith("we have no such booking")
    await till.gateway.void(stray.reference, answer.authorization_id)
    assert (await verified(till)).differences == []


async def test_a_second_capture_is_a_difference(till: Till) -> None:
    booking = await till.paid()
    again = intent_of(booking)
    again = an_intent(amount=again.amount, booking_id=booking.booking_id, attempt=2)
    answer = await till.gateway.authorize(again)
    assert isinstance(answer, Approved)
    await till.gateway.capture(again, answer.authorization_id)
    differences = (await verified(till)).differences
    assert f"booking {booking.booking_id}: the gateway captured 2 charges" in differences
    assert any(": orphan: " in line for line in differences)


async def test_money_that_was_given_back_behind_our_back_is_a_difference(till: Till) -> None:
    booking = await till.paid()
    assert booking.payment
    assert booking.payment.authorization_id
    await till.gateway.refund(Reference(booking.booking_id, 1), booking.payment.authorization_id)
    (line,) = (await verified(till)).differences
    assert ": differs: " in line
    assert "REFUNDED over 1250 USD" in line


async def test_a_paid_booking_without_a_charge_is_a_difference(
    till: Till, tmp_path_factory: pytest.TempPathFactory
) -> None:
    booking = await till.paid()
    emptied = quiet(tmp_path_factory.mktemp("emptied"))
    try:
        async with adapter(emptied.url):
            (line,) = (await verified(till, emptied.url)).differences
    finally:
        emptied.close()
    assert line.startswith(f"booking {booking.booking_id}: captured as ")


class Unwilling:
    """The gateway, which fails to answer each question some times before it does."""

    def __init__(self, till: Till, failures: int) -> None:
        self.asked: Counter[str] = Counter()
        self._gateway, self._failures = till.gateway, failures

    async def list_created(
        self, since_ms: int, until_ms: int, cursor: str | None
    ) -> Page | Unknown:
        self.asked["list"] += 1
        if self.asked["list"] <= self._failures:
            return Unknown("http_500")
        return await self._gateway.list_created(since_ms, until_ms, cursor)

    async def retrieve(self, authorization_id: str) -> Payment | Missing | Unknown:
        self.asked["retrieve"] += 1
        if self.asked["retrieve"] <= self._failures:
            return Unknown("connection")
        return await self._gateway.retrieve(authorization_id)


async def test_a_gateway_that_fails_now_and_then_is_asked_again(till: Till) -> None:
    await till.paid()
    stray = an_intent(booking_id=new_booking_id(till.stage.engine.keys.partition_of_sale("gig")))
    await till.gateway.authorize(stray)
    report, gateway = Report(), Unwilling(till, 2)
    await GatewayComparison(till.stage.engine, gateway, report).compare(0)  # type: ignore[arg-type]
    assert gateway.asked == {"list": 3, "retrieve": 3}
    (line,) = report.differences
    assert line.startswith(f"booking {stray.reference.booking_id}: orphan: ")


async def test_a_gateway_that_never_answers_is_not_asked_for_ever(
    till: Till, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verify_gateway, "MAX_TRIES", 3)
    gateway = Unwilling(till, 3)
    with pytest.raises(Unavailable, match="the gateway: http_500"):
        await GatewayComparison(till.stage.engine, gateway, Report()).compare(0)  # type: ignore[arg-type]
    assert gateway.asked == {"list": 3}
