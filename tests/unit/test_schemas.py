"""Every field of every body and query has a type and a bound, and each fault has its path."""

from __future__ import annotations

from typing import Any

import pytest

from api.problems import Problem
from api.schemas import (
    Act,
    AvailabilityQuery,
    Body,
    CustomerQuery,
    HistoryQuery,
    Hold,
    NoQuery,
    Nothing,
    PageQuery,
    Pay,
    Query,
    SalePut,
    parse_body,
    parse_query,
)
from api.times import epoch_ms
from engine.times import rfc3339
from engine.types import Status

MOST = 2**53 - 1
ITEM = {"id": "A", "name": "Seat", "capacity": 10, "unit_price": 100}
SALE = {"name": "Gig", "items": [ITEM]}
HOLD = {"sale_id": "gig", "lines": [{"item_id": "A", "quantity": 1}]}


def faults(model: type[Body], value: Any) -> list[str]:
    with pytest.raises(Problem) as caught:
        parse_body(model, value)
    assert caught.value.code == "invalid_request"
    return [fault.path for fault in caught.value.faults]


def query_faults(model: type[Query], raw: bytes) -> list[str]:
    with pytest.raises(Problem) as caught:
        parse_query(model, raw)
    assert caught.value.code == "invalid_request"
    return [fault.path for fault in caught.value.faults]


def test_defaults_are_those_of_the_contract() -> None:
    sale = parse_body(SalePut, SALE)
    assert (sale.hold_seconds, sale.currency) == (300, "USD")
    assert (sale.opens_at, sale.closes_at, sale.max_units_per_customer) == (None, None, None)
    assert sale.items[0].max_per_booking is None


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("name", ["G", "G" * 200, "Ünïcödé 🎟", " a "]),
        ("opens_at", [None, "2026-11-22T10:00:00Z", "2026-11-22t10:00:00.123456789+14:00"]),
        ("closes_at", [None, "9999-12-31T23:59:59.999Z"]),
        ("hold_seconds", [1, 7 * 24 * 3600]),
        ("max_units_per_customer", [None, 1, MOST]),
        ("currency", ["EUR", "JPY", "KWD", "CLF"]),
    ],
)
def test_a_sales_fields_are_taken_up_to_their_bounds(field: str, values: list[Any]) -> None:
    for value in values:
        parse_body(SalePut, {**SALE, field: value})


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("name", ["", " ", "G" * 201, None, 1, "a\x00b", "a\nb", "\ud800", ["a"]]),
        ("opens_at", ["", "soon", 0, "2026-11-22", "2026-11-22T10:00:00", "2026-02-30T00:00:00Z"]),
        ("closes_at", ["1969-12-31T23:59:59Z", "2026-11-22 10:00:00Z", "2026-11-22T24:00:01Z"]),
        ("hold_seconds", [0, -1, 7 * 24 * 3600 + 1, "300", 1.5, 300.0, True, None]),
        ("max_units_per_customer", [0, -1, MOST + 1, "1", False]),
        ("currency", ["usd", "US", "DOLLAR", "", None, 1, "ZZZ", "XXX", "XTS", "XAU", "EUR\n"]),
        ("items", [None, [], {}, "A", [ITEM] * 0]),
        ("surprise", [1, None]),
    ],
)
def test_a_sales_fields_are_refused_past_their_bounds(field: str, values: list[Any]) -> None:
    for value in values:
        assert faults(SalePut, {**SALE, field: value}) == [field], value


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("id", ["", "a b", "a:b", "ä", "A" * 65, 1, None, "a\n"]),
        ("name", ["", 5, "x" * 201]),
        ("capacity", [-1, MOST + 1, "1", 1.0, None, True, 10**400]),
        ("unit_price", [-1, MOST + 1, "1", 0.5, None]),
        ("max_per_booking", [0, -1, MOST + 1, "1", True]),
        ("surprise", [1]),
    ],
)
def test_an_items_fields_are_refused_past_their_bounds(field: str, values: list[Any]) -> None:
    for value in values:
        sale = {**SALE, "items": [{**ITEM, "id": "ok"}, {**ITEM, field: value}]}
        assert faults(SalePut, sale) == [f"items.1.{field}"], value


def test_faults_between_fields_have_a_path_too() -> None:
    twice = [{**ITEM, "id": name} for name in ("A", "B", "A", "A")]
    at = "2026-11-22T10:00:00Z"
    assert faults(SalePut, {**SALE, "items": twice}) == ["items.2.id", "items.3.id"]
    assert faults(SalePut, {**SALE, "opens_at": at, "closes_at": at}) == ["closes_at"]


def test_every_fault_is_named_at_once() -> None:
    wrong = {"sale_id": "", "lines": [{"item_id": "A"}, {"quantity": 0, "x": 1}, 5], "y": 1}
    assert faults(Hold, wrong) == [
        "sale_id",
        "lines.0.quantity",
        "lines.1.item_id",
        "lines.1.quantity",
        "lines.1.x",
        "lines.2",
        "y",
    ]


@pytest.mark.parametrize(
    ("wrong", "paths"),
    [
        ({"sale_id": None}, ["sale_id"]),
        ({"lines": []}, ["lines"]),
        ({"lines": [{"item_id": "A", "quantity": 1}] * 51}, ["lines"]),
        ({"lines": [{"item_id": "A", "quantity": 0}]}, ["lines.0.quantity"]),
        ({"lines": [{"item_id": "A", "quantity": 1001}]}, ["lines.0.quantity"]),
        ({"lines": [{"item_id": "A", "quantity": "1"}]}, ["lines.0.quantity"]),
        ({"lines": [{"item_id": "a/b", "quantity": 1}]}, ["lines.0.item_id"]),
        ({"contact": "me"}, ["contact"]),
        ({"contact": {"email": "nobody"}}, ["contact.email"]),
        ({"contact": {"email": "a@b@c.example"}}, ["contact.email"]),
        ({"contact": {"email": "a@b.example\nBcc: c@d.example"}}, ["contact.email"]),
        ({"contact": {"email": f"{'a' * 64}@{'b' * 190}"}}, ["contact.email"]),
        ({"contact": {"phone": "call me"}}, ["contact.phone"]),
        ({"contact": {"phone": "+1"}}, ["contact.phone"]),
        ({"contact": {"phone": 15551234567}}, ["contact.phone"]),
        ({"contact": {"fax": "1"}}, ["contact.fax"]),
        ({"customer_id": ""}, ["customer_id"]),
    ],
)
def test_a_hold_is_refused_with_the_path_of_its_fault(wrong: Any, paths: list[str]) -> None:
    assert faults(Hold, {**HOLD, **wrong}) == paths


@pytest.mark.parametrize("value", [None, [], "x", 1, True])
@pytest.mark.parametrize("model", [SalePut, Hold, Act, Pay, Nothing])
def test_a_body_that_is_no_object_is_refused_as_a_whole(model: type[Body], value: Any) -> None:
    assert faults(model, value) == [""]


def test_contacts_are_taken_as_people_write_them() -> None:
    for phone in ("+15551234567", "+49 30 123456", "(030) 123-456", "030 12.34.56"):
        parse_body(Hold, {**HOLD, "contact": {"email": "ann+x@mail.example", "phone": phone}})
    parse_body(Hold, {**HOLD, "contact": {}})
    parse_body(Hold, {**HOLD, "contact": None})


def test_what_cannot_be_printed_is_refused_all_the_same() -> None:
    with pytest.raises(Problem) as caught:
        parse_body(Act, {"\ud800" + "x" * 1000: 1})
    assert b'"errors"' in caught.value.body("r")


@pytest.mark.parametrize(
    ("model", "raw", "paths"),
    [
        (NoQuery, b"x=1", ["x"]),
        (PageQuery, b"limit=0", ["limit"]),
        (PageQuery, b"limit=201", ["limit"]),
        (PageQuery, b"limit=-1", ["limit"]),
        (PageQuery, b"limit=%2B5", ["limit"]),
        (PageQuery, b"limit=1_0", ["limit"]),
        (PageQuery, b"limit=%D9%A3", ["limit"]),
        (PageQuery, b"limit=5.0", ["limit"]),
        (PageQuery, b"limit=", ["limit"]),
        (PageQuery, b"limit=1&limit=2", ["limit"]),
        (PageQuery, b"cursor=", ["cursor"]),
        (PageQuery, b"cursor=" + b"a" * 513, ["cursor"]),
        (PageQuery, b"cursor=a%00b", ["cursor"]),
        (HistoryQuery, b"status=pending", ["status"]),
        (HistoryQuery, b"sale_id=a%20b&customer_id=", ["sale_id", "customer_id"]),
        (AvailabilityQuery, b"fresh=yes", ["fresh"]),
        (AvailabilityQuery, b"fresh=1&old=1", ["old"]),
        (CustomerQuery, b"customer_id=%FF", [""]),
        (CustomerQuery, b"&&", [""]),
        (CustomerQuery, b"customer_id", [""]),
        (CustomerQuery, b"x=" + b"a" * 5_000, [""]),
    ],
)
def test_a_query_is_refused_with_the_name_of_what_is_wrong(
    model: type[Query], raw: bytes, paths: list[str]
) -> None:
    assert query_faults(model, raw) == paths


def test_a_query_is_read() -> None:
    query = parse_query(HistoryQuery, b"limit=200&status=PENDING&sale_id=gig&cursor=abc")
    assert (query.limit, query.status, query.sale_id) == (200, Status.PENDING, "gig")
    assert parse_query(PageQuery, b"").limit == 50


def test_times_come_back_to_the_millisecond() -> None:
    for text, ms in (
        ("1970-01-01T00:00:00.001Z", 1),
        ("2026-11-22T10:00:00.000Z", 1_795_341_600_000),
        ("9999-12-31T23:59:59.999Z", 253_402_300_799_999),
    ):
        assert epoch_ms(text) == ms
        assert rfc3339(ms) == text
    assert epoch_ms("2026-11-22t12:00:00.9999+02:00") == 1_795_341_600_999
