"""Availability for many at once: one read a sale at a time, shared by everybody who waits for it.

A thousand buyers who look at one sale cost Redis twenty reads a second, not a thousand.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from functools import lru_cache

import orjson

from api.answers import show_availability
from engine.limits import MAX_SALES_REMEMBERED
from engine.types import Availability

Read = Callable[[str], Awaitable[Availability | None]]


@lru_cache(maxsize=MAX_SALES_REMEMBERED)
def etag_of(body: bytes) -> bytes:
    """The ETag of an answer: weak, because it is of the levels and not of the instant.

    An answer is one object for all who share it, and Python keeps the hash of it.
    """
    levels = body[body.index(b'"items":') :]
    return b'W/"%s"' % hashlib.blake2b(levels, digest_size=9).hexdigest().encode()


def is_current(etag: bytes, if_none_match: bytes) -> bool:
    """Whether a caller has what it asks for, by the weak comparison of RFC 9110."""
    if if_none_match == etag:
        return True
    tags = [tag.strip().removeprefix(b"W/") for tag in if_none_match.split(b",")]
    return b"*" in tags or etag.removeprefix(b"W/") in tags


class _SaleReads:
    """The reads of one sale: the last answer, the one under way, the one to come."""

    __slots__ = ("answer", "began_at", "running", "waiting")

    def __init__(self) -> None:
        self.answer: bytes | None = None
        self.began_at = -float("inf")
        """When the read began that `answer` is from (monotonic seconds)."""
        self.running: asyncio.Task[bytes | None] | None = None
        self.waiting: asyncio.Task[bytes | None] | None = None


class SharedReads:
    """Answers availability from one shared read a sale."""

    def __init__(self, read: Read, staleness_ms: int) -> None:
        self._read = read
        self._staleness_s = staleness_ms / 1000
        self._sales: OrderedDict[str, _SaleReads] = OrderedDict()

    async def get(self, sale_id: str, *, fresh: bool) -> bytes | None:
        """A sale's availability as JSON; None where there is no such sale.

        Args:
            fresh: from a read that starts after this call; without, one that started at most
                `staleness_ms` ago will do, or the one that is under way.

        Raises:
            Unavailable, Overloaded, Fenced: to everybody who shares the read.
        """
        sale = self._sales.get(sale_id)
        if sale is None:
            sale = self._sales[sale_id] = _SaleReads()
            self._forget()
        else:
            self._sales.move_to_end(sale_id)
        if not fresh and sale.answer and time.monotonic() - sale.began_at <= self._staleness_s:
            return sale.answer
        task = sale.running
        if task is None:
            task = sale.running = asyncio.create_task(self._run(sale_id, sale))
        elif fresh:
            if sale.waiting is None:
                sale.waiting = asyncio.create_task(self._run_after(sale_id, sale, task))
            task = sale.waiting
        # A caller that goes away must not take the read from the others.
        return await asyncio.shield(task)

    async def _run(self, sale_id: str, sale: _SaleReads) -> bytes | None:
        began_at = time.monotonic()
        try:
            found = await self._read(sale_id)
            sale.answer = orjson.dumps(show_availability(found)) if found else None
            sale.began_at = began_at
            return sale.answer
        finally:
            sale.running = None
            if sale.answer is None and sale.waiting is None:
                # Ids that somebody made up must not push out the sales that are looked at.
                self._sales.pop(sale_id, None)

    async def _run_after(
        self, sale_id: str, sale: _SaleReads, before: asyncio.Task[bytes | None]
    ) -> bytes | None:
        await asyncio.wait([before])
        sale.running, sale.waiting = sale.waiting, None
        return await self._run(sale_id, sale)

    def _forget(self) -> None:
        """Drop the sales that nobody asked for in the longest time, if they are idle."""
        while len(self._sales) > MAX_SALES_REMEMBERED:
            sale_id, sale = next(iter(self._sales.items()))
            if sale.running or sale.waiting:
                return
            del self._sales[sale_id]
