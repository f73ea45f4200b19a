"""The saga killed at every await, one by one, and again while another owner carries it on.

The places are the awaits of `tests.helpers.crash_points.MODULES`, by their syntax trees: the saga,
the request's part, the worker's, the reconciler's. Every scenario is run once to see which of them
it comes by; then, for each, a process of its own is killed (-9) there. A second process takes over
and is killed at the same place, if it comes there. At last a worker ends what is open, and each
payment must have ended as it may: with one capture or none, and with stock, booking and payment in
step.
"""

from __future__ import annotations

import ast
import asyncio
import contextlib
import importlib.util
import signal
import tokenize
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from engine.engine import Engine
from engine.payments.cashier import Cashier
from engine.payments.saga import Saga
from engine.payments.stripe import StripeGateway
from engine.payments.types import Step
from engine.types import CancelReason, Status
from tests.helpers.crash_hand import OWNER, PRICE, VISA, Hand
from tests.helpers.crash_host import Job, ended, start
from tests.helpers.crash_points import MODULES, points
from tests.helpers.crash_scenarios import PAID, SCENARIOS
from tests.helpers.engines import opened
from tests.helpers.gateways import Simulator, adapter
from tests.helpers.servers import Valkey
from workers.recovery import Recovery

pytestmark = pytest.mark.timeout(900)

PLACES = [(point.name, side) for point in points() for side in point.sides]
KILLED = -signal.SIGKILL
UNITS = {Status.PENDING: (0, 1, 0), Status.CONFIRMED: (0, 0, 1), Status.CANCELLED: (1, 0, 0)}


@dataclass
class Ground:
    """One Valkey and one simulator for all payments, and what the processes came by."""

    redis_url: str
    simulator: Simulator
    traces: Path
    rehearsals: dict[str, Job] = field(default_factory=dict)
    """By scenario: the process that carried it on to the end."""
    deaths: dict[tuple[str, str], Job] = field(default_factory=dict)
    """By place: the process that was to die there."""
    codes: dict[str, int] = field(default_factory=dict)
    faults: dict[str, str] = field(default_factory=dict)
    """What is wrong with how each job's payment ended; nothing, if nothing is."""

    async def initialise(self) -> None:
        """Start the partitions."""
        async with opened(self.redis_url):
            pass

    def run(self, jobs: Sequence[Job]) -> None:
        """Do jobs, each in a process of its own."""
        host = start(jobs, self.redis_url, self.simulator.url, self.traces)
        self.codes |= ended(host)

    def trace(self, job: Job) -> list[str]:
        """What a job came by."""
        return (self.traces / job.id).read_text().splitlines()

    def scenario_of(self, point: str, side: str) -> str | None:
        """The first scenario that comes by a place."""
        for name, job in self.rehearsals.items():
            if f"{side} {point}" in self.trace(job):
                return name
        return None

    def booking_id(self, job: Job) -> str:
        """The booking that a job carries on."""
        return self.trace(job)[1].removeprefix("booking ")

    def taken_over(self, job: Job) -> Job:
        """The job of the process that comes after another's death."""
        return replace(
            job,
            id=f"{job.id}-again",
            owner="second",
            sale_id=job.id,
            booking_id=self.booking_id(job),
        )

    def hand(self, job: Job, engine: Engine, redis: Redis, gateway: StripeGateway) -> Hand:
        """What a job's payment is carried on with here."""
        return Hand(engine, redis, gateway, self.simulator.url, job.id, self.booking_id(job))

    async def let_leases_end(self, jobs: Sequence[Job]) -> None:
        """Have every lease run out now."""
        async with (
            opened(self.redis_url) as engine,
            adapter(self.simulator.url) as gateway,
            Redis.from_url(self.redis_url) as redis,
        ):
            for job in jobs:
                await self.hand(job, engine, redis, gateway).abandon()


async def end_all(ground: Ground, jobs: Sequence[Job]) -> None:
    """Have a worker end what is open, and judge how each payment ended."""
    async with (
        opened(ground.redis_url) as engine,
        adapter(ground.simulator.url) as gateway,
        Redis.from_url(ground.redis_url) as redis,
    ):
        found = [(job, ground.hand(job, engine, redis, gateway)) for job in jobs]
        recovery = Recovery(engine, Saga(engine.payments, gateway))
        for job, hand in found:
            if SCENARIOS[job.scenario].resent:
                await hand.abandon()
                saga = Saga(engine.payments, gateway)
                cashier = Cashier(engine.payments, engine.bookings, saga, engine.vault)
                await cashier.pay(hand.request(VISA))
        await _work(recovery, found)
        for _, hand in found:
            booking = await hand.booking()
            if booking.payment and booking.payment.step is not Step.NONE:
                # The buyer never acts: the one who asked gives up.
                assert booking.payment.status == "REQUIRES_ACTION", booking
                await engine.bookings.cancel(hand.booking_id, CancelReason.CUSTOMER)
        await _work(recovery, found)
        charges = await asyncio.to_thread(ground.simulator.charges)
        for job, hand in found:
            mine = [charge for charge in charges if charge["booking_id"] == hand.booking_id]
            ground.faults[job.id] = await _judge(job, hand, mine)


async def _work(recovery: Recovery, found: Sequence[tuple[Job, Hand]]) -> None:
    """What a worker does once every lease has run out."""
    for _, hand in found:
        await hand.abandon()
    while await recovery.run_once():
        await recovery.finish()


async def _judge(job: Job, hand: Hand, charges: Sequence[dict[str, Any]]) -> str:
    """What is wrong with how a payment ended; nothing, if nothing is."""
    booking = await hand.booking()
    payment = booking.payment
    end = f"{booking.status} {payment.status if payment else 'UNPAID'}"
    sale = await hand.engine.sales.get(hand.sale_id)
    assert sale
    (level,) = sale.levels
    captures = sum(charge["captured_ms"] is not None for charge in charges)
    taken = sum(charge["amount_captured"] - charge["amount_refunded"] for charge in charges)
    reserved = sum(
        charge["status"] == "succeeded" and not (charge["captured_ms"] or charge["released_ms"])
        for charge in charges
    )
    wrong = []
    if end not in SCENARIOS[job.scenario].ends:
        wrong.append(f"it ended {end}")
    if (level.available, level.held, level.sold) != UNITS[booking.status]:
        wrong.append(f"its unit is {level}")
    if captures > 1 or taken != (PRICE if end == PAID else 0) or reserved:
        wrong.append(f"{captures} captures, {taken} taken, {reserved} still reserved")
    if payment and payment.step is not Step.NONE:
        wrong.append(f"open: {payment.step}")
    return "; ".join(wrong)


@pytest.fixture(scope="module")
def ground(valkey_server: Valkey, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    """Everything run to its end; the tests look at what came of it."""
    valkey_server.flush()
    simulator = Simulator(tmp_path_factory.mktemp("simulator"))
    with contextlib.closing(simulator):
        ground = Ground(valkey_server.url, simulator, tmp_path_factory.mktemp("traces"))
        asyncio.run(ground.initialise())
        for number, name in enumerate(SCENARIOS):
            ground.rehearsals[name] = Job(f"rehearsal-{number}", name, OWNER)
        ground.run([*ground.rehearsals.values()])
        for number, place in enumerate(PLACES):
            scenario = ground.scenario_of(*place)
            if scenario is not None:
                point, side = place
                ground.deaths[place] = Job(f"death-{number}", scenario, OWNER, point, side)
        deaths = [*ground.deaths.values()]
        ground.run(deaths)
        asyncio.run(ground.let_leases_end(deaths))
        ground.run([ground.taken_over(job) for job in deaths])
        asyncio.run(end_all(ground, [*ground.rehearsals.values(), *deaths]))
        yield ground


def test_no_await_of_the_modules_is_overlooked() -> None:
    words = Counter[str]()
    functions = 0
    for module in MODULES:
        spec = importlib.util.find_spec(module)
        assert spec
        assert spec.origin
        with tokenize.open(spec.origin) as file:
            words.update(token.string for token in tokenize.generate_tokens(file.readline))
        tree = ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
        functions += sum(isinstance(node, ast.AsyncFunctionDef) for node in ast.walk(tree))
    assert len(points()) == words["await"] > 60
    assert words["async"] == functions, "an `async with` or `async for` awaits without saying so"
    assert len({point.name for point in points()}) == len(points())


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_scenario_without_a_crash_ends_as_it_may(name: str, ground: Ground) -> None:
    job = ground.rehearsals[name]
    assert ground.codes[job.id] == 0, ground.trace(job)
    assert ground.faults[job.id] == ""


@pytest.mark.parametrize(("point", "side"), PLACES)
def test_killed_there_it_ends_with_one_capture_or_none_and_all_in_step(
    point: str, side: str, ground: Ground
) -> None:
    job = ground.deaths.get((point, side))
    assert job, "no scenario of tests/helpers/crash_scenarios.py comes by this await: add one"
    assert ground.codes[job.id] == KILLED, ground.trace(job)
    assert ground.trace(job)[-1] == f"{side} {point}", "it died, but not there"
    again = ground.codes[f"{job.id}-again"]
    assert again in {0, KILLED}, ground.trace(ground.taken_over(job))
    assert ground.faults[job.id] == ""


def test_most_places_also_killed_the_process_that_took_over(ground: Ground) -> None:
    again = [ground.codes[f"{job.id}-again"] for job in ground.deaths.values()]
    print(f"{again.count(KILLED)} of {len(again)} died again")
    assert again.count(KILLED) > len(again) / 2
