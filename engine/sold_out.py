"""What is sold out, remembered for a moment, so that refusing costs less than selling.

A `sold_out` answer is stamped with its partition's sequence. While that has not moved, nothing was
given back: the next request for the same lines is refused without looking at the stock, all of an
event-loop tick in one script run (`lua/refuse.lua`). The script compares the stamp again, so that a
change of another process is seen at once; it looks for the key's record, because who was sold
something is to hear that and not a refusal; and it spends the customer's rate. What time
alone changes is bounded: the next deadline of the sale, and its closing, come with the answer.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

from engine.calls import Caller
from engine.errors import HoldfastError
from engine.limits import MAX_CALLS_PER_BATCH, MAX_SALES_REMEMBERED, SOLD_OUT_REMEMBERED_MS
from engine.outcomes import Outcome
from engine.types import RateLimit

KNOWN_KEY = -1


@dataclass(slots=True)
class Found:
    """That some lines of a sale cannot be had."""

    partition: int
    sale_id: str
    item_id: str
    """The item that the refusal is about."""
    stamp: tuple[int, int]
    """Generation and sequence of the partition when it was found."""
    ends_s: float
    """When time alone may change it."""
    until_s: float
    """How long it is believed before the partition is asked again."""
    waiting: list[_Asked] = field(default_factory=list)
    """Who asked in this tick."""

    def confirm(self) -> None:
        """The partition has just said so, or that nothing was appended since it did."""
        self.until_s = min(self.ends_s, time.monotonic() + SOLD_OUT_REMEMBERED_MS / 1000)


@dataclass(frozen=True, slots=True)
class _Asked:
    customer_id: str
    key: str
    rate: RateLimit | None
    answer: asyncio.Future[int | None]


class SoldOut:
    """What this process knows to be sold out."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller
        self._partitions = caller.partitions
        self._found: dict[tuple[str, str], Found] = {}
        self._sending: set[asyncio.Task[None]] = set()

    def remember(
        self,
        partition: int,
        sale_id: str,
        wanted: str,
        item_id: str,
        asked_s: float,
        sequence: int,
        lasts_ms: int,
    ) -> None:
        """Note a `sold_out` answer.

        Args:
            wanted: the lines, as they were asked for.
            asked_s: when the question was sent (monotonic): `lasts_ms` count from there at least.
            sequence: that of the partition when the script ran.
            lasts_ms: how long time alone changes nothing.
        """
        if lasts_ms <= 0:
            return
        if len(self._found) >= MAX_SALES_REMEMBERED:
            self._found.clear()
        generation, _ = self._partitions.arguments(partition)
        stamp, ends_s = (generation, sequence), asked_s + lasts_ms / 1000
        found = Found(partition, sale_id, item_id, stamp, ends_s, ends_s)
        found.confirm()
        self._found[sale_id, wanted] = found

    def find(self, sale_id: str, wanted: str) -> Found | None:
        """What is known of these lines, if that still holds."""
        found = self._found.get((sale_id, wanted))
        if found is None:
            return None
        if (
            time.monotonic() < found.until_s
            and self._partitions.arguments(found.partition) == found.stamp
        ):
            return found
        del self._found[sale_id, wanted]
        return None

    async def refuse(
        self, found: Found, customer_id: str, key: str, rate: RateLimit | None
    ) -> int | None:
        """Refuse a hold together with everybody else's of this tick.

        Returns 0 where it is refused, the ms to wait where its customer is too fast, and None where
        the stock has to be asked: the key is known, or something has changed, or Redis is away.
        """
        loop = asyncio.get_running_loop()
        asked = _Asked(customer_id, key, rate, loop.create_future())
        if not found.waiting:
            loop.call_soon(self._send_all, found)
        found.waiting.append(asked)
        return await asked.answer

    def _send_all(self, found: Found) -> None:
        waiting, found.waiting = found.waiting, []
        by_rate: dict[RateLimit | None, list[_Asked]] = {}
        for asked in waiting:
            by_rate.setdefault(asked.rate, []).append(asked)
        for rate, those in by_rate.items():
            for begin in range(0, len(those), MAX_CALLS_PER_BATCH):
                some = those[begin : begin + MAX_CALLS_PER_BATCH]
                task = asyncio.get_running_loop().create_task(self._send(found, rate, some))
                self._sending.add(task)
                task.add_done_callback(self._sending.discard)

    async def _send(self, found: Found, rate: RateLimit | None, those: list[_Asked]) -> None:
        words: list[int | None] = [None] * len(those)
        try:
            reply = await self._caller.run(
                "refuse",
                found.partition,
                found.stamp[1],
                found.sale_id,
                rate.interval_us if rate else 0,
                rate.interval_us * rate.burst if rate else 0,
                *(part for asked in those for part in (asked.customer_id, asked.key)),
            )
            if reply.outcome is Outcome.DONE:
                found.confirm()
                words = [None if word == KNOWN_KEY else word for word in reply.values[0]]
        except HoldfastError:
            # The same will be told to each by the call of its own.
            pass
        finally:
            for asked, word in zip(those, words, strict=True):
                if not asked.answer.done():
                    asked.answer.set_result(word)
