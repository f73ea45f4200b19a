"""The simulator keeps keys as Stripe does, over lost answers, errors, restarts and kills."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from engine.payments.gateway import (
    Approved,
    Captured,
    GatewayStatus,
    Page,
    Refunded,
    Unknown,
    Voided,
)
from tests.helpers.gateways import API_KEY, Simulator, adapter, an_intent

BODY = {"amount": "500", "currency": "usd", "metadata[booking_id]": "b"}
INTENTS = "/v1/payment_intents"


class Raw:
    """Requests as the adapter would never send them."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = url

    async def post(
        self, path: str, body: dict[str, str], key: str, api_key: str = API_KEY
    ) -> tuple[int, dict[str, Any], dict[str, str]]:
        """Send a form; returns status, JSON, and headers by their lower-case names."""
        headers = {"Authorization": f"Bearer {api_key}", "Idempotency-Key": key}
        async with self._session.post(self._url + path, data=body, headers=headers) as answer:
            seen = {name.lower(): text for name, text in answer.headers.items()}
            return answer.status, await answer.json(), seen


@pytest.fixture
async def raw(simulator: Simulator) -> AsyncIterator[Raw]:
    async with aiohttp.ClientSession() as session:
        yield Raw(session, simulator.url)


async def test_the_first_answer_is_kept(raw: Raw, simulator: Simulator) -> None:
    status, first, headers = await raw.post(INTENTS, BODY, "k")
    assert status == 200
    assert "idempotent-replayed" not in headers
    again_status, again, again_headers = await raw.post(INTENTS, BODY, "k")
    assert (again_status, again) == (200, first)
    assert again_headers["idempotent-replayed"] == "true"
    assert again_headers["original-request"] == headers["request-id"]
    assert simulator.totals()["payment_intents"] == 1


async def test_a_refusal_is_kept_once_the_endpoint_had_begun(
    raw: Raw, simulator: Simulator
) -> None:
    body = BODY | {"payment_method": "pm_card_chargeDeclined", "confirm": "true"}
    for replayed in (None, "true"):
        status, answer, headers = await raw.post(INTENTS, body, "declined")
        assert status == 402
        assert answer["error"]["type"] == "card_error"
        assert answer["error"]["decline_code"] == "generic_decline"
        assert headers.get("idempotent-replayed") == replayed
    for replayed in (None, "true"):
        status, answer, headers = await raw.post(f"{INTENTS}/pi_none/cancel", {}, "missing")
        assert (status, answer["error"]["code"]) == (404, "resource_missing")
        assert headers.get("idempotent-replayed") == replayed
    assert simulator.totals()["declined"] == 1


async def test_what_does_not_validate_is_not_kept(raw: Raw) -> None:
    for bad in ({"amount": "x"}, {"amount": "0"}, {"nonsense": "1"}, {"currency": "usdollar"}):
        status, answer, _ = await raw.post(INTENTS, BODY | bad, "k")
        assert status == 400, bad
        assert answer["error"]["type"] == "invalid_request_error"
    status, answer, _ = await raw.post(INTENTS, BODY, "k", api_key="sk_test_wrong")
    assert status == 401
    status, _, headers = await raw.post(INTENTS, BODY, "k")
    assert status == 200
    assert "idempotent-replayed" not in headers


async def test_a_key_with_anything_else_is_an_error(raw: Raw, simulator: Simulator) -> None:
    await raw.post(INTENTS, BODY, "k")
    others = [
        (INTENTS, BODY | {"amount": "501"}),
        (INTENTS, BODY | {"metadata[booking_id]": "c"}),
        (INTENTS, {"amount": "500", "currency": "usd"}),
        ("/v1/refunds", BODY),
    ]
    for path, body in others:
        status, answer, _ = await raw.post(path, body, "k")
        assert status == 400, (path, body)
        assert answer["error"]["type"] == "idempotency_error"
    assert (await raw.post(INTENTS, BODY, "k"))[0] == 200
    assert simulator.totals()["payment_intents"] == 1


async def test_the_same_parameters_in_another_order_are_the_same(raw: Raw) -> None:
    await raw.post(INTENTS, BODY, "k")
    status, _, headers = await raw.post(INTENTS, dict(reversed(BODY.items())), "k")
    assert (status, headers["idempotent-replayed"]) == (200, "true")


async def test_two_requests_at_once_with_one_key_are_a_conflict(
    raw: Raw, simulator: Simulator
) -> None:
    simulator.faults(latency_ms=1_000)
    answers = await asyncio.gather(*(raw.post(INTENTS, BODY, "k") for _ in range(8)))
    assert sorted(status for status, _, _ in answers) == [200] + [409] * 7
    conflict = next(answer for status, answer, _ in answers if status == 409)
    assert conflict["error"]["code"] == "idempotency_key_in_use"
    simulator.faults(latency_ms=0)
    status, _, headers = await raw.post(INTENTS, BODY, "k")
    assert (status, headers["idempotent-replayed"]) == (200, "true")
    assert simulator.totals()["payment_intents"] == 1


async def test_a_conflict_is_unknown_to_the_adapter(simulator: Simulator) -> None:
    simulator.faults(latency_ms=1_000)
    async with adapter(simulator.url) as gateway:
        found = await asyncio.gather(*(gateway.authorize(an_intent()) for _ in range(3)))
    assert sum(isinstance(result, Approved) for result in found) == 1
    assert found.count(Unknown("idempotency_key_in_use")) == 2
    assert simulator.totals()["authorized"] == 1


async def test_a_forgotten_key_is_a_new_request(tmp_path: Path) -> None:
    simulator = Simulator(tmp_path / "short", {"KEY_LIFETIME_MS": "1"})
    with contextlib.closing(simulator):
        async with adapter(simulator.url) as gateway:
            first = await gateway.authorize(an_intent())
            await asyncio.sleep(0.01)
            second = await gateway.authorize(an_intent())
        assert isinstance(first, Approved)
        assert isinstance(second, Approved)
        assert first != second
        assert simulator.totals()["open_authorizations"] == 2


async def test_after_a_lost_answer_the_same_key_gives_the_first_answer(
    simulator: Simulator,
) -> None:
    intent = an_intent()
    async with adapter(simulator.url) as gateway:
        results: list[object] = []
        authorization_id = ""
        for step in ("authorize", "capture", "refund"):
            for lost in (1, 1, 0, 0):
                simulator.faults(lost_answer_rate=lost)
                if step == "authorize":
                    result: object = await gateway.authorize(intent)
                elif step == "capture":
                    result = await gateway.capture(intent, authorization_id)
                else:
                    result = await gateway.refund(intent.reference, authorization_id)
                assert (result == Unknown("connection")) is bool(lost)
                results.append(result)
            assert results[-1] == results[-2]
            if isinstance(results[-1], Approved):
                authorization_id = results[-1].authorization_id
    assert [type(result) for result in results[3::4]] == [Approved, Captured, Refunded]
    totals = simulator.totals()
    assert (totals["payment_intents"], totals["captured"], totals["refunded"]) == (1, 1, 1)
    assert len(simulator.charges()[0]["refunds"]) == 1


async def test_an_error_before_the_endpoint_began_is_not_kept(simulator: Simulator) -> None:
    async with adapter(simulator.url) as gateway:
        simulator.faults(error_rate=1)
        assert await gateway.authorize(an_intent()) == Unknown("http_500")
        assert simulator.totals()["payment_intents"] == 0
        simulator.faults(error_rate=0)
        assert isinstance(await gateway.authorize(an_intent()), Approved)


async def test_an_error_half_way_is_kept_and_the_payment_tells_what_happened(
    simulator: Simulator,
) -> None:
    intent = an_intent()
    async with adapter(simulator.url) as gateway:
        simulator.faults(kept_error_rate=1)
        assert await gateway.authorize(intent) == Unknown("http_500")
        simulator.faults(kept_error_rate=0)
        assert await gateway.authorize(intent) == Unknown("http_500")
        found = await gateway.find(intent.reference)
        assert isinstance(found, Page)
        (payment,) = found.payments
        assert payment.status is GatewayStatus.AUTHORIZED
        voided = await gateway.void(intent.reference, payment.authorization_id)
        assert isinstance(voided, Voided)
    assert simulator.totals()["open_authorizations"] == 0


async def test_a_search_finds_late_where_it_is_told_to(simulator: Simulator) -> None:
    intent = an_intent()
    async with adapter(simulator.url) as gateway:
        simulator.faults(search_lag_ms=3_600_000)
        approved = await gateway.authorize(intent)
        assert isinstance(approved, Approved)
        assert await gateway.find(intent.reference) == Page((), None)
        listed = await gateway.list_created(0, 1 << 42)
        assert isinstance(listed, Page)
        assert len(listed.payments) == 1
        simulator.faults(search_lag_ms=0)
        found = await gateway.find(intent.reference)
        assert found == listed


async def test_a_capture_is_not_repeated_under_another_key(simulator: Simulator) -> None:
    intent = an_intent()
    async with adapter(simulator.url) as gateway:
        approved = await gateway.authorize(intent)
        assert isinstance(approved, Approved)
        for attempt in (1, 2):
            result = await gateway.capture(an_intent(attempt=attempt), approved.authorization_id)
            assert isinstance(result, Captured)
        more = an_intent(attempt=3, amount=1251)
        # Looked at after the refusal: it is captured, with the amount that it has.
        found = await gateway.capture(more, approved.authorization_id)
        assert isinstance(found, Captured)
        assert found.amount == 1250
    assert simulator.totals()["amount_captured"] == 1250


async def test_payments_through_losses_and_errors_are_captured_once_each(
    simulator: Simulator,
) -> None:
    simulator.faults(lost_answer_rate=0.2, error_rate=0.1, latency_ms=4)
    unknown = 0

    async def pay(attempt: int) -> None:
        nonlocal unknown
        intent = an_intent(attempt=attempt)
        while not isinstance(approved := await gateway.authorize(intent), Approved):
            assert isinstance(approved, Unknown)
            unknown += 1
        authorization_id = approved.authorization_id
        while not isinstance(result := await gateway.capture(intent, authorization_id), Captured):
            assert isinstance(result, Unknown)
            unknown += 1

    async with adapter(simulator.url) as gateway:
        for begin in range(1, 301, 50):
            await asyncio.gather(*(pay(attempt) for attempt in range(begin, begin + 50)))
    totals = simulator.totals()
    assert (totals["payment_intents"], totals["captured"]) == (300, 300)
    assert totals["amount_captured"] == 300 * 1250
    assert unknown > 60, "the faults fired"
