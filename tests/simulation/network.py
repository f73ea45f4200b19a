"""What lies between processes and Redis: requests and answers that are late, lost, or overtaken.

A request that is on its way is carried out whether or not its sender still waits, as it is when it
lies in a socket that a stopped server has not read.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Final

from engine.errors import Unavailable
from engine.journal_status import JournalStatus
from engine.scripts import Script
from tests.simulation.redis import Redis

AWAY_S: Final = 0.05
"""After that long without a connection a call fails."""

Heard = Callable[[int, str, list[Any], int], None]
"""Told of what was carried out: partition, script, answer, the last sequence its sender knew of."""


class Network:
    """Carries calls to the server."""

    def __init__(self, redis: Redis, chance: random.Random, heard: Heard) -> None:
        self.redis = redis
        self._chance = chance
        self._heard = heard
        self._in_flight: dict[asyncio.Future[Any], None] = {}
        self._down_until_s = 0.0
        self._frozen_until_s = 0.0
        self.on_the_way = 0
        """Calls that have left their process and not been carried out."""
        self.losses = 0
        """How often all connections were lost."""
        self._planned: dict[str, list[tuple[str, int, float]]] = {}
        """What happens to calls of a process: a word, how many come before, and seconds."""
        self.fired: Counter[str] = Counter()

    def plan(self, sender: str, fault: str, after: int = 0, seconds: float = 0.0) -> None:
        """Have something happen to a call of a process, some calls from now."""
        self._planned.setdefault(sender, []).append((fault, after, seconds))

    def _fault(self, sender: str) -> tuple[str, float]:
        planned = self._planned.get(sender)
        if not planned:
            return "", 0.0
        fault, after, seconds = planned.pop(0)
        if after > 0:
            planned.insert(0, (fault, after - 1, seconds))
            return "", 0.0
        self.fired[fault] += 1
        return fault, seconds

    def send(
        self,
        sender: str,
        partition: int,
        script: Script,
        args: tuple[Any, ...],
        knew: int,
    ) -> asyncio.Future[Any]:
        """Send a call; the future gets its answer, or never anything."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Any] = loop.create_future()
        if loop.time() < self._down_until_s:
            loop.call_later(AWAY_S, _fail, answer)
            return answer
        self._in_flight[answer] = None
        answer.add_done_callback(lambda done: self._in_flight.pop(done, None))
        fault, seconds = self._fault(sender)
        connection = self.losses

        def arrive() -> None:
            left_s = self._frozen_until_s - loop.time()
            if left_s > 0:
                loop.call_later(left_s, arrive)
                return
            self.on_the_way -= 1
            if connection == self.losses:
                raw = self.redis.run(partition, script, args)
                self._heard(partition, script.name, raw, knew)
                back = _fail if fault == "lose_reply" else _give
                loop.call_later(self._latency_s(), back, answer, raw)

        if fault == "lose_request":
            loop.call_later(self._latency_s(), _fail, answer)
        else:
            self.on_the_way += 1
            loop.call_later(self._latency_s() + seconds, arrive)
        return answer

    async def statuses(self, chosen: Sequence[int]) -> list[JournalStatus]:
        """Read past the scripts; raises `Unavailable`."""
        loop = asyncio.get_running_loop()
        await asyncio.sleep(self._latency_s() + max(0.0, self._frozen_until_s - loop.time()))
        if loop.time() < self._down_until_s:
            raise Unavailable("Redis: away")
        return [self.redis.status(partition) for partition in chosen]

    def crash(self, seconds: float) -> None:
        """`kill -9` of the server, which comes back with everything that it had acknowledged.

        What is on its way is lost, answers included.
        """
        loop = asyncio.get_running_loop()
        self._down_until_s = loop.time() + seconds
        self.losses += 1
        for answer in self._in_flight:
            loop.call_soon(_fail, answer)

    def freeze(self, seconds: float) -> None:
        """SIGSTOP of the server: it reads what was sent meanwhile once it goes on."""
        self._frozen_until_s = asyncio.get_running_loop().time() + seconds

    def heal(self) -> None:
        """Nothing goes wrong from now on."""
        self._down_until_s = self._frozen_until_s = 0.0
        self._planned.clear()

    def _latency_s(self) -> float:
        return self._chance.choice((0.0002, 0.0005, 0.001, 0.004))


def _fail(answer: asyncio.Future[Any], _: object = None) -> None:
    if not answer.done():
        answer.set_exception(Unavailable("Redis: connection lost"))


def _give(answer: asyncio.Future[Any], raw: list[Any]) -> None:
    if not answer.done():
        answer.set_result(raw)
