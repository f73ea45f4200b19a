"""Every field of every body, query, header and path, wrong in every way that its schema forbids.

The wrong requests are made from `/openapi.json`, so that a field that is added is tested with it.
Each is refused with the path of its fault, and after all of them no journal has moved.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
import structlog

from engine.keys import new_booking_id
from engine.limits import MAX_BODY_BYTES
from tests.helpers.api import Api, hold_body, open_api
from tests.helpers.wrong import wrong_bodies

CARD = "4242 4242 4242 4242"
BOOKING_ID = new_booking_id(0)
AT = "2999-01-01T00:00:00Z"

RIGHT: dict[str, Any] = {
    "putSale": {
        "name": "Gig",
        "opens_at": "2026-01-01T00:00:00Z",
        "closes_at": AT,
        "hold_seconds": 60,
        "max_units_per_customer": 5,
        "currency": "USD",
        "items": [
            {"id": "A", "name": "Seat", "capacity": 9, "unit_price": 1, "max_per_booking": 2}
        ],
    },
    "hold": {
        "sale_id": "gig",
        "lines": [{"item_id": "A", "quantity": 1}],
        "contact": {"email": "ann@mail.example", "phone": "+15551234567"},
        "customer_id": "ann",
    },
    "pay": {"customer_id": "ann", "payment_method": "pm_card_visa"},
    "extend": {"customer_id": "ann"},
    "cancel": {"customer_id": "ann"},
    "complete": {},
}
ALL = "bookings bookings:any admin"


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
    ids = {"{sale_id}": "gig", "{item_id}": "A", "{booking_id}": BOOKING_ID}
    found = []
    for template, methods in api.contract.document["paths"].items():
        path = template
        for name, value in ids.items():
            path = path.replace(name, value)
        found += [(method.upper(), path, described) for method, described in methods.items()]
    return found


def key() -> str:
    return str(uuid.uuid4())


def refused(answer: httpx.Response, status: int, code: str, *paths: str) -> None:
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    if paths:
        found = [fault["path"] for fault in answer.json()["errors"]]
        assert found == list(paths), answer.text


async def test_every_field_of_every_body_is_refused_with_its_path(api: Api) -> None:
    tried = 0
    for method, path, operation in operations(api):
        if "requestBody" not in operation:
            continue
        name = operation["operationId"]
        schema = operation["requestBody"]["content"]["application/json"]["schema"]
        for fault, body in wrong_bodies(api.contract.document, schema, RIGHT[name]):
            if name != "putSale" and body == {}:
                continue
            content = orjson.dumps(body) if "0" * 400 not in str(body) else str(body).encode()
            answer = await api.ask(
                method,
                path,
                content=content.replace(b"'", b'"').replace(b"None", b"null"),
                key=key(),
                scope=ALL,
                headers={"Content-Type": "application/json"},
            )
            assert answer.status_code == 400, f"{name} {fault}: {content!r} {answer.text}"
            refused(answer, 400, "invalid_request", fault)
            tried += 1
    assert tried > 250


async def test_every_parameter_of_every_query_is_refused_by_its_name(api: Api) -> None:
    tried = 0
    for method, path, operation in operations(api):
        options: dict[str, Any] = {"key": key(), "scope": ALL}
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


@pytest.mark.parametrize("bad", ["a%20b", "a.b", "%C3%A4", "A" * 65, "%00", "a%0A", "..%2F", "~"])
async def test_an_id_in_a_path_that_cannot_be_one_is_not_there_or_refused(
    api: Api, bad: str
) -> None:
    for method, path, status, code in (
        ("GET", f"/v1/sales/{bad}", 404, "unknown_sale"),
        ("GET", f"/v1/sales/{bad}/availability", 404, "unknown_sale"),
        ("GET", f"/v1/sales/{bad}/items/A/history", 404, "unknown_sale"),
        ("GET", f"/v1/sales/gig/items/{bad}/history", 404, "unknown_item"),
        ("GET", f"/v1/bookings/{bad}", 404, "not_found"),
        ("POST", f"/v1/bookings/{bad}/pay", 404, "not_found"),
        ("POST", f"/v1/bookings/{bad}/extend", 404, "not_found"),
        ("POST", f"/v1/bookings/{bad}/cancel", 404, "not_found"),
        ("POST", f"/v1/bookings/{bad}/complete", 404, "not_found"),
        ("PUT", f"/v1/sales/{bad}", 400, "invalid_request"),
    ):
        body = RIGHT["putSale"] if method == "PUT" else None
        answer = await api.http.request(
            method,
            path,
            json=body,
            headers={**api.bearer("ann", ALL), "Idempotency-Key": key()},
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
        options: dict[str, Any] = {"key": key(), "json": RIGHT.get(operation["operationId"])}
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


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (None, "idempotency_key_missing"),
        ("", "idempotency_key_invalid"),
        ("1", "idempotency_key_invalid"),
        ("f47ac10b-58cc-1372-a567-0e02b2c3d479", "idempotency_key_invalid"),  # version 1
        ("f47ac10b-58cc-7372-a567-0e02b2c3d479", "idempotency_key_invalid"),  # version 7
        ("f47ac10b-58cc-4372-c567-0e02b2c3d479", "idempotency_key_invalid"),  # another variant
        ("f47ac10b58cc4372a5670e02b2c3d479", "idempotency_key_invalid"),
        ("{f47ac10b-58cc-4372-a567-0e02b2c3d479}", "idempotency_key_invalid"),
        ("f47ac10b-58cc-4372-a567-0e02b2c3d479x", "idempotency_key_invalid"),
        ("00000000-0000-0000-0000-000000000000", "idempotency_key_invalid"),
    ],
)
async def test_a_key_that_is_no_uuid_of_version_4_is_refused(
    api: Api, sent: str | None, code: str
) -> None:
    for path, body in (("/v1/bookings", RIGHT["hold"]), (f"/v1/bookings/{BOOKING_ID}/pay", None)):
        refused(await api.post(path, body, key=sent), 400, code, "Idempotency-Key")


async def test_two_keys_are_no_key(api: Api) -> None:
    headers = [
        *api.bearer("ann", ALL).items(),
        ("Idempotency-Key", key()),
        ("Idempotency-Key", key()),
    ]
    answer = await api.http.post("/v1/bookings", json=RIGHT["hold"], headers=headers)
    refused(answer, 400, "idempotency_key_invalid")


@pytest.mark.parametrize(
    "kind",
    [
        None,
        "",
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/jsonp",
        "application/json; charset=latin-1",
        "application/json; charset=utf-16",
        "application/problem+json",
        "application/json, application/json",
    ],
)
async def test_a_body_of_another_content_type_is_refused(api: Api, kind: str | None) -> None:
    for method, path, name in (
        ("POST", "/v1/bookings", "hold"),
        ("PUT", "/v1/sales/gig", "putSale"),
        ("POST", f"/v1/bookings/{BOOKING_ID}/cancel", "cancel"),
    ):
        headers = {} if kind is None else {"Content-Type": kind}
        content = orjson.dumps(RIGHT[name])
        answer = await api.ask(method, path, content=content, headers=headers, key=key(), scope=ALL)
        refused(answer, 415, "unsupported_media_type")


@pytest.mark.parametrize(
    "kind",
    ["application/json", "Application/JSON ; charset=UTF-8", 'application/json;charset="utf-8"'],
)
async def test_json_is_taken_however_it_is_spelled(api: Api, kind: str) -> None:
    content = orjson.dumps(hold_body("nowhere"))
    answer = await api.post(
        "/v1/bookings", content=content, headers={"Content-Type": kind}, key=key()
    )
    refused(answer, 404, "unknown_sale")


async def test_a_compressed_body_is_refused(api: Api) -> None:
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    answer = await api.post("/v1/bookings", content=b"\x1f\x8b", headers=headers, key=key())
    refused(answer, 415, "unsupported_media_type")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"sale_id": "gig"',
        b'{"sale_id": "\xff"}',
        b"NaN",
        b"[" * 30_000,
        b"1" * 5_000,
        b'{"sale_id": "gig", "lines": [{"item_id": "A", "quantity": 1e2}]}',
        b'{"sale_id": "gig", "lines": [{"item_id": "A", "quantity": 1, "quantity": 1}]}',
        b'{"sale_id": "gig", "sale_id": "gig", "lines": [{"item_id": "A", "quantity": 1}]}',
        b'{"sale_id": "\\ud800", "lines": [{"item_id": "A", "quantity": 1}]}',
        b'{"__proto__": {}, "sale_id": "gig", "lines": [{"item_id": "A", "quantity": 1}]}',
    ],
)
async def test_a_body_that_is_broken_is_refused(api: Api, content: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    answer = await api.post("/v1/bookings", content=content, headers=headers, key=key())
    refused(answer, 400, "invalid_request")
    assert answer.json()["errors"]


async def test_a_body_past_64_kib_is_refused_however_it_comes(api: Api) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b'{"sale_id": "'
        for _ in range(70):
            yield b"a" * 1024

    headers = {"Content-Type": "application/json"}
    for content in (b" " * (MAX_BODY_BYTES + 1), pieces()):
        answer = await api.post("/v1/bookings", content=content, headers=headers, key=key())
        refused(answer, 413, "body_too_large")
    full = orjson.dumps(hold_body("nowhere")).ljust(MAX_BODY_BYTES)
    answer = await api.post("/v1/bookings", content=full, headers=headers, key=key())
    refused(answer, 404, "unknown_sale")


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
            (f"/v1/bookings/{BOOKING_ID}/cancel", {"customer_id": CARD}, "customer_id"),
            ("/v1/bookings", hold_body(contact={"email": f"{bare}@a.example"}), "contact.email"),
            ("/v1/bookings", hold_body(contact={"phone": bare}), "contact.phone"),
            ("/v1/bookings", {**hold_body(), CARD: 1}, "?"),
        ):
            answer = await api.post(path, body, key=key(), scope=ALL)
            refused(answer, 422, "card_number_refused", fault)
            assert CARD not in answer.text
            assert bare not in answer.text
        sale = {**RIGHT["putSale"], "name": f"Gig {CARD}"}
        refused(
            await api.ask("PUT", "/v1/sales/gig", sale, scope=ALL),
            422,
            "card_number_refused",
            "name",
        )
        await api.get(f"/v1/bookings/{bare}")
        await api.get(f"/v1/sales/{bare}?cursor={bare}&{bare}=1")
        await api.get("/v1/sales", headers={"X-Request-ID": bare})
        await api.post("/v1/bookings", hold_body(), key=bare)
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
