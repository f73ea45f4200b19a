"""Authorizations whose key has run out: only what the gateway lists decides."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from engine.payments.types import PaymentStatus, Step
from engine.types import Booking, Status
from tests.helpers.gateways import Simulator
from tests.helpers.reconciling import (
    reconciler_of,
    turn,
)
from tests.helpers.till import OWNER, Till, open_till, quiet
from workers.undecided import AT_ONCE


@pytest.fixture
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    server = quiet(tmp_path_factory.mktemp("simulator"))
    yield server
    server.close()


@pytest.fixture
async def till(redis_url: str, database_url: str, simulator: Simulator) -> AsyncIterator[Till]:
    async with open_till(redis_url, database_url, simulator) as opened:
        yield opened


class KeyRunOut:
    """A payment whose authorization nobody sends again, and those who see to it."""

    def __init__(self, till: Till) -> None:
        self._till = till
        self._saga = till.saga_over(till.gateway, key_lifetime_ms=1)
        self.booking: Booking | None = None
        self.before: list[str] = []
        self.reconciler = reconciler_of(till, saga=self._saga, run_out=self._run_out)

    def _run_out(self) -> list[str]:
        return [*self.before, self.booking.booking_id] if self.booking else []

    async def left_open(self, booking: Booking) -> None:
        """Let a worker look at it: it must not ask."""
        await asyncio.sleep(0.01)
        charges = len(self._till.simulator.charges())
        seen = await self._saga.drive(booking, OWNER)
        assert seen.payment
        assert (seen.payment.step, seen.payment.status) == (
            Step.AUTHORIZE,
            PaymentStatus.UNKNOWN,
        )
        assert len(self._till.simulator.charges()) == charges
        self.booking = booking

    async def decided(self) -> Booking:
        booking = self.booking
        assert booking

        async def is_at_rest() -> bool:
            return (await self._till.payment(booking)).step is Step.NONE

        await turn(self.reconciler, is_at_rest, "the payment to be decided")
        return await self._till.booking(booking)


async def test_an_authorization_past_its_keys_lifetime_is_found_in_the_list(till: Till) -> None:
    run_out = KeyRunOut(till)
    booking = await till.begin()
    await till.authorize(booking)
    await run_out.left_open(booking)
    booking = await run_out.decided()
    assert booking.payment
    assert (booking.status, booking.payment.status) == (Status.CONFIRMED, PaymentStatus.CAPTURED)
    assert till.simulator.totals()["captured"] == 1


async def test_what_the_list_does_not_have_never_was_and_what_comes_later_is_given_back(
    till: Till,
) -> None:
    run_out = KeyRunOut(till)
    booking = await till.begin()
    await run_out.left_open(booking)
    decided = await run_out.decided()
    assert decided.payment
    assert (decided.payment.status, decided.payment.decline_code) == (
        PaymentStatus.DECLINED,
        "never_answered",
    )
    assert decided.status is Status.PENDING, "the buyer may try again"
    # A process that slept all the while sends its request after all.
    await till.authorize(booking)

    async def is_void() -> bool:
        return till.simulator.totals()["released"] == 1

    await turn(run_out.reconciler, is_void, "the late authorization to be voided")
    again = await till.saga.drive(await till.begin_for(decided), OWNER)
    assert again.payment
    assert (again.payment.attempt, again.payment.status) == (2, PaymentStatus.CAPTURED)
    assert till.simulator.totals()["duplicate_charges"] == 0


async def test_what_waits_for_something_else_keeps_no_authorization_undecided(till: Till) -> None:
    run_out = KeyRunOut(till)
    await till.put(capacity=AT_ONCE + 1)
    others = [await till.stage.hold(f"c{number}") for number in range(AT_ONCE)]
    booking = await till.begin(customer_id="last")
    await till.authorize(booking)
    await run_out.left_open(booking)
    run_out.before = [other.booking_id for other in others]
    assert (await run_out.decided()).status is Status.CONFIRMED
