"""Every refusal of every script has a status and a code, and the calls say that they give it."""

from __future__ import annotations

import orjson
import pytest

from api.app import OPERATIONS
from api.problems import (
    KINDS,
    Fault,
    Problem,
    code_of,
    invalid,
    problem_of,
    refusal,
)
from engine.errors import Fenced, Overloaded, Unavailable
from engine.limits import MAX_FAULT_PATH_CHARS, MAX_FAULTS_SHOWN
from engine.outcomes import Outcome
from engine.scripts import load_script

SCRIPTS = {
    "hold": ("reserve",),
    "putSale": ("put_sale",),
    "extend": ("extend", "rate_limit"),
    "cancel": ("cancel", "rate_limit"),
    "pay": ("begin_payment", "confirm_free"),
    "refund": ("refund",),
    "complete": ("complete",),
    "getBooking": ("get_booking",),
    "getSale": ("get_sale",),
    "getAvailability": ("get_sale",),
    "listSales": ("list_sales",),
}
DONE = frozenset(
    {
        *(Outcome.REPLAYED, Outcome.HELD, Outcome.EXTENDED, Outcome.CONFIRMED, Outcome.COMPLETED),
        *(Outcome.CANCELLED, Outcome.UNCHANGED, Outcome.CREATED, Outcome.UPDATED, Outcome.FOUND),
        *(Outcome.DONE, Outcome.ALLOWED, Outcome.BEGUN, Outcome.JOINED, Outcome.REFUND_BEGUN),
        # Answered as a body that does not fit the booking.
        Outcome.PAYMENT_FREE,
        # The engine brings the sale back and asks again.
        Outcome.SALE_RETIRED,
    }
)


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_calls_codes_are_those_of_its_scripts(name: str) -> None:
    (operation,) = (operation for operation in OPERATIONS if operation.name == name)
    for script in SCRIPTS[name]:
        for outcome in sorted(load_script(script).outcomes):
            if outcome in DONE:
                continue
            code = "fenced" if outcome == Outcome.FENCED else code_of(Outcome(outcome))
            assert code in operation.all_codes(), f"{script}: {outcome}"


def test_every_code_that_a_call_names_has_a_kind_and_no_name_comes_twice() -> None:
    assert {code for operation in OPERATIONS for code in operation.all_codes()} <= set(KINDS)
    names = [operation.name for operation in OPERATIONS]
    places = [(operation.method, operation.path) for operation in OPERATIONS]
    assert len(set(names)) == len(names)
    assert len(set(places)) == len(places)


@pytest.mark.parametrize(
    ("outcome", "status", "code"),
    [
        (Outcome.SOLD_OUT, 409, "sold_out"),
        (Outcome.SALE_NOT_OPEN, 409, "sale_not_open"),
        (Outcome.SALE_CLOSED, 409, "sale_closed"),
        (Outcome.CUSTOMER_LIMIT, 409, "customer_limit"),
        (Outcome.BOOKING_LIMIT, 409, "booking_limit"),
        (Outcome.HOLD_EXPIRED, 409, "hold_expired"),
        (Outcome.INVALID_STATE, 409, "invalid_state"),
        (Outcome.PAYMENT_REQUIRED, 409, "invalid_state"),
        (Outcome.CURRENCY_IN_USE, 409, "invalid_state"),
        (Outcome.CAPACITY_IN_USE, 409, "capacity_in_use"),
        (Outcome.UNKNOWN_SALE, 404, "unknown_sale"),
        (Outcome.UNKNOWN_ITEM, 404, "unknown_item"),
        (Outcome.ABSENT, 404, "not_found"),
        (Outcome.IDEMPOTENCY_KEY_REUSED, 422, "idempotency_key_reused"),
        (Outcome.RATE_LIMITED, 429, "rate_limited"),
        (Outcome.BACKLOG_FULL, 503, "overloaded"),
        (Outcome.SHED, 503, "overloaded"),
        (Outcome.DUE_BACKLOG, 503, "overloaded"),
        (Outcome.AMOUNT_TOO_LARGE, 400, "invalid_request"),
        (Outcome.SALE_IN_PAST, 400, "invalid_request"),
    ],
)
def test_an_outcome_has_its_status_and_code(outcome: Outcome, status: int, code: str) -> None:
    problem = refusal(outcome)
    assert (problem.status, problem.code) == (status, code)
    told_to_wait = b"retry-after" in dict(problem.headers)
    assert told_to_wait == (status in {429, 503})


def test_what_a_refusal_is_about_is_named() -> None:
    assert refusal(Outcome.SOLD_OUT, "seat").detail.endswith("of the item seat.")
    assert [fault.path for fault in refusal(Outcome.AMOUNT_TOO_LARGE).faults] == ["lines"]
    assert [fault.path for fault in refusal(Outcome.SALE_IN_PAST).faults] == ["closes_at"]


@pytest.mark.parametrize(
    ("wait_ms", "seconds"), [(None, b"1"), (1, b"1"), (1000, b"1"), (1001, b"2")]
)
def test_the_wait_is_told_in_whole_seconds_and_never_too_short(
    wait_ms: int | None, seconds: bytes
) -> None:
    problem = refusal(Outcome.RATE_LIMITED, retry_after_ms=wait_ms)
    assert dict(problem.headers)[b"retry-after"] == seconds


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Unavailable("redis at 10.0.0.1"), "unavailable"),
        (Overloaded("full"), "overloaded"),
        (Fenced(3, "sequence"), "fenced"),
    ],
)
def test_an_exception_of_the_engine_is_a_503_that_keeps_its_words_to_itself(
    error: Exception, code: str
) -> None:
    problem = problem_of(error)
    assert problem
    assert (problem.status, problem.code) == (503, code)
    assert b"retry-after" in dict(problem.headers)
    assert str(error).encode() not in problem.body("r")


def test_what_nobody_foresaw_is_no_problem_yet() -> None:
    assert problem_of(ValueError("x")) is None
    problem = Problem("forbidden", "No.")
    assert problem_of(problem) is problem


def test_a_problem_is_written_as_rfc_9457_has_it() -> None:
    body = orjson.loads(invalid("Wrong.", [Fault("lines.0", "required")]).body("id-1"))
    assert body == {
        "type": "urn:holdfast:problem:invalid_request",
        "title": "The request is not valid",
        "status": 400,
        "detail": "Wrong.",
        "code": "invalid_request",
        "request_id": "id-1",
        "errors": [{"path": "lines.0", "message": "required"}],
    }
    assert "errors" not in orjson.loads(Problem("forbidden", "No.").body("r"))


def test_names_that_a_caller_made_up_are_bounded_and_harmless() -> None:
    faults = [Fault("x" * 10_000, "unknown field"), Fault("4242 4242 4242 4242", "unknown field")]
    errors = orjson.loads(invalid("Wrong.", faults * MAX_FAULTS_SHOWN).body("r"))["errors"]
    assert len(errors) == MAX_FAULTS_SHOWN
    assert len(errors[0]["path"]) == MAX_FAULT_PATH_CHARS
    assert errors[1]["path"] == "?"
