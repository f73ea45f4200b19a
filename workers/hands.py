"""Who works at the loops: arq's jobs, and this process itself whenever they do not come.

The drain and the sweep must not wait for a queue. Each tick brings a job that works for longer
than until the next one, so that one slice ends when its successor takes over, without a gap; and a
watch in every process lends its own hand to a loop that nobody has worked at for a moment: while
arq's Redis is away or slow, while arq's worker is made again, and before the first tick.

With several worker processes a tick's job goes to one of them. It leaves a note in arq's Redis, for
as long as its slice lasts, and the others then let the loop be. The note saves double work; that
two hands do no harm is the business of the work itself (the drain's cursor moves by compare and
set, a hold expires once).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import socket
from collections.abc import Iterable
from typing import Final

import structlog
from arq.connections import ArqRedis

from engine.connections import CONNECTION_LOST
from engine.limits import IDLE_GRACE_MS, SLICE_MS, WATCH_MS
from workers import metrics
from workers.loops import Loop

_log = structlog.stdlib.get_logger("holdfast.worker")

NOTE: Final = "holdfast:hand:"


class Hands:
    """The loops by name, and how they are worked at.

    Args:
        queue: arq's Redis, where the notes are read.
    """

    def __init__(self, loops: Iterable[Loop], queue: ArqRedis) -> None:
        self._loops = {loop.name: loop for loop in loops}
        self._queue = queue
        self._me = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        self._elsewhere: frozenset[str] = frozenset()
        self._stopping = asyncio.Event()

    async def job(self, name: str, redis: ArqRedis) -> None:
        """A slice for one of arq's jobs."""
        with contextlib.suppress(*CONNECTION_LOST):
            # Without the note another process may lend a hand too, that is all.
            await redis.set(NOTE + name, self._me, px=SLICE_MS)
        metrics.SLICES.labels(name, "arq").inc()
        await self._loops[name].slice(SLICE_MS / 1000)

    async def watch(self) -> None:
        """Lend this process's own hand where none comes, until `stop`."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keep_asking())
            for loop in self._loops.values():
                group.create_task(self._watch(loop))

    def stop(self) -> None:
        """End all slices after their present piece."""
        self._stopping.set()
        for loop in self._loops.values():
            loop.stop()

    async def _watch(self, loop: Loop) -> None:
        while not self._stopping.is_set():
            if loop.idle_s() < IDLE_GRACE_MS / 1000 or loop.name in self._elsewhere:
                await self._pause()
            else:
                _log.warning("works_without_arq", loop=loop.name)
                await self._work_alone(loop)
                if not self._stopping.is_set():
                    _log.info("works_with_arq_again", loop=loop.name)

    async def _work_alone(self, loop: Loop) -> None:
        """Work, slice after slice, until a job takes the loop over, here or elsewhere."""
        alone = True
        while alone:
            metrics.SLICES.labels(loop.name, "own").inc()
            used_up = await loop.slice(SLICE_MS / 1000)
            alone = used_up and loop.name not in self._elsewhere

    async def _pause(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(WATCH_MS / 1000):
                await self._stopping.wait()

    async def _keep_asking(self) -> None:
        """Keep up which loops other processes have noted that they work at.

        One question for all loops: a client makes its connections one after the other, so with a
        question for each the last one would learn after as many time-outs that the queue is frozen.
        """
        keys = [NOTE + name for name in self._loops]
        while not self._stopping.is_set():
            try:
                notes = await self._queue.mget(keys)
            except CONNECTION_LOST:
                notes = [None] * len(keys)
            self._elsewhere = frozenset(
                name
                for name, note in zip(self._loops, notes, strict=True)
                if note is not None and note.decode() != self._me
            )
            await self._pause()
