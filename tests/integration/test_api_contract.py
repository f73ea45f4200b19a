"""What `/openapi.json` says is what the server does: every call, every success, what surrounds it.

Each answer that the other tests of the API get is held against the document as well.
"""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from openapi_spec_validator import validate
from prometheus_client.parser import text_string_to_metric_families

from tests.helpers.api import ITEM, SALE, Api, hold_body, open_api
from tests.helpers.shop import ASKS_BUYER, Shop

ADMIN: dict[str, Any] = {"sub": "boss", "scope": "admin"}


@pytest.fixture
async def api(redis_url: str, database_url: str, tmp_path: Path) -> AsyncIterator[Api]:
    async with open_api(redis_url, database_url, tmp_path) as api:
        yield api


async def test_every_call_of_the_document_answers_as_it_says(shop: Shop) -> None:
    api = shop.api
    for path in ("/healthz", "/readyz", "/metrics", "/openapi.json", "/docs"):
        assert (await api.get(path, sub=None)).status_code == 200
    await api.ask("PUT", "/v1/sales/gig", {**SALE, "opens_at": "2026-01-01T00:00:00Z"}, **ADMIN)
    await api.ask("PUT", "/v1/sales/gig", {**SALE, "max_units_per_customer": 9}, **ADMIN)
    await api.put_sale("other", items=[{**ITEM, "max_per_booking": 1}])
    booking = await api.hold(contact={"email": "ann@mail.example", "phone": "+15551234567"})
    for path in (
        "/v1/sales",
        "/v1/sales?limit=1",
        "/v1/sales/gig",
        "/v1/sales/gig/availability",
        f"/v1/bookings/{booking['id']}",
        "/v1/bookings",
    ):
        assert (await api.get(path)).status_code == 200
    path = f"/v1/bookings/{booking['id']}"
    assert (await api.post(f"{path}/extend")).status_code == 200
    assert (await api.post(f"{path}/pay", key=str(uuid.uuid4()))).status_code == 200
    assert (await api.post(f"{path}/complete", **ADMIN)).status_code == 200
    await _pay(shop)
    for path in (
        "/v1/ops/backlog",
        "/v1/ops/payments/stuck",
        "/v1/reports/summary?group_by=day",
        "/v1/reports/sales/gig/sell-through",
    ):
        assert (await api.get(path, **ADMIN)).status_code == 200
    await api.drained()
    found = await api.post("/v1/ops/bookings/search", {"email": "ann@mail.example"}, **ADMIN)
    assert found.json()["bookings"][0]["id"] == booking["id"]
    await _subscribe(api)
    cancelled = await api.hold()
    assert (await api.post(f"/v1/bookings/{cancelled['id']}/cancel")).status_code == 200
    history = await api.get("/v1/sales/gig/items/A/history?limit=2", **ADMIN)
    assert history.status_code == 200

    validate(api.contract.document)
    described = {
        (operation["operationId"], status)
        for methods in api.contract.document["paths"].values()
        for operation in methods.values()
        for status in operation["responses"]
        if status.startswith("2")
    }
    assert described <= api.contract.seen


async def _subscribe(api: Api) -> None:
    """Every success of a call about webhook endpoints and deliveries."""
    hook = {"url": "https://partner.example/hook", "events": ["booking.*"]}
    made = await api.post("/v1/webhook-endpoints", hook, **ADMIN)
    path = f"/v1/webhook-endpoints/{made.json()['id']}"
    assert (await api.ask("PATCH", path, {"events": ["*"]}, **ADMIN)).status_code == 200
    sent = (await api.post(f"{path}/test", **ADMIN)).json()["id"]
    again = await api.post(f"{path}/deliveries/{sent}/redeliver", **ADMIN)
    assert again.status_code == 202
    await api.stage.pool.execute("UPDATE deliveries SET state = 'parked', ended_at = now()")
    retried = await api.post(f"/v1/ops/deliveries/{sent}/retry", **ADMIN)
    assert retried.status_code == 202
    place = {"destination": made.json()["id"]}
    assert (await api.post("/v1/ops/deliveries/retry", place, **ADMIN)).status_code == 202
    for read in ("/v1/webhook-endpoints", path, f"{path}/deliveries", "/v1/ops/deliveries"):
        assert (await api.get(read, **ADMIN)).status_code == 200
    assert (await api.ask("DELETE", path, **ADMIN)).status_code == 204


async def _pay(shop: Shop) -> None:
    """Every success of a call about money."""
    await shop.api.put_sale(items=[{**ITEM, "unit_price": 5}])
    booking = await shop.hold()
    waiting = await shop.pay(booking["id"], ASKS_BUYER)
    assert waiting.status_code == 202
    await shop.act(waiting.json())
    await shop.told()
    assert shop.webhook_of(booking["id"])[2].status_code == 200
    await shop.work()
    path = f"/v1/bookings/{booking['id']}/refund"
    assert (await shop.api.post(path, **ADMIN)).status_code == 200


async def test_what_a_get_answers_a_head_answers_too(api: Api) -> None:
    await api.put_sale()
    answer = await api.http.head("/v1/sales/gig", headers=api.bearer("ann", "bookings"))
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"


async def test_the_callers_trace_goes_into_the_journal(api: Api) -> None:
    await api.put_sale()
    trace_id = uuid.uuid4().hex
    sent = {"traceparent": f"00-{trace_id}-b7ad6b7169203331-01"}
    answer = await api.post("/v1/bookings", hold_body(), key=str(uuid.uuid4()), headers=sent)
    ours = answer.headers["traceparent"]
    assert ours.split("-")[1] == trace_id
    partition = api.stage.partition()
    journal = await api.stage.engine.journal.read(partition, 1, 10)
    assert f'"trace":"{ours}"'.encode() in journal.entries[-1].text


async def test_metrics_count_requests_by_route_and_outcomes_by_operation(api: Api) -> None:
    await api.put_sale()
    booking = await api.hold()
    await api.get(f"/v1/bookings/{booking['id']}")
    await api.post("/v1/bookings", hold_body(quantity=99), key=str(uuid.uuid4()))
    text = (await api.get("/metrics", sub=None)).text
    samples = {
        (sample.name, *sorted(sample.labels.values()))
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert ("holdfast_http_requests_total", "/v1/bookings/{booking_id}", "200", "GET") in samples
    assert ("holdfast_http_problems_total", "/v1/bookings", "sold_out") in samples
    assert ("holdfast_outcomes_total", "held", "hold") in samples
    assert booking["id"] not in text


async def test_metrics_move_to_a_port_of_their_own(
    redis_url: str, database_url: str, tmp_path: Path
) -> None:
    async with open_api(redis_url, database_url, tmp_path, metrics_port="9") as api:
        answer = await api.get("/metrics", sub=None)
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
        assert "/metrics" not in api.contract.document["paths"]
