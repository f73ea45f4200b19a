"""What a caller is told when it did not go as asked: RFC 9457 `application/problem+json`.

One table says which status each `code` has, one which code each outcome of the engine has, and
one function which exception means what. Nothing here echoes a value that the caller sent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import orjson

from api.card_numbers import holds_card_number
from engine.errors import Fenced, Overloaded, Unavailable
from engine.limits import MAX_FAULT_PATH_CHARS, MAX_FAULTS_SHOWN
from engine.outcomes import Outcome

CONTENT_TYPE: Final = b"application/problem+json"
TYPE_PREFIX: Final = "urn:holdfast:problem:"


@dataclass(frozen=True, slots=True)
class Kind:
    """A code's status and its title, which is the same each time the code is used."""

    status: int
    title: str


KINDS: Final = {
    "invalid_request": Kind(400, "The request is not valid"),
    "idempotency_key_missing": Kind(400, "An Idempotency-Key is needed"),
    "idempotency_key_invalid": Kind(400, "The Idempotency-Key is not a UUID version 4"),
    "unauthenticated": Kind(401, "A valid bearer token is needed"),
    "payment_declined": Kind(402, "The payment was declined"),
    "forbidden": Kind(403, "The token does not allow this"),
    "not_found": Kind(404, "There is no such thing"),
    "unknown_sale": Kind(404, "There is no such sale"),
    "unknown_item": Kind(404, "There is no such item"),
    "method_not_allowed": Kind(405, "This path does not take this method"),
    "request_timeout": Kind(408, "The body took too long to arrive"),
    "sold_out": Kind(409, "There is not enough left"),
    "sale_not_open": Kind(409, "The sale is not open yet"),
    "sale_closed": Kind(409, "The sale is closed"),
    "customer_limit": Kind(409, "The customer would have more than the sale allows"),
    "booking_limit": Kind(409, "More than a booking may have"),
    "hold_expired": Kind(409, "The hold has expired"),
    "invalid_state": Kind(409, "Not possible in the present state"),
    "capacity_in_use": Kind(409, "The capacity is in use"),
    "request_in_progress": Kind(409, "A request with this key is running"),
    "body_too_large": Kind(413, "The body is too large"),
    "unsupported_media_type": Kind(415, "The body must be application/json"),
    "idempotency_key_reused": Kind(422, "The Idempotency-Key came before with another request"),
    "card_number_refused": Kind(422, "Card numbers are not taken here"),
    "rate_limited": Kind(429, "Too many requests"),
    "internal_error": Kind(500, "Something went wrong here"),
    "unavailable": Kind(503, "The outcome is not known; the same request may be sent again"),
    "overloaded": Kind(503, "Nothing was tried; try again"),
    "fenced": Kind(503, "This part waits for its operator; nothing was tried"),
}


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong with a request: a dotted path (`lines.0.quantity`) and what is the matter.

    The path is the name of a field of the body, of a query parameter, of a part of the URL or of
    a header; empty for the body as a whole.
    """

    path: str
    message: str


class Problem(Exception):
    """A request ends with an error; raised anywhere below the outermost layer, sent by it."""

    def __init__(
        self,
        code: str,
        detail: str,
        *,
        faults: Sequence[Fault] = (),
        retry_after_s: int | None = None,
        headers: Sequence[tuple[bytes, bytes]] = (),
    ) -> None:
        super().__init__(code)
        self.code = code
        self.status = KINDS[code].status
        self.detail = detail
        self.faults = faults
        self.headers = list(headers)
        if retry_after_s is not None:
            self.headers.append((b"retry-after", b"%d" % max(1, retry_after_s)))

    def body(self, request_id: str) -> bytes:
        """The problem as JSON."""
        fields = {
            "type": TYPE_PREFIX + self.code,
            "title": KINDS[self.code].title,
            "status": self.status,
            "detail": self.detail,
            "code": self.code,
            "request_id": request_id,
        }
        if self.faults:
            fields["errors"] = [
                {"path": _printable(fault.path), "message": fault.message}
                for fault in self.faults[:MAX_FAULTS_SHOWN]
            ]
        return orjson.dumps(fields)


def _printable(path: str) -> str:
    """A path may carry names that the caller made up: bounded, sound UTF-8, no card number."""
    if holds_card_number(path):
        return "?"
    return path[:MAX_FAULT_PATH_CHARS].encode("utf-8", "replace").decode("utf-8")


def card_number_refused(*paths: str) -> Problem:
    """A 422 `card_number_refused`; neither logged nor repeated."""
    return Problem(
        "card_number_refused",
        "Something here looks like a payment card number. Send the gateway's token instead.",
        faults=[Fault(path, "looks like a payment card number") for path in paths],
    )


def invalid(detail: str, faults: Sequence[Fault]) -> Problem:
    """A 400 `invalid_request`."""
    return Problem("invalid_request", detail, faults=faults)


_DETAILS: Final = {
    Outcome.IDEMPOTENCY_KEY_REUSED: (
        "idempotency_key_reused",
        "The same Idempotency-Key came before with another body. Use a new key for a new request.",
    ),
    Outcome.RATE_LIMITED: ("rate_limited", "This customer sends requests faster than allowed."),
    Outcome.BACKLOG_FULL: (
        "overloaded",
        "Too many changes wait to be stored; new holds are not taken until they are.",
    ),
    Outcome.SHED: (
        "overloaded",
        "The servers are short of room; new holds are not taken until they have some.",
    ),
    Outcome.DUE_BACKLOG: (
        "overloaded",
        "Units of many expired holds are being taken back; try again at once.",
    ),
    Outcome.UNKNOWN_SALE: ("unknown_sale", "There is no sale with this id."),
    Outcome.UNKNOWN_ITEM: ("unknown_item", "The sale has no such item"),
    Outcome.ABSENT: ("not_found", "There is no booking with this id."),
    Outcome.EVICTED: ("not_found", "There is no booking with this id."),
    Outcome.SALE_NOT_OPEN: ("sale_not_open", "The sale has not opened yet."),
    Outcome.SALE_CLOSED: ("sale_closed", "The sale is closed."),
    Outcome.BOOKING_LIMIT: ("booking_limit", "More units than one booking may have of the item"),
    Outcome.CUSTOMER_LIMIT: (
        "customer_limit",
        "With what the customer holds and has bought, this is more than the sale allows.",
    ),
    Outcome.SOLD_OUT: ("sold_out", "There are not enough units left of the item"),
    Outcome.HOLD_EXPIRED: ("hold_expired", "The hold has expired and its units were given back."),
    Outcome.INVALID_STATE: ("invalid_state", "The booking's state does not allow this."),
    Outcome.PAYMENT_REQUIRED: (
        "invalid_state",
        "This booking costs money: a payment method is needed.",
    ),
    Outcome.ATTEMPTS_EXHAUSTED: (
        "invalid_state",
        "The booking has been paid for without success as often as it may be; hold anew.",
    ),
    Outcome.CAPACITY_IN_USE: (
        "capacity_in_use",
        "The capacity would be lower than what is held and sold of the item",
    ),
    Outcome.CURRENCY_IN_USE: (
        "invalid_state",
        "Units of this sale are held or sold; its currency cannot change.",
    ),
}
"""Outcome → code and detail; a detail without its full stop is completed with the item's id."""

_RETRY_AFTER_S: Final = 1
_RELIEF_S: Final = {Outcome.SHED: 5, Outcome.BACKLOG_FULL: 5}
"""What sheds new holds lasts: who comes back at once only adds to it."""

_AS_INVALID: Final = {
    Outcome.AMOUNT_TOO_LARGE: Fault("lines", "the total is more than 2^53 - 1 minor units"),
    Outcome.SALE_IN_PAST: Fault("closes_at", "lies in the past"),
}


def code_of(outcome: Outcome) -> str:
    """The code that a refusing outcome is answered with."""
    return "invalid_request" if outcome in _AS_INVALID else _DETAILS[outcome][0]


def refusal(
    outcome: Outcome, item_id: str | None = None, retry_after_ms: int | None = None
) -> Problem:
    """The problem that an outcome of the engine means.

    Args:
        item_id: the item that the outcome is about, where it is about one.
        retry_after_ms: how long to wait before the same request may succeed.

    Raises:
        KeyError: the outcome is no refusal, which is a mistake of the caller.
    """
    if fault := _AS_INVALID.get(outcome):
        return invalid("The request cannot be carried out as it stands.", [fault])
    code, detail = _DETAILS[outcome]
    if not detail.endswith("."):
        detail = f"{detail} {item_id}." if item_id else f"{detail}."
    if KINDS[code].status not in {429, 503}:
        return Problem(code, detail)
    wait_s = _RELIEF_S.get(outcome, _RETRY_AFTER_S)
    return Problem(code, detail, retry_after_s=max(wait_s, -(-(retry_after_ms or 0) // 1000)))


def problem_of(error: Exception) -> Problem | None:
    """The problem that an exception of the engine means; None for what nobody foresaw."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, Unavailable):
        return Problem(
            "unavailable",
            "A server did not answer in time, so it is not known whether this was done. "
            "The same request with the same key is safe to send again.",
            retry_after_s=_RETRY_AFTER_S,
        )
    if isinstance(error, Overloaded):
        return Problem(
            "overloaded",
            "More is asked than can be done at once; nothing was tried.",
            retry_after_s=_RETRY_AFTER_S,
        )
    if isinstance(error, Fenced):
        return Problem(
            "fenced",
            "This part of the system waits for its operator; nothing was tried.",
            retry_after_s=30,
        )
    return None
