"""The simulation's time and chance: an event loop that never waits, and clocks that hosts believe.

Time passes only when nobody has anything to do: then it leaps to the next timer. So an hour costs
nothing, and the same seed makes the same run. What the product asks of the machine (its clocks, its
randomness) is answered here, in one place, for as long as a run lasts.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import secrets
import selectors
import time
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Final
from unittest import mock

import structlog

START_MS: Final = 1_900_000_000_000
"""When every run begins: in the year 2030."""

host_offset_ms: ContextVar[list[int]] = ContextVar("host_offset_ms")
"""How far the clock of the host is off on which the present task runs; one cell for each host."""

_SILENT: Final = structlog.make_filtering_bound_logger(logging.CRITICAL)


class Standstill(Exception):
    """Everybody waits for somebody else."""


class _Leap(selectors.SelectSelector):
    """Instead of waiting for a descriptor, lets the time pass."""

    now_s = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise Standstill
        if timeout > 0:
            self.now_s += timeout
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose seconds last for nothing."""

    def __init__(self) -> None:
        self._leap = _Leap()
        super().__init__(self._leap)

    def time(self) -> float:
        """Seconds since the run began."""
        return self._leap.now_s

    def now_ms(self) -> int:
        """The true time."""
        return START_MS + int(self.time() * 1000)


@contextlib.contextmanager
def virtual(loop: VirtualLoop, chance: random.Random) -> Iterator[None]:
    """Answer what the product asks of the machine: times by `loop`, randomness by `chance`."""

    def time_ns() -> int:
        cell = host_offset_ms.get(None)
        return (loop.now_ms() + (cell[0] if cell else 0)) * 1_000_000

    def token_hex(count: int = 16) -> str:
        return chance.randbytes(count).hex()

    said = structlog.get_config()
    structlog.configure(wrapper_class=_SILENT)
    with contextlib.ExitStack() as stack:
        for place, name, answer in (
            (time, "monotonic", loop.time),
            (time, "time_ns", time_ns),
            (os, "urandom", chance.randbytes),
            (random, "uniform", chance.uniform),
            (secrets, "token_hex", token_hex),
        ):
            stack.enter_context(mock.patch.object(place, name, answer))
        try:
            yield
        finally:
            structlog.configure(**said)
