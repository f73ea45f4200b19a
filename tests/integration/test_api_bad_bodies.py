"""Keys, content types and bodies that are wrong as a whole, before a field is looked at."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from pathlib import Path

import orjson
import pytest

from engine.keys import new_booking_id
from engine.limits import MAX_BODY_BYTES
from tests.helpers.api import ALL_SCOPES, Api, fresh_key, hold_body, open_api, refused
from tests.helpers.wrong import RIGHT_BODIES

BOOKING_ID = new_booking_id(0)
CALLS = (
    ("POST", "/v1/bookings", "hold"),
    ("PUT", "/v1/sales/gig", "putSale"),
    ("POST", f"/v1/bookings/{BOOKING_ID}/cancel", "cancel"),
)
NO_KEYS = (
    "",
    "1",
    "f47ac10b-58cc-1372-a567-0e02b2c3d479",  # version 1
    "f47ac10b-58cc-7372-a567-0e02b2c3d479",  # version 7
    "f47ac10b-58cc-4372-c567-0e02b2c3d479",  # another variant
    "f47ac10b58cc4372a5670e02b2c3d479",
    "{f47ac10b-58cc-4372-a567-0e02b2c3d479}",
    "f47ac10b-58cc-4372-a567-0e02b2c3d479x",
    "00000000-0000-0000-0000-000000000000",
)
OTHER_TYPES = (
    None,
    "",
    "text/plain",
    "application/x-www-form-urlencoded",
    "application/jsonp",
    "application/json; charset=latin-1",
    "application/json; charset=utf-16",
    "application/problem+json",
    "application/json, application/json",
)
BROKEN = (
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
)


@pytest.fixture
async def api(redis_url: str, database_url: str, tmp_path: Path) -> AsyncIterator[Api]:
    """Nothing in it may move: each test ends with a look at the journals."""
    async with open_api(redis_url, database_url, tmp_path) as api:
        await api.put_sale()
        before = await api.sequences()
        yield api
        assert await api.sequences() == before


async def test_a_key_that_is_no_uuid_of_version_4_is_refused(api: Api) -> None:
    for path, body in (
        ("/v1/bookings", RIGHT_BODIES["hold"]),
        (f"/v1/bookings/{BOOKING_ID}/pay", None),
    ):
        missing = await api.post(path, body)
        refused(missing, 400, "idempotency_key_missing", "Idempotency-Key")
        for sent in NO_KEYS:
            answer = await api.post(path, body, key=sent)
            refused(answer, 400, "idempotency_key_invalid", "Idempotency-Key")


async def test_two_keys_are_no_key(api: Api) -> None:
    headers = [
        *api.bearer("ann", ALL_SCOPES).items(),
        ("Idempotency-Key", fresh_key()),
        ("Idempotency-Key", fresh_key()),
    ]
    answer = await api.http.post("/v1/bookings", json=RIGHT_BODIES["hold"], headers=headers)
    refused(answer, 400, "idempotency_key_invalid")


async def test_a_body_of_another_content_type_is_refused(api: Api) -> None:
    for kind, (method, path, name) in itertools.product(OTHER_TYPES, CALLS):
        answer = await api.ask(
            method,
            path,
            content=orjson.dumps(RIGHT_BODIES[name]),
            headers={} if kind is None else {"Content-Type": kind},
            key=fresh_key(),
            scope=ALL_SCOPES,
        )
        refused(answer, 415, "unsupported_media_type")


async def test_json_is_taken_however_it_is_spelled(api: Api) -> None:
    content = orjson.dumps(hold_body("nowhere"))
    for kind in (
        "application/json",
        "Application/JSON ; charset=UTF-8",
        'application/json;charset="utf-8"',
    ):
        headers = {"Content-Type": kind}
        answer = await api.post("/v1/bookings", content=content, headers=headers, key=fresh_key())
        refused(answer, 404, "unknown_sale")


async def test_a_compressed_body_is_refused(api: Api) -> None:
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    answer = await api.post("/v1/bookings", content=b"\x1f\x8b", headers=headers, key=fresh_key())
    refused(answer, 415, "unsupported_media_type")


async def test_a_body_that_is_broken_is_refused(api: Api) -> None:
    headers = {"Content-Type": "application/json"}
    for content in BROKEN:
        answer = await api.post("/v1/bookings", content=content, headers=headers, key=fresh_key())
        refused(answer, 400, "invalid_request")
        assert answer.json()["errors"]


async def test_a_body_past_64_kib_is_refused_however_it_comes(api: Api) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b'{"sale_id": "'
        for _ in range(70):
            yield b"a" * 1024

    headers = {"Content-Type": "application/json"}
    for content in (b" " * (MAX_BODY_BYTES + 1), pieces()):
        answer = await api.post("/v1/bookings", content=content, headers=headers, key=fresh_key())
        refused(answer, 413, "body_too_large")
    full = orjson.dumps(hold_body("nowhere")).ljust(MAX_BODY_BYTES)
    answer = await api.post("/v1/bookings", content=full, headers=headers, key=fresh_key())
    refused(answer, 404, "unknown_sale")
