"""The description is a sound one, and is made of what the server works with."""

from __future__ import annotations

import re
from typing import Any

import orjson
import pytest
from cryptography.fernet import Fernet
from openapi_spec_validator import validate

from api.app import OPERATIONS
from api.docs_page import DOCS_POLICY, docs_page
from api.openapi import openapi
from engine import limits
from engine.payments.limits import MAX_WEBHOOK_BYTES
from engine.settings import Settings

REPLAYED = "Idempotency-Replayed"
OPEN = {"healthz", "readyz", "metrics", "openapi", "docs", "getAvailability", "takeWebhook"}


def settings(**changes: Any) -> Settings:
    values: dict[str, Any] = {
        "redis_url": "redis://nowhere",
        "database_url": "postgresql://nowhere/x",
        "data_key": Fernet.generate_key().decode(),
        "jwks_url": "file:///nowhere",
        "jwt_issuer": "i",
        "jwt_audience": "a",
    }
    return Settings(_env_file=None, **(values | changes))


@pytest.fixture(scope="module")
def document() -> Any:
    return orjson.loads(openapi(OPERATIONS, settings(), "0.1.0"))


def operation(document: Any, name: str) -> Any:
    return next(
        described
        for methods in document["paths"].values()
        for described in methods.values()
        if described["operationId"] == name
    )


def test_it_is_openapi_3_1(document: Any) -> None:
    validate(document)
    assert document["openapi"] == "3.1.0"


def test_every_operation_is_described(document: Any) -> None:
    described = {(m, path) for path, methods in document["paths"].items() for m in methods}
    assert described == {(one.method.lower(), one.path) for one in OPERATIONS}


def test_scopes_are_those_that_are_enforced(document: Any) -> None:
    for one in OPERATIONS:
        security = operation(document, one.name)["security"]
        assert ({} in security or not security) == (one.name in OPEN), one.name
        assert {scope for use in security for scope in use.get("bearer", [])} == one.scopes


def test_availability_needs_a_token_where_a_setting_closes_it() -> None:
    closed = orjson.loads(openapi(OPERATIONS, settings(availability_public=False), "0.1.0"))
    assert {} not in operation(closed, "getAvailability")["security"]


def test_bounds_are_those_that_are_enforced(document: Any) -> None:
    schemas = document["components"]["schemas"]
    hold = schemas["Hold"]
    assert hold["additionalProperties"] is False
    assert hold["required"] == ["sale_id", "lines"]
    assert hold["properties"]["lines"]["maxItems"] == limits.MAX_LINES
    assert schemas["LineAsked"]["properties"]["quantity"] == {
        "type": "integer",
        "minimum": 1,
        "maximum": limits.MAX_QUANTITY,
    }
    assert schemas["SalePut"]["properties"]["hold_seconds"]["default"] == 300


def test_the_bounds_of_a_query_are_described_too(document: Any) -> None:
    (limit,) = (
        parameter["schema"]
        for parameter in operation(document, "listBookings")["parameters"]
        if parameter["name"] == "limit"
    )
    assert limit == {
        "type": "integer",
        "minimum": 1,
        "maximum": limits.MAX_PAGE_ROWS,
        "default": limits.DEFAULT_PAGE_ROWS,
    }


def test_every_error_of_an_operation_is_listed_with_its_status(document: Any) -> None:
    responses = operation(document, "hold")["responses"]
    assert list(responses) == sorted(responses)
    _, exact = responses["409"]["content"]["application/problem+json"]["schema"]["allOf"]
    assert exact["properties"]["code"]["enum"] == [
        "booking_limit",
        "customer_limit",
        "sale_closed",
        "sale_not_open",
        "sold_out",
    ]
    assert "Retry-After" in responses["429"]["headers"]
    assert "Idempotency-Replayed" in responses["201"]["headers"]
    key, customer = operation(document, "hold")["parameters"]
    assert (key["name"], key["required"]) == ("Idempotency-Key", True)
    assert (customer["name"], customer["required"]) == ("customer_id", False)


def test_headers_of_refusals_are_described(document: Any) -> None:
    responses = operation(document, "pay")["responses"]
    replayed = {status for status in responses if REPLAYED in responses[status]["headers"]}
    assert replayed == {"200", "402", "409"}
    for one in OPERATIONS:
        responses = operation(document, one.name)["responses"]
        assert ("401" in responses) == bool(one.scopes), one.name
        if one.scopes:
            assert "WWW-Authenticate" in responses["401"]["headers"], one.name


def test_a_body_that_is_taken_as_it_is_is_described_with_its_signature(document: Any) -> None:
    described = operation(document, "takeWebhook")
    assert described["requestBody"]["required"] is True
    assert str(MAX_WEBHOOK_BYTES) in described["requestBody"]["description"]
    (signature,) = (one for one in described["parameters"] if one["in"] == "header")
    assert (signature["name"], signature["required"]) == ("Stripe-Signature", True)


def test_metrics_are_not_described_where_they_are_served_on_another_port() -> None:
    moved = orjson.loads(openapi(OPERATIONS, settings(metrics_port=9), "0.1.0"))
    assert "/metrics" not in moved["paths"]


def test_a_query_parameter_is_never_null(document: Any) -> None:
    for parameter in operation(document, "listBookings")["parameters"]:
        assert "null" not in orjson.dumps(parameter["schema"]).decode()


def test_the_page_fetches_nothing_from_elsewhere_and_runs_only_its_own_script() -> None:
    page = docs_page().decode()
    assert not re.findall(r"""(?:src|href)\s*=\s*["']?(?:https?:)?//""", page)
    assert "innerHTML" not in page
    assert page.count("<script>") == page.count("<style>") == 1
    policy = DOCS_POLICY.decode()
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in policy
