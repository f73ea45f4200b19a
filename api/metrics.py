"""What a process counts about its requests, and the text that Prometheus reads.

With `PROMETHEUS_MULTIPROC_DIR` set (as `holdfast up` does), every process of the host writes its
numbers there and any of them answers with the sums.
"""

from __future__ import annotations

import os
from functools import lru_cache

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

REQUESTS = Counter("holdfast_http_requests", "Requests answered.", ("method", "route", "status"))
PROBLEMS = Counter("holdfast_http_problems", "Requests refused, by code.", ("route", "code"))
SECONDS = Histogram(
    "holdfast_http_request_seconds",
    "From the first byte of the head to the answer's last.",
    ("route",),
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
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


@lru_cache(maxsize=4096)
def _requests(method: str, route: str, status: int) -> Counter:
    return REQUESTS.labels(method, route, status)


@lru_cache(maxsize=256)
def _seconds(route: str) -> Histogram:
    return SECONDS.labels(route)


@lru_cache(maxsize=1024)
def _outcomes(operation: str, outcome: str) -> Counter:
    return OUTCOMES.labels(operation, outcome)


def count_request(method: str, route: str, status: int, code: str, seconds: float) -> None:
    """Note an answered request. `route` is the path's template, never the path."""
    _requests(method, route, status).inc()
    _seconds(route).observe(seconds)
    if code:
        PROBLEMS.labels(route, code).inc()


def count_outcome(operation: str, outcome: str) -> None:
    """Note what came of a call on the engine."""
    _outcomes(operation, outcome).inc()


def metrics_text() -> tuple[bytes, bytes]:
    """The numbers and their content type. Reads files in multi-process mode: not on the loop."""
    registry = REGISTRY
    if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        registry = CollectorRegistry()
        MultiProcessCollector(registry)
    return generate_latest(registry), CONTENT_TYPE_LATEST.encode()
