"""What a process counts about its requests, and the text that Prometheus reads.

With `PROMETHEUS_MULTIPROC_DIR` set (as `holdfast up` does), every process of the host writes its
numbers there and any of them answers with the sums.
"""

from __future__ import annotations

import asyncio
import os
from bisect import bisect_left
from typing import Final

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector

from engine.limits import METRICS_DELAY_MS

BUCKETS_S: Final = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
)

REQUESTS = Counter("holdfast_http_requests", "Requests answered.", ("method", "route", "status"))
PROBLEMS = Counter("holdfast_http_problems", "Requests refused, by code.", ("route", "code"))
SECONDS = Histogram(
    "holdfast_http_request_seconds",
    "From the first byte of the head to the answer's last.",
    ("route",),
    buckets=BUCKETS_S,
)
IN_FLIGHT = Gauge(
    "holdfast_http_in_flight", "Requests being worked on.", multiprocess_mode="livesum"
)
OUTCOMES = Counter(
    "holdfast_outcomes", "What came of calls that change something.", ("operation", "outcome")
)


WEBHOOKS = Counter(
    "holdfast_webhooks_in", "Webhooks of the gateway, by what became of them.", ("outcome",)
)


class _Pending:
    """What was counted and is not yet in Prometheus's numbers.

    With several processes each of those is a lock and a write to a mapped file: six of them for a
    request, a tenth of what a hold costs. Here a count is an addition in a dict; the sums go over
    `METRICS_DELAY_MS` later, at the end of a tick that leaves no request in flight, and before this
    process answers /metrics.
    """

    def __init__(self) -> None:
        self.requests: dict[tuple[str, str, int, str], int] = {}
        self.seconds: dict[str, tuple[list[int], list[float]]] = {}
        """By route: how many fell into each bucket (the last has no bound), and [their sum]."""
        self.outcomes: dict[tuple[str, str], int] = {}
        self.in_flight = 0
        self._timer: asyncio.TimerHandle | None = None
        self._at_once: asyncio.Handle | None = None

    def count(self, method: str, route: str, status: int, code: str, seconds: float) -> None:
        request = (method, route, status, code)
        self.requests[request] = self.requests.get(request, 0) + 1
        found = self.seconds.get(route)
        if found is None:
            found = self.seconds[route] = [0] * (len(BUCKETS_S) + 1), [0.0]
        found[0][bisect_left(BUCKETS_S, seconds)] += 1
        found[1][0] += seconds
        if not self.in_flight:
            if self._at_once is None:
                # What needs no waiting is answered one after the other in one tick: then nothing is
                # in flight a hundred times.
                self._at_once = asyncio.get_running_loop().call_soon(self.flush)
        elif self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(METRICS_DELAY_MS / 1000, self.flush)

    def flush(self) -> None:
        for handle in (self._timer, self._at_once):
            if handle is not None:
                handle.cancel()
        self._timer = self._at_once = None
        IN_FLIGHT.set(self.in_flight)
        for (method, route, status, code), times in self.requests.items():
            REQUESTS.labels(method, route, status).inc(times)
            if code:
                PROBLEMS.labels(route, code).inc(times)
        for route, (counts, total) in self.seconds.items():
            # The client has no way to observe many at once; this is what `observe` does.
            histogram = SECONDS.labels(route)
            histogram._sum.inc(total[0])
            for bucket, times in zip(histogram._buckets, counts, strict=True):
                if times:
                    bucket.inc(times)
        for (operation, outcome), times in self.outcomes.items():
            OUTCOMES.labels(operation, outcome).inc(times)
        self.requests.clear()
        self.seconds.clear()
        self.outcomes.clear()


_pending: Final = _Pending()


def enter() -> None:
    """Note that a request is being worked on."""
    _pending.in_flight += 1


def leave(method: str, route: str, status: int, code: str, seconds: float) -> None:
    """Note an answered request. `route` is the path's template, never the path.

    Runs on the event loop, like everything here.
    """
    _pending.in_flight -= 1
    _pending.count(method, route, status, code, seconds)


def count_outcome(operation: str, outcome: str) -> None:
    """Note what came of a call on the engine."""
    noted = (operation, outcome)
    _pending.outcomes[noted] = _pending.outcomes.get(noted, 0) + 1


def flush() -> None:
    """Put what was counted into the numbers that are read."""
    _pending.flush()


async def metrics_text() -> tuple[bytes, bytes]:
    """The numbers and their content type, with everything that this process has counted."""
    flush()
    # Reads files in multi-process mode: not on the loop.
    return await asyncio.to_thread(_text)


def _text() -> tuple[bytes, bytes]:
    registry = REGISTRY
    if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        registry = CollectorRegistry()
        MultiProcessCollector(registry)
    return generate_latest(registry), CONTENT_TYPE_LATEST.encode()
