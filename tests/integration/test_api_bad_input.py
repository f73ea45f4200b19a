"""Every field of every body, query, header and path, wrong in every way that its schema forbids.

The wrong requests are made from `/openapi.json`, so that a field that is added is tested with it.
Each is refused with the path of its fault, and after all of them no journal has moved.
"""

from __future__ import annotations

import itertools
import json
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest
import structlog

from engine.keys import new_booking_id
from tests.helpers.api import ALL_SCOPES, Api, fresh_key, hold_body, open_api, refused
from tests.helpers.wrong import RIGHT_BODIES, wrong_bodies

CARD = "4242 4242 4242 4242"
BOOKING_ID = new_booking_id(0)

BAD_IDS = ("a%20b", "a.b", "%C3%A4", "A" * 65, "%00", "a%0A", "..%2F", "~")
PATHS = (
    ("GET", "/v1/sales/BAD", 404, "unknown_sale"),
    ("GET", "/v1/sales/BAD/availability", 404, "unknown_sale"),
    ("GET", "/v1/sales/BAD/items/A/history", 404, "unknown_sale"),
    ("GET", "/v1/sales/gig/items/BAD/history", 404, "unknown_item"),
    ("GET", "/v1/bookings/BAD", 404, "not_found"),
    ("POST", "/v1/bookings/BAD/pay", 404, "not_found"),
    ("POST", "/v1/bookings/BAD/extend", 404, "not_found"),
    ("POST", "/v1/bookings/BAD/cancel", 404, "not_found"),
    ("POST", "/v1/bookings/BAD/complete", 404, "not_found"),
    ("POST", "/v1/bookings/BAD/refund", 404, "not_found"),
    ("POST", "/v1/webhooks/BAD", 404, "not_found"),
    ("PUT", "/v1/sales/BAD", 400, "invalid_request"),
)


@pytest.fixture
async def api(redis_url: str, database_url: str, tmp_path: Path) -> AsyncIterator[Api]:
    """Nothing in it may move: each test ends with a look at the journals."""
    async with open_api(redis_url, database_url, tmp_path) as api:
        await api.put_sale()
        before = await api.sequences()
        yield api
        assert await api.sequences() == before


def operations(api: Api) -> list[tuple[str, str, Any]]:
    """Method, path with ids in it, and what the document says."""
    ids = {
        "{sale_id}": "gig",
        "{item_id}": "A",
        "{booking_id}": BOOKING_ID,
        "{gateway}": "simulator",
    }
    found = []
    for template, methods in api.contract.document["paths"].items():
        path = template
        for name, value in ids.items():
            path = path.replace(name, value)
        found += [(method.upper(), path, described) for method, described in methods.items()]
    return found


async def test_every_field_of_every_body_is_refused_with_its_path(api: Api) -> None:
    tried = 0
    for method, path, operation in operations(api):
        if "requestBody" not in operation:
            continue
        name = operation["operationId"]
        if name == "takeWebhook":
            # Signed by the gateway: nothing of it is looked at before that.
            continue
        schema = operation["requestBody"]["content"]["application/json"]["schema"]
        for fault, body in wrong_bodies(api.contract.document, schema, RIGHT_BODIES[name]):
            # The standard library's: it writes integers of any length.
            content = json.dumps(body).encode()
            answer = await api.ask(
                method,
                path,
                content=content,
                key=fresh_key(),
                scope=ALL_SCOPES,
                headers={"Content-Type": "application/json"},
            )
            assert answer.status_code == 400, f"{name} {fault}: {content!r} {answer.text}"
            refused(answer, 400, "invalid_request", fault)
            tried += 1
    assert tried > 250


async def test_every_parameter_of_every_query_is_refused_by_its_name(api: Api) -> None:
    tried = 0
    for method, path, operation in operations(api):
        options: dict[str, Any] = {"key": fresh_key(), "scope": ALL_SCOPES}
        for name in ("unheard_of", "%00", "LIMIT"):
            answer = await api.ask(method, f"{path}?{name}=1", **options)
            refused(answer, 400, "invalid_request", name.replace("%00", "\x00"))
        for parameter in operation["parameters"]:
            if parameter["in"] != "query":
                continue
            name, kind = parameter["name"], parameter["schema"]
            wrong = ["", "%00", "a%20b", "%C3%A9", "a" * 2_000]
            if kind.get("type") == "integer":
                wrong += [str(kind["minimum"] - 1), str(kind["maximum"] + 1), "1e1", "0x1", "1.0"]
            for value in wrong:
                answer = await api.ask(method, f"{path}?{name}={value}", **options)
                refused(answer, 400, "invalid_request", name)
                tried += 1
            answer = await api.ask(method, f"{path}?{name}=1&{name}=1", **options)
            refused(answer, 400, "invalid_request", name)
        refused(await api.ask(method, f"{path}?%FF", **options), 400, "invalid_request", "")
    assert tried > 50


async def test_an_id_in_a_path_that_cannot_be_one_is_not_there_or_refused(api: Api) -> None:
    for bad, (method, path, status, code) in itertools.product(BAD_IDS, PATHS):
        body = RIGHT_BODIES["putSale"] if method == "PUT" else None
        answer = await api.http.request(
            method,
            path.replace("BAD", bad),
            json=body,
            headers={**api.bearer("ann", ALL_SCOPES), "Idempotency-Key": fresh_key()},
        )
        if "%2F" in bad:
            # A slash that is spelled otherwise is a slash: there is no such path.
            refused(answer, 404, "not_found")
        else:
            refused(answer, status, code)
    refused(await api.get(f"/v1/bookings/{BOOKING_ID}"), 404, "not_found")
    refused(await api.get(f"/v1/bookings/{BOOKING_ID.lower()}"), 404, "not_found")
    refused(await api.get(f"/v1/bookings/fff{BOOKING_ID[3:]}"), 404, "not_found")


async def test_every_call_needs_a_token_with_one_of_its_scopes(api: Api) -> None:
    known = {"bookings", "bookings:any", "admin"}
    for method, path, operation in operations(api):
        uses = operation["security"]
        options: dict[str, Any] = {
            "key": fresh_key(),
            "json": RIGHT_BODIES.get(operation["operationId"]),
        }
        if operation["operationId"] == "takeWebhook":
            # Its signature is what lets it in.
            refused(await api.ask(method, path, sub=None), 400, "invalid_request")
            continue
        if not uses or {} in uses:
            assert (await api.ask(method, path, sub=None)).status_code == 200
            continue
        refused(await api.ask(method, path, sub=None, **options), 401, "unauthenticated")
        garbage = await api.ask(
            method, path, sub=None, headers={"Authorization": "Bearer x.y.z"}, **options
        )
        refused(garbage, 401, "unauthenticated")
        assert garbage.headers["www-authenticate"].startswith("Bearer")
        enough = {scope for use in uses for scope in use["bearer"]}
        for scope in (known - enough) | {"", "Admin", "bookings:all", "book ings"}:
            refused(await api.ask(method, path, scope=scope, **options), 403, "forbidden")


async def test_a_card_number_is_refused_wherever_it_is_and_is_nowhere_written(
    api: Api, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    bare = CARD.replace(" ", "")
    with structlog.testing.capture_logs() as lines:
        for path, body, fault in (
            (f"/v1/bookings/{BOOKING_ID}/pay", {"payment_method": CARD}, "payment_method"),
            (f"/v1/bookings/{BOOKING_ID}/pay", {"payment_method": f"pm_{bare}"}, "payment_method"),
            (f"/v1/bookings/{BOOKING_ID}/pay", {"card": {"number": CARD}}, "card.number"),
            (f"/v1/bookings/{BOOKING_ID}/pay", {"card": {"number": int(bare)}}, "card.number"),
            (f"/v1/bookings/{BOOKING_ID}/pay?card={bare}", {"payment_method": "x"}, "card"),
            (f"/v1/bookings/{BOOKING_ID}/cancel", {"customer_id": CARD}, "customer_id"),
            ("/v1/bookings", hold_body(contact={"email": f"{bare}@a.example"}), "contact.email"),
            ("/v1/bookings", hold_body(contact={"phone": bare}), "contact.phone"),
            ("/v1/bookings", {**hold_body(), CARD: 1}, "?"),
        ):
            answer = await api.post(path, body, key=fresh_key(), scope=ALL_SCOPES)
            refused(answer, 422, "card_number_refused", fault)
            assert CARD not in answer.text
            assert bare not in answer.text
        sale = {**RIGHT_BODIES["putSale"], "name": f"Gig {CARD}"}
        refused(
            await api.ask("PUT", "/v1/sales/gig", sale, scope=ALL_SCOPES),
            422,
            "card_number_refused",
            "name",
        )
        by_key = await api.post("/v1/bookings", hold_body(), key=bare)
        refused(by_key, 422, "card_number_refused", "Idempotency-Key")
        assert bare not in by_key.text
        await api.get(f"/v1/bookings/{bare}")
        await api.get(f"/v1/sales/{bare}?cursor={bare}&{bare}=1")
        await api.get("/v1/sales", headers={"X-Request-ID": bare})
    assert len(lines) >= 12
    written = orjson.dumps(lines).decode()
    assert CARD not in written
    assert bare not in written


async def test_what_leads_nowhere_is_a_problem_too(api: Api) -> None:
    for method, path, status, code in (
        ("GET", "/", 404, "not_found"),
        ("GET", "/v1", 404, "not_found"),
        ("GET", "/v1/sales/", 404, "not_found"),
        ("GET", "/v1/bookings/a/b/c", 404, "not_found"),
        ("DELETE", "/v1/bookings", 405, "method_not_allowed"),
        ("PATCH", "/v1/sales/gig", 405, "method_not_allowed"),
        ("BREW", "/v1/sales", 405, "method_not_allowed"),
    ):
        answer = await api.ask(method, path)
        refused(answer, status, code)
        assert ("allow" in answer.headers) == (status == 405)
        assert answer.headers["content-type"] == "application/problem+json"
