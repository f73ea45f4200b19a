"""Reports over HTTP: what happened to real bookings and payments, as JSON and as a table."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from api.times import epoch_ms
from engine.times import rfc3339
from tests.helpers.api import ITEM, Api, open_api, refused
from tests.helpers.shop import DECLINED, OPERATOR, PRICE, Shop
from tests.helpers.stage import eventually

SUMMARY = "/v1/reports/summary"
DAY_MS = 86_400_000


@pytest.fixture
async def api(redis_url: str, database_url: str, tmp_path: Path) -> AsyncIterator[Api]:
    async with open_api(redis_url, database_url, tmp_path) as api:
        yield api


async def report(api: Api, query: str = "", path: str = SUMMARY) -> Any:
    await api.drained()
    answer = await api.get(f"{path}{query}", **OPERATOR)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def table(api: Api, path: str) -> list[dict[str, str]]:
    await api.drained()
    answer = await api.get(path, headers={"Accept": "text/csv"}, **OPERATOR)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["content-disposition"].startswith('attachment; filename="')
    assert answer.content.endswith(b"\r\n")
    return list(csv.DictReader(io.StringIO(answer.text, newline="")))


async def test_a_summary_has_what_happened_to_bookings_and_money(shop: Shop) -> None:
    before_ms = time.time_ns() // 1_000_000
    await shop.paid()
    await shop.paid()
    given_back = await shop.paid()
    await shop.api.post(f"/v1/bookings/{given_back['id']}/cancel")
    used = await shop.paid()
    await shop.api.post(f"/v1/bookings/{used['id']}/complete", **OPERATOR)
    left = await shop.hold()
    await shop.pay(left["id"], DECLINED)
    await shop.api.post(f"/v1/bookings/{left['id']}/cancel")
    await shop.work()
    assert (await shop.read(given_back["id"]))["payment"]["status"] == "REFUNDED"

    found = await report(shop.api, "?sale_id=gig")
    (row,) = found["rows"]
    to_pay_s = row.pop("average_time_to_pay_s")
    assert row == {
        "day": None,
        "sale_id": "gig",
        "currency": "USD",
        "bookings": {
            "created": 5,
            "confirmed": 4,
            "cancelled": 2,
            "expired": 0,
            "completed": 1,
        },
        "booking_success_rate": 0.8,
        "payments": {"authorized": 4, "captured": 4, "declined": 1, "refunded": 1},
        "payment_success_rate": 0.8,
        "revenue": 3 * PRICE,
        "captured_amount": 4 * PRICE,
        "returned_amount": PRICE,
    }
    assert 0 < to_pay_s < 60
    assert (found["from"], found["to"]) == (None, None)
    assert before_ms <= epoch_ms(found["as_of"]) <= time.time_ns() // 1_000_000

    for group_by, key in (("day", "day"), ("sale", "sale_id")):
        (grouped,) = (await report(shop.api, f"?group_by={group_by}"))["rows"]
        assert grouped["bookings"] == row["bookings"]
        assert grouped[key]
    (line,) = await table(shop.api, f"{SUMMARY}?group_by=day")
    assert (line["created"], line["revenue"], line["booking_success_rate"]) == ("5", "750", "0.8")
    assert (line["day"], line["sale_id"]) == (rfc3339(before_ms)[:10], "")

    course = await report(shop.api, path="/v1/reports/sales/gig/sell-through")
    assert course["points"][-1]["sold"] == 3
    assert course["points"][-1]["sell_through"] == 0.3


async def test_free_bookings_are_confirmed_and_worth_nothing(api: Api) -> None:
    await api.put_sale()
    await api.pay((await api.hold())["id"])
    await api.hold()
    (row,) = (await report(api))["rows"]
    assert (row["bookings"]["created"], row["bookings"]["confirmed"]) == (2, 1)
    assert (row["booking_success_rate"], row["payment_success_rate"]) == (0.5, None)
    assert (row["revenue"], row["average_time_to_pay_s"]) == (0, None)


async def test_a_report_says_from_when_on_it_may_lack_something(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    await api.put_sale()
    await api.drained()
    drain = api.stage.drain

    async def hang(_partition: int) -> int:
        return 0

    async def rests() -> bool:
        return not drain._busy

    with monkeypatch.context() as patched:
        patched.setattr(drain, "run_once", hang)
        await eventually(rests, "no drain is at it")
        booking = await api.hold()
        answer = await api.get(SUMMARY, **OPERATOR)
    assert answer.json()["rows"] == []
    assert epoch_ms(answer.json()["as_of"]) <= epoch_ms(booking["created_at"])
    found = await report(api)
    assert found["rows"][0]["bookings"]["created"] == 1
    assert epoch_ms(found["as_of"]) > epoch_ms(booking["created_at"])
    # While Redis is away: what PostgreSQL has, and when it last took something over.
    api.app.state.parts.opened = None
    answer = await api.get(SUMMARY, **OPERATOR)
    assert answer.json()["rows"] == found["rows"]
    drained_ms = await api.app.state.parts.reports.drained_ms()
    assert epoch_ms(answer.json()["as_of"]) == drained_ms >= epoch_ms(booking["created_at"])


async def test_rows_are_by_day_by_sale_and_by_currency(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    for sale_id, currency in (("a", "USD"), ("b", "EUR"), ("c", "USD")):
        await api.put_sale(sale_id, currency=currency)
        await api.hold(sale_id)
    rows = (await report(api))["rows"]
    assert [(row["currency"], row["bookings"]["created"]) for row in rows] == [
        ("EUR", 1),
        ("USD", 2),
    ]
    rows = (await report(api, "?group_by=sale"))["rows"]
    assert [(row["sale_id"], row["currency"]) for row in rows] == [
        ("a", "USD"),
        ("b", "EUR"),
        ("c", "USD"),
    ]
    rows = (await report(api, "?group_by=day"))["rows"]
    assert [row["currency"] for row in rows] == ["EUR", "USD"]
    monkeypatch.setattr("api.routes_reports.MAX_REPORT_ROWS", 2)
    assert len((await report(api, "?group_by=day"))["rows"]) == 2
    refused(await api.get(f"{SUMMARY}?group_by=sale", **OPERATOR), 400, "invalid_request")


async def test_a_report_has_whole_days_and_says_which(api: Api) -> None:
    await api.put_sale()
    booking = await api.hold()
    day = booking["created_at"][:10]
    midnight_ms = epoch_ms(f"{day}T00:00:00Z")
    after, before = rfc3339(midnight_ms + DAY_MS), rfc3339(midnight_ms - DAY_MS)
    for query, created in (
        (f"?from={day}&to={day}", 1),
        (f"?from={booking['created_at']}", 1),
        (f"?to={booking['created_at']}", 1),
        (f"?from={day}T00:00:00Z&to={after}", 1),
        (f"?from={before[:10]}", 1),
        (f"?from={after[:10]}", 0),
        (f"?from={after}", 0),
        (f"?to={before[:10]}", 0),
        (f"?to={day}T00:00:00Z", 0),
    ):
        rows = (await report(api, query))["rows"]
        assert sum(row["bookings"]["created"] for row in rows) == created, query
    found = await report(api, f"?from={before}&to={after}")
    assert (found["from"], found["to"]) == (before[:10], day)


async def test_a_course_goes_from_the_first_unit_sold_to_the_last_change(api: Api) -> None:
    await api.put_sale(items=[{**ITEM, "capacity": 4}])
    path = "/v1/reports/sales/gig/sell-through"
    assert (await report(api, path=path))["points"] == []
    await api.pay((await api.hold(quantity=1))["id"])
    await api.put_sale(items=[{**ITEM, "capacity": 2}])
    found = await report(api, path=path)
    assert (found["sale_id"], found["interval_s"]) == ("gig", 10)
    first, last = found["points"][0], found["points"][-1]
    assert (first["sold"], last["sold"], last["capacity"], last["sell_through"]) == (0, 1, 2, 0.5)
    lines = await table(api, path)
    assert [line["at"] for line in lines] == [point["at"] for point in found["points"]]
    assert lines[-1]["sell_through"] == "0.5"
    unknown = await api.get("/v1/reports/sales/nowhere/sell-through", **OPERATOR)
    refused(unknown, 404, "unknown_sale")


async def test_reports_are_for_administrators_and_refuse_what_they_do_not_know(api: Api) -> None:
    for path in (SUMMARY, "/v1/reports/sales/gig/sell-through"):
        refused(await api.get(path, sub=None), 401, "unauthenticated")
        for scope in ("bookings", "bookings:any"):
            refused(await api.get(path, scope=scope), 403, "forbidden")
    for query, path in (
        ("from=yesterday", "from"),
        ("from=2026-02-30", "from"),
        ("from=2026-11-22T10:00:00", "from"),
        ("to=1969-12-31", "to"),
        ("to=20261122", "to"),
        ("from=2026-11-22&to=2026-11-21", "to"),
        ("from=2026-11-22T10:00:00Z&to=2026-11-22T00:00:00Z", "to"),
        ("group_by=customer", "group_by"),
        ("group_by=", "group_by"),
        ("sale_id=no%20id", "sale_id"),
        ("from_=2026-11-22", "from_"),
        ("limit=1", "limit"),
    ):
        refused(await api.get(f"{SUMMARY}?{query}", **OPERATOR), 400, "invalid_request", path)
    course = "/v1/reports/sales/gig/sell-through?from=2026-11-22"
    refused(await api.get(course, **OPERATOR), 400, "invalid_request", "from")
