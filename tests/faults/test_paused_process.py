"""A process stopped (SIGSTOP) before it asks the gateway, and woken after a worker's verdict.

It sends what it was about to send: nothing that it cannot have been told stops it. All the same
nothing changes, at the gateway or in our books.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import uuid
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import psutil
import pytest
from redis.asyncio import Redis

from engine.engine import Engine
from engine.payments.cashier import Cashier
from engine.payments.saga import Saga
from engine.payments.types import Step
from engine.types import Booking, CancelReason
from tests.helpers.crash_hand import OWNER, VISA, Hand
from tests.helpers.crash_host import Job, ended, start
from tests.helpers.crash_points import points
from tests.helpers.engines import check_books, opened
from tests.helpers.faults import status_of
from tests.helpers.gateways import Simulator, adapter
from tests.helpers.servers import Valkey, wait_for
from workers.recovery import Recovery

Decide = Callable[[Hand, Callable[[], Awaitable[None]]], Awaitable[None]]


async def nothing(_: Hand, work: Callable[[], Awaitable[None]]) -> None:
    """The lease runs out, and a worker carries the payment on."""
    await work()


async def cancel(hand: Hand, work: Callable[[], Awaitable[None]]) -> None:
    """The customer cancels, and a worker gives back what there is to give back."""
    await hand.engine.bookings.cancel(hand.booking_id, CancelReason.CUSTOMER)
    await work()


async def pay_otherwise(hand: Hand, work: Callable[[], Awaitable[None]]) -> None:
    """A worker finds the card declined, and the buyer pays with another."""
    await work()
    saga = Saga(hand.engine.payments, hand.gateway)
    cashier = Cashier(hand.engine.payments, hand.engine.bookings, saga, hand.engine.vault)
    await cashier.pay(replace(hand.request(VISA), key=str(uuid.uuid4())))


@dataclass(frozen=True, slots=True)
class Case:
    """What the process was about to ask, what came between, and how the payment stands then."""

    asks: str
    scenario: str
    decide: Decide
    end: str

    @property
    def point(self) -> str:
        """Where it is stopped."""
        function, call = f"saga._{self.asks}.", f":self._gateway.{self.asks}"
        names = (point.name for point in points())
        (name,) = (one for one in names if one.startswith(function) and one.endswith(call))
        return name


CASES: Final = {
    "authorize, paid": Case("authorize", "a good card", nothing, "CONFIRMED CAPTURED 1"),
    "authorize, cancelled": Case("authorize", "a good card", cancel, "CANCELLED VOIDED 1"),
    "authorize, paid otherwise": Case(
        "authorize", "a bad card", pay_otherwise, "CONFIRMED CAPTURED 2"
    ),
    "capture, paid": Case("capture", "a good card", nothing, "CONFIRMED CAPTURED 1"),
    "capture, cancelled": Case("capture", "a good card", cancel, "CANCELLED VOIDED 1"),
    "void, voided": Case("void", "cancelled", nothing, "CANCELLED VOIDED 1"),
    "refund, refunded": Case("refund", "paid and cancelled", nothing, "CANCELLED REFUNDED 1"),
}


@dataclass(frozen=True, slots=True)
class Sight:
    """How a case's payment stands: our books, and the gateway's charges."""

    booking: Booking
    levels: tuple[int, int, int]
    charges: tuple[dict[str, Any], ...]


@dataclass(frozen=True, slots=True)
class Result:
    """A case before its process was woken, and after that has ended."""

    asleep: bool
    before: Sight
    after: Sight
    code: int
    trace: list[str]


class Play:
    """All cases at once, over one Valkey and one simulator."""

    def __init__(self, redis_url: str, simulator: Simulator, directory: Path) -> None:
        self.redis_url, self.simulator, self.directory = redis_url, simulator, directory
        self.jobs = {
            name: Job(f"case-{number}", case.scenario, OWNER, case.point, "before", pauses=True)
            for number, (name, case) in enumerate(CASES.items())
        }
        self.journals: list[list[int]] = []
        """How long every partition's was: before they were woken, and after."""

    def trace(self, name: str) -> list[str]:
        path = self.directory / self.jobs[name].id
        return path.read_text().splitlines() if path.exists() else []

    def process(self, name: str) -> psutil.Process:
        return psutil.Process(int(self.trace(name)[0].removeprefix("process ")))

    def is_asleep(self, name: str) -> bool:
        trace = self.trace(name)
        there = trace[-1:] == [f"before {CASES[name].point}"]
        return there and status_of(self.process(name)) == psutil.STATUS_STOPPED

    async def run(self) -> dict[str, Result]:
        """Stop them, decide, wake them."""
        async with opened(self.redis_url) as engine, adapter(self.simulator.url) as gateway:
            host = start([*self.jobs.values()], self.redis_url, self.simulator.url, self.directory)
            try:
                async with Redis.from_url(self.redis_url) as redis:
                    await asyncio.to_thread(
                        wait_for, lambda: all(map(self.is_asleep, CASES)), "all to be stopped", 90
                    )
                    hands = {}
                    for name, job in self.jobs.items():
                        booking_id = self.trace(name)[1].removeprefix("booking ")
                        hands[name] = Hand(
                            engine, redis, gateway, self.simulator.url, job.id, booking_id
                        )
                        await self._decide(name, hands[name])
                    asleep = {name: self.is_asleep(name) for name in CASES}
                    before = {name: await self._look(hand) for name, hand in hands.items()}
                    self.journals.append(await self._sequences(engine))
                    for name in CASES:
                        self.process(name).send_signal(signal.SIGCONT)
                    codes = await asyncio.to_thread(ended, host)
                    after = {name: await self._look(hand) for name, hand in hands.items()}
                    self.journals.append(await self._sequences(engine))
                    for job in self.jobs.values():
                        await check_books(engine, [job.id])
            finally:
                if host.poll() is None:
                    for name in CASES:
                        with contextlib.suppress(IndexError, psutil.NoSuchProcess):
                            self.process(name).kill()
                    host.kill()
                    host.communicate()
        return {
            name: Result(asleep[name], before[name], after[name], codes[job.id], self.trace(name))
            for name, job in self.jobs.items()
        }

    async def _decide(self, name: str, hand: Hand) -> None:
        recovery = Recovery(hand.engine, Saga(hand.engine.payments, hand.gateway))

        async def work() -> None:
            await hand.abandon()
            while await recovery.run_once():
                await recovery.finish()

        await CASES[name].decide(hand, work)

    async def _look(self, hand: Hand) -> Sight:
        sale = await hand.engine.sales.get(hand.sale_id)
        assert sale
        (level,) = sale.levels
        charges = await asyncio.to_thread(self.simulator.charges)
        mine = (charge for charge in charges if charge["booking_id"] == hand.booking_id)
        levels = (level.available, level.held, level.sold)
        return Sight(await hand.booking(), levels, tuple(mine))

    async def _sequences(self, engine: Engine) -> list[int]:
        return [status.sequence for status in await engine.journal.statuses()]


@pytest.fixture(scope="module")
def play(
    valkey_server: Valkey, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Play, dict[str, Result]]]:
    """Everything run to its end; the tests look at what came of it."""
    valkey_server.flush()
    simulator = Simulator(tmp_path_factory.mktemp("simulator"))
    with contextlib.closing(simulator):
        play = Play(valkey_server.url, simulator, tmp_path_factory.mktemp("traces"))
        yield play, asyncio.run(play.run())


@pytest.mark.parametrize("name", CASES)
def test_a_process_woken_after_the_verdict_changes_nothing(
    name: str, play: tuple[Play, dict[str, Result]]
) -> None:
    case, result = CASES[name], play[1][name]
    assert result.asleep, "it was not stopped there all the while"
    assert result.code == 0, result.trace
    assert f"after {case.point}" in result.trace, "it never sent what it was about to send"
    payment = result.before.booking.payment
    assert payment
    assert payment.step is Step.NONE
    attempt = payment.attempt
    assert f"{result.before.booking.status} {payment.status} {attempt}" == case.end
    assert result.after == result.before
    held = [charge for charge in result.after.charges if charge["status"] == "succeeded"]
    assert len(held) == 1, "one authorization, whoever asked for it"
    sold = case.end.startswith("CONFIRMED")
    assert result.after.levels == ((0, 0, 1) if sold else (1, 0, 0))


def test_what_was_woken_wrote_nothing_into_the_journal(
    play: tuple[Play, dict[str, Result]],
) -> None:
    before, after = play[0].journals
    assert sum(before) > len(CASES)
    assert after == before
