"""The second stage of the relay: claims what is due, has it sent, notes what became of it.

Every place has a lane of its own, and nothing waits for what is on its way: one that hangs keeps
its own lane busy and nobody else's. What was sent and not noted when a worker dies is sent again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import structlog

from engine.errors import Unavailable
from engine.limits import (
    ENDPOINTS_FRESH_MS,
    EVENTS_GATHER_MS,
    EVENTS_IDLE_MAX_MS,
    EVENTS_IDLE_MIN_MS,
    FEW_DELIVERIES,
    MAX_EXCERPT_CHARS,
    MAX_REFUSED_ATTEMPTS,
    WEBHOOK_TIMEOUT_MS,
)
from engine.tasks import end_tasks
from persistence.deliveries import Deliveries, Delivery, Ended, State, Target
from persistence.endpoints import ENDPOINT_PREFIX
from workers import metrics
from workers.lanes import Lane, back_off_s
from workers.loops import Loop
from workers.sending import Sender, Told, Verdict

_log = structlog.stdlib.get_logger("holdfast.relay")

FINAL_DELIVERIES_S: Final = 3.0
"""How long a worker that is told to stop waits for what is on its way."""
SEND_TIMEOUT_S: Final = WEBHOOK_TIMEOUT_MS / 1000 + 1.0
"""For a sender that does not end by itself."""
WEBHOOK: Final = "webhook"
_ANSWERED: Final = (Verdict.DELAYED, Verdict.REFUSED)
"""What opens a lane, though nothing has arrived."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to go on trying."""

    give_up_s: float
    """From the first attempt of an event until it is parked."""
    disable_s: float
    """From the first failure of an endpoint until it is sent nothing more."""


class Deliverer:
    """Delivers to channels, and to the webhook endpoints that there are.

    Args:
        channels: senders by the name of their place.
        webhook: makes the sender of an endpoint.
    """

    def __init__(
        self,
        deliveries: Deliveries,
        channels: Mapping[str, Sender],
        webhook: Callable[[Target], Sender],
        patience: Patience,
    ) -> None:
        self._deliveries = deliveries
        self._channels = channels
        self._webhook = webhook
        self._patience = patience
        self._senders: dict[str, Sender] = dict(channels)
        self._failing_s: dict[str, float] = {}
        self._lanes: dict[str, Lane] = {}
        self._read_s = float("-inf")
        self._tasks: set[asyncio.Task[None]] = set()
        self._ended: list[tuple[Delivery, Told]] = []
        self.loop = Loop(
            "deliver",
            self.run_once,
            idle_min_ms=EVENTS_IDLE_MIN_MS,
            idle_max_ms=EVENTS_IDLE_MAX_MS,
            few=FEW_DELIVERIES,
            gather_ms=EVENTS_GATHER_MS,
        )

    async def run_once(self) -> int:
        """Note what has ended and send what is due; answers how much of both.

        Raises `Unavailable` while PostgreSQL is away: what has ended is noted later.
        """
        noted = await self._note()
        await self._read_targets()
        now_s = time.monotonic()
        rooms = {name: self._lane(name).room(now_s) for name in self._senders}
        rooms = {name: room for name, room in rooms.items() if room > 0}
        claimed = await self._deliveries.claim(rooms) if rooms else []
        for delivery in claimed:
            lane, sender = self._lane(delivery.destination), self._senders[delivery.destination]
            lane.begun()
            task = asyncio.create_task(self._send(delivery, lane, sender))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        if self._tasks and not claimed and not noted:
            # Whatever ends first may let its subject's next event go.
            await asyncio.wait(
                self._tasks,
                timeout=EVENTS_IDLE_MAX_MS / 1000,
                return_when=asyncio.FIRST_COMPLETED,
            )
            return len(self._ended)
        return len(claimed) + noted

    async def finish(self) -> None:
        """Wait a little for what is on its way, note it, and leave the rest to its leases."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=FINAL_DELIVERIES_S)
        await end_tasks(tuple(self._tasks))
        try:
            await self._note()
        except Unavailable as error:
            _log.warning("deliveries_not_noted", error=str(error))

    def _lane(self, name: str) -> Lane:
        return self._lanes.setdefault(name, Lane())

    async def _read_targets(self) -> None:
        now_s = time.monotonic()
        if now_s - self._read_s < ENDPOINTS_FRESH_MS / 1000:
            return
        targets = await self._deliveries.targets()
        self._read_s = now_s
        self._senders = dict(self._channels)
        self._failing_s = {}
        for target in targets:
            self._senders[target.endpoint_id] = self._webhook(target)
            if target.failing_s is not None:
                self._failing_s[target.endpoint_id] = target.failing_s
        for name in [name for name in self._lanes if name not in self._senders]:
            del self._lanes[name]

    async def _send(self, delivery: Delivery, lane: Lane, sender: Sender) -> None:
        try:
            async with lane.gate, asyncio.timeout(SEND_TIMEOUT_S):
                told = await sender.send(delivery)
        except Exception as error:  # noqa: BLE001 - whatever it is, the event is not lost by it
            told = Told(Verdict.FAILED, detail=f"{type(error).__name__}: {error}")
        finally:
            lane.ended()
        self._ended.append((delivery, told))

    async def _note(self) -> int:
        """Write down what has ended."""
        ended, self._ended = self._ended, []
        if not ended:
            return 0
        try:
            await self._write(ended)
        except BaseException:
            self._ended = ended + self._ended
            raise
        for delivery, told in ended:
            self._count(delivery, told)
        return len(ended)

    async def _write(self, ended: list[tuple[Delivery, Told]]) -> None:
        now_s = time.monotonic()
        nobody = [d.delivery_id for d, told in ended if told.verdict is Verdict.NOBODY]
        rows = [self._row(d, told) for d, told in ended if told.verdict is not Verdict.NOBODY]
        await self._deliveries.finish(rows, nobody)
        # From here on only what the lanes remember, and what tells an operator.
        fails, answers = set(), set()
        for delivery, told in ended:
            name, lane = delivery.destination, self._lane(delivery.destination)
            if told.verdict is Verdict.FAILED:
                if lane.failed(now_s):
                    fails.add(name)
            elif told.verdict is Verdict.ARRIVED and (lane.arrived() or name in self._failing_s):
                answers.add(name)
                self._failing_s.pop(name, None)
            elif told.verdict in _ANSWERED:
                lane.arrived()
        if fails:
            await self._deliveries.fails(fails)
        if answers:
            await self._deliveries.answers(answers)
        for delivery, told in ended:
            await self._maybe_disable(delivery.destination, told)

    def _row(self, delivery: Delivery, told: Told) -> Ended:
        state, again_s = State.WAITING, 0.0
        match told.verdict:
            case Verdict.ARRIVED:
                state = State.DELIVERED
            case Verdict.POISONED | Verdict.GONE:
                state = State.PARKED
            case Verdict.REFUSED if delivery.attempts >= MAX_REFUSED_ATTEMPTS:
                state = State.PARKED
            case _ if delivery.tried_s >= self._patience.give_up_s:
                state = State.PARKED
            case _:
                again_s = back_off_s(delivery.attempts)
        return Ended(
            delivery.delivery_id,
            state,
            again_s,
            told.status,
            _bounded(told.detail),
            _bounded(told.excerpt),
        )

    async def _maybe_disable(self, name: str, told: Told) -> None:
        if not name.startswith(ENDPOINT_PREFIX):
            return
        reason = ""
        long_s = self._failing_s.get(name, 0.0)
        if told.verdict is Verdict.GONE:
            reason = "gone"
        elif told.verdict is Verdict.FAILED and long_s >= self._patience.disable_s:
            reason = "failing"
        if reason and await self._deliveries.disable(name, reason):
            self._read_s = float("-inf")
            metrics.ENDPOINTS_DISABLED.labels(reason).inc()
            _log.error("webhook_endpoint_disabled", endpoint_id=name, reason=reason)

    def _count(self, delivery: Delivery, told: Told) -> None:
        name = delivery.destination
        kind = WEBHOOK if name.startswith(ENDPOINT_PREFIX) else name
        match told.verdict:
            case Verdict.ARRIVED:
                ages = [told.written_ms] if told.written_ms is not None else []
                metrics.published(kind, ages)
            case Verdict.NOBODY:
                pass
            case _ if self._row(delivery, told).state is State.PARKED:
                metrics.EVENTS_PARKED.labels(kind).inc()
                _log.error(
                    "event_parked",
                    destination=name,
                    event_id=delivery.event.event_id,
                    attempts=delivery.attempts,
                    detail=told.detail,
                )
            case _:
                metrics.EVENTS_FAILED.labels(kind).inc()


def _bounded(text: str | None) -> str | None:
    # PostgreSQL's text takes everything but NUL.
    return text[:MAX_EXCERPT_CHARS].replace("\0", "\\0") if text else None
