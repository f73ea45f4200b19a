"""One run: a plan is carried out, everything is mended, and then every book must agree."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from engine.errors import Fenced
from engine.model import is_paying
from engine.types import Booking, Status
from tests.simulation.auditor import Auditor
from tests.simulation.buyers import SALES, Buyers, Request
from tests.simulation.clock import VirtualLoop
from tests.simulation.gateway import METHODS, UNDONE, Gateway
from tests.simulation.network import Network
from tests.simulation.plan import WAITS_MS, Event, Kind, Plan
from tests.simulation.postgres import LATENCIES_S, Postgres
from tests.simulation.process import Process, Surroundings
from tests.simulation.rebuild import rebuild
from tests.simulation.redis import Redis
from tests.simulation.rest import check_rest, settle

PARTITIONS: Final = 2
PROCESSES: Final = 3
WORK: Final = {
    *(Kind.DRAIN, Kind.SWEEP, Kind.RECOVER),
    *(Kind.RECONCILE, Kind.SNAPSHOT, Kind.WARN, Kind.WEBHOOK),
}
"""What workers do by themselves, and a gateway."""
PAUSES_S: Final = (0.5, 3.0, 7.0, 12.0, 25.0, 31.0, 45.0, 100.0)
DELAYS_S: Final = (0.002, 0.05, 0.5, 2.0, 4.9, 6.0, 20.0, 40.0)
STEPS_MS: Final = (-40_000, -3_000, -500, 500, 3_000, 20_000, 40_000, 130_000)
HOST_STEPS_MS: Final = (-3_600_000, -90_000, -1_000, 1_000, 90_000, 3_600_000, 0, 0)


@dataclass
class World:
    """Everything that there is in a run."""

    plan: Plan
    loop: VirtualLoop
    chance: random.Random
    trace: list[str] = field(default_factory=list)
    fired: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.auditor = Auditor(PARTITIONS)
        self.redis = Redis(PARTITIONS, self.loop.now_ms, self.auditor.changed)
        self.network = Network(self.redis, self.chance, self._heard)
        self.postgres = Postgres(
            PARTITIONS, lambda: self.chance.choice(LATENCIES_S), self.auditor.committed
        )
        self.gateway = Gateway(self.loop.now_ms, self.chance, self.auditor.asked)
        self.auditor.images, self.auditor.gateway = self.redis.images, self.gateway
        self.buyers = Buyers(self.auditor, self.note)
        self.outside = Surroundings(PARTITIONS, self.network, self.postgres, self.gateway)
        self.processes: list[Process] = []
        self.dead: list[Process] = []
        self.rebuilds: dict[int, object] = {}
        """The last rebuild of each partition, by its token."""
        self._at_work: set[object] = set()

    def note(self, what: str) -> None:
        """Add to the trace."""
        self.trace.append(f"{self.loop.time():.4f} {what}")

    def _heard(self, partition: int, script: str, raw: list[Any], knew: int) -> None:
        self.note(f"{script} {partition}: {raw[0]!r} {raw[1]}")
        self.auditor.heard(partition, script, raw, knew)

    def start(self, at: int) -> None:
        """Start a process in a place; whatever ran there is gone."""
        process = Process(f"p{len(self.dead) + len(self.processes)}", self.outside)
        if at < len(self.processes):
            self.dead.append(self.processes[at])
            self.processes[at] = process
        else:
            self.processes.append(process)

    async def run(self) -> None:
        """Carry the plan out, mend everything, and check."""
        for at in range(PROCESSES):
            self.start(at)
        for sale in SALES:
            await self.processes[0].ready
            await self.processes[0].engine.sales.put(sale)
        for event in self.plan.events:
            await asyncio.sleep(WAITS_MS[event.wait % len(WAITS_MS)] / 1000)
            self.note(repr(event))
            if self._carry_out(event):
                self.fired[event.kind] += 1
            if self.auditor.broken:
                return
        await settle(self)
        if not self.auditor.broken:
            await check_rest(self)

    def ask(self, request: Request | None, number: int) -> bool:
        """Have a request sent to a process."""
        if request is None:
            return False
        process = self.processes[number % PROCESSES]
        process.host.spawn(self.buyers.send(request, process))
        return True

    def _carry_out(self, event: Event) -> bool:
        """Do what an event says; whether it did anything."""
        who, what = event.who, event.what
        match event.kind:
            case Kind.HOLD:
                return self.ask(self.buyers.hold(who, what), who + what)
            case Kind.PAY:
                method = METHODS[what % len(METHODS)]
                return self.ask(self.buyers.about(Kind.PAY, who, method), who + what)
            case Kind.EXTEND | Kind.CANCEL | Kind.COMPLETE | Kind.REFUND:
                return self.ask(self.buyers.about(event.kind, who), what)
            case Kind.PUT:
                return self.ask(self.buyers.put(who, what), what)
            case Kind.REBUILD:
                operator = self.processes[what % PROCESSES]
                operator.host.spawn(self.guarded(lambda: self.rebuild(who % PARTITIONS, operator)))
            case Kind.AGAIN:
                asked = self.buyers.requests
                return self.ask(asked[-1 - who % len(asked)] if asked else None, what)
            case Kind.ACT:
                return self.gateway.act(who, succeeds=what > 2)
            case kind if kind in WORK:
                return self._work(event)
            case Kind.CRASH | Kind.PAUSE | Kind.HOST_CLOCK:
                return self._break_process(event)
            case Kind.LOSE_REQUEST | Kind.LOSE_REPLY:
                self.network.plan(self.processes[who % PROCESSES].host.name, event.kind, what // 2)
            case Kind.DELAY_REQUEST:
                name = self.processes[who % PROCESSES].host.name
                self.network.plan(name, event.kind, seconds=DELAYS_S[what])
            case _:
                return self._break_server(event)
        return True

    async def rebuild(self, partition: int, operator: Process) -> None:
        """Have an operator rebuild a partition, who begins again where a drain is at it."""
        for _ in range(60):
            if await rebuild(self, partition, operator):
                return
            await asyncio.sleep(0.5)

    def _work(self, event: Event) -> bool:
        """Something that a worker does by itself, at a moment of our choice."""
        process = self.processes[event.who % PROCESSES]
        spawn = process.host.spawn
        match event.kind:
            case Kind.DRAIN:
                spawn(self.guarded(lambda: process.drain.run_once(event.what % PARTITIONS)))
            case Kind.SWEEP:
                spawn(self.guarded(process.sweeper.run_once))
            case Kind.RECOVER:
                spawn(self.guarded(process.recovery.run_once))
            case Kind.WARN:
                spawn(self.guarded(process.warner.run_once))
            case Kind.SNAPSHOT:
                sale_id = SALES[event.what % len(SALES)].sale_id
                spawn(self.guarded(lambda: process.engine.sales.snapshot(sale_id)))
            case Kind.RECONCILE:
                spawn(self.guarded(process.reconciler.run_once))
            case _:
                charges = list(self.gateway.charges.values())
                if not charges:
                    return False
                charge = charges[-1 - event.what % len(charges)].payment
                reference = charge.reference
                assert reference
                event_id = f"evt_{charge.authorization_id}_{charge.status}"
                terms = (event_id, reference.attempt, charge.amount, charge.currency)
                books = process.engine.payments
                spawn(self.guarded(lambda: books.nudge(reference.booking_id, *terms)))
        return True

    async def guarded(self, work: Callable[[], object]) -> None:
        """Do a piece of a worker's work; that something is away is no news.

        One hand at a time works at a loop, as `workers.loops` has it.
        """
        loop = getattr(work, "__self__", work)
        if loop in self._at_work:
            return
        self._at_work.add(loop)
        try:
            found = work()
            assert asyncio.iscoroutine(found)
            await found
        except Exception as error:  # noqa: BLE001 - told of below, in one place
            if not isinstance(error, Fenced) and "Unavailable" not in type(error).__name__:
                self.auditor.fail(f"a worker was surprised: {error!r}")
            self.note(f"work: {type(error).__name__}")
        finally:
            self._at_work.discard(loop)

    def _break_process(self, event: Event) -> bool:
        host = self.processes[event.who % PROCESSES].host
        match event.kind:
            case Kind.CRASH:
                host.alive = False
                self.start(event.who % PROCESSES)
            case Kind.PAUSE:
                host.pause(PAUSES_S[event.what])
            case _:
                host.offset_ms[0] += HOST_STEPS_MS[event.what]
        return True

    def _break_server(self, event: Event) -> bool:
        seconds = PAUSES_S[event.what] / 4
        match event.kind:
            case Kind.REDIS_CRASH:
                self.network.crash(seconds)
            case Kind.REDIS_PAUSE:
                self.network.freeze(seconds)
            case Kind.REDIS_CLOCK:
                self.redis.offset_ms += STEPS_MS[event.what]
            case Kind.REDIS_TAIL:
                return self._lose_tail(1 + event.what)
            case Kind.REDIS_FLUSH:
                self.auditor.damaged |= set(range(PARTITIONS))
                for partition in range(PARTITIONS):
                    self.redis.put(partition, None)
                self.network.crash(1.0)
            case Kind.DATABASE_CRASH:
                self.postgres.crash(seconds)
            case Kind.COMMIT_UNKNOWN:
                self.postgres.commit_fates.append(event.what % 2 == 0)
            case Kind.DATABASE_FAILOVER:
                return self._fail_over(1 + event.what % 4)
            case _:
                undone = event.kind is Kind.GATEWAY_ERROR and event.who > 3
                self.gateway.plan(UNDONE if undone else event.kind, event.what % 3)
        return True

    def _lose_tail(self, changes: int) -> bool:
        """A replica takes over that lacks the last changes, acknowledged or not."""
        lost = False
        for _ in range(changes):
            if self.redis.history:
                partition, before = self.redis.history.pop()
                now = self.redis.images[partition]
                self.redis.images[partition] = before
                if now and before and before.state.sequence < now.state.sequence:
                    self.auditor.damaged.add(partition)
                    self.auditor.forget(partition, before.state.sequence)
                    lost = True
        self.network.crash(1.0)
        return lost

    def _fail_over(self, commits: int) -> bool:
        """PostgreSQL loses commits, all younger than what Redis keeps behind the cursor."""
        lost = self.postgres.fail_over(commits, self.loop.time() - 240)
        for partition, image in self.redis.images.items():
            if image and image.generation > self.postgres.tables[partition].generation:
                # Its rebuild is lost with them, and Redis has nothing from before it.
                self.auditor.damaged.add(partition)
        return lost > 0

    def at_rest(self) -> bool:
        """Whether nothing is left to be done."""
        if len(self.open_partitions()) < PARTITIONS:
            return False
        if self.buyers.unanswered_in(self.open_partitions()):
            return False
        for partition in self.open_partitions():
            image = self.redis.images[partition]
            assert image
            bookings = image.state.bookings.values()
            if any(is_paying(one) or one.status is Status.PENDING for one in bookings):
                return False
            if self.postgres.tables[partition].sequence != image.state.sequence:
                return False
        busy = any(process.host.busy for process in self.processes)
        return not busy and self.network.on_the_way + self.gateway.on_the_way == 0

    def open_partitions(self) -> list[int]:
        """Those that are not closed to everybody."""
        generations = {at: tables.generation for at, tables in self.postgres.tables.items()}
        return [
            at
            for at, image in self.redis.images.items()
            if image and image.fenced is None and image.generation == generations[at]
        ]

    def bookings(self) -> dict[str, Booking]:
        """All bookings of open partitions."""
        found: dict[str, Booking] = {}
        for partition in self.open_partitions():
            image = self.redis.images[partition]
            assert image
            found |= image.state.bookings
        return found
