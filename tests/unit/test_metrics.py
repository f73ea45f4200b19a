"""What a process counts: nothing is lost, and what is late is late by little."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator

import pytest

from api import metrics


@pytest.fixture(autouse=True)
def nothing_pending() -> Iterator[None]:
    metrics.flush()
    yield
    metrics.flush()


def value(text: str, name: str, **labels: str) -> float:
    wanted = {f'{label}="{text}"' for label, text in labels.items()}
    for line in text.splitlines():
        found = re.fullmatch(rf"{name}(?:\{{(.*)\}})? (\S+)", line)
        if found and wanted <= set((found[1] or "").split(",")):
            return float(found[2])
    return 0.0


def now() -> str:
    """The numbers, without what is pending."""
    return metrics._text()[0].decode()


async def test_a_count_is_there_after_a_tick_where_nothing_else_is_in_flight() -> None:
    metrics.enter()
    metrics.count_outcome("test_once", "held")
    metrics.leave("GET", "/once", 200, "", 0.002)
    await asyncio.sleep(0)
    assert value(now(), "holdfast_http_requests_total", route="/once", status="200") == 1
    assert value(now(), "holdfast_outcomes_total", operation="test_once") == 1


async def test_what_is_answered_in_one_tick_goes_over_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    written: list[float] = []
    monkeypatch.setattr(metrics.IN_FLIGHT, "set", written.append)
    for _ in range(100):
        metrics.enter()
        metrics.leave("GET", "/together", 200, "", 0.002)
    await asyncio.sleep(0)
    assert written == [0]
    assert value(now(), "holdfast_http_requests_total", route="/together", status="200") == 100


async def test_under_load_a_count_is_late_by_little_and_whole() -> None:
    metrics.enter()
    for seconds in (0.0005, 0.001, 0.002, 100.0):
        metrics.enter()
        metrics.leave("GET", "/late", 409, "sold_out", seconds)
    assert value(now(), "holdfast_http_requests_total", route="/late") == 0
    await asyncio.sleep(0.3)
    text = now()
    assert value(text, "holdfast_http_requests_total", route="/late", status="409") == 4
    assert value(text, "holdfast_http_problems_total", route="/late", code="sold_out") == 4
    bucket = "holdfast_http_request_seconds_bucket"
    assert value(text, bucket, route="/late", le="0.001") == 2
    assert value(text, bucket, route="/late", le="0.0025") == 3
    assert value(text, bucket, route="/late", le="10.0") == 3
    assert value(text, bucket, route="/late", le="+Inf") == 4
    assert value(text, "holdfast_http_request_seconds_count", route="/late") == 4
    assert value(text, "holdfast_http_request_seconds_sum", route="/late") == pytest.approx(
        100.0035
    )
    assert value(text, "holdfast_http_in_flight") == 1
    metrics.leave("GET", "/late", 200, "", 0.1)
    await asyncio.sleep(0)
    assert value(now(), "holdfast_http_in_flight") == 0


async def test_who_answers_for_the_numbers_puts_its_own_in_first() -> None:
    metrics.enter()
    metrics.enter()
    metrics.leave("GET", "/asked", 200, "", 0.1)
    text, _ = await metrics.metrics_text()
    assert value(text.decode(), "holdfast_http_requests_total", route="/asked") == 1
    metrics.leave("GET", "/asked", 200, "", 0.1)
