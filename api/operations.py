"""An operation: one method on one path, and everything about it that can be declared.

The same declaration routes, authorises, validates and documents, so that these cannot disagree.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from api.call import ADMIN, BOOKINGS, BOOKINGS_ANY, Call, Reply
from api.problems import Fault, Problem, invalid
from api.schemas import Body, NoQuery, Query
from api.streaming import Stream
from engine import limits
from engine.settings import Settings

Handler = Callable[[Call], Awaitable[Reply | Stream]]

ANYBODY: Final[frozenset[str]] = frozenset()
"""No token is needed."""
CUSTOMERS: Final = frozenset({BOOKINGS, BOOKINGS_ANY})
ADMINS: Final = frozenset({ADMIN})
ALL_SCOPES: Final = CUSTOMERS | ADMINS


@dataclass(frozen=True, slots=True)
class PathId:
    """An id in a path, and what is answered where it is not one."""

    pattern: str
    code: str
    """`invalid_request`, or the code for something that is not there."""
    about: str

    def refuse(self, name: str) -> Problem:
        """The problem of a path whose id cannot be one."""
        if self.code == "invalid_request":
            return invalid(
                "The path is not as this call takes it.",
                [Fault(name, f"should match {self.pattern}")],
            )
        return Problem(self.code, f"Nothing has this {name}.")


SALE: Final = PathId(limits.ID_PATTERN, "unknown_sale", "The sale's id.")
NEW_SALE: Final = PathId(limits.ID_PATTERN, "invalid_request", "The sale's id.")
ITEM: Final = PathId(limits.ID_PATTERN, "unknown_item", "The item's id.")
GATEWAY: Final = PathId(r"^[a-z]{1,32}$", "not_found", "The gateway's name.")
ENDPOINT: Final = PathId(r"^whe_[0-9a-f]{24}$", "not_found", "The webhook endpoint's id.")
DELIVERY: Final = PathId(r"^[1-9][0-9]{0,14}$", "not_found", "The delivery's id.")
BOOKING: Final = PathId(limits.BOOKING_ID_PATTERN, "not_found", "The booking's id.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """A successful status: what it means, the body's shape, the headers that may come along.

    `shape` None is an answer without a body.
    """

    about: str
    shape: Any
    """None for an answer without a body."""
    headers: Mapping[str, str] | None = None
    content_type: str = "application/json"
    csv: bool = False
    """Whether it is a table with `Accept: text/csv`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One method on one path."""

    name: str
    method: str
    path: str
    tag: str
    summary: str
    about: str = ""
    handler: Handler
    scopes: frozenset[str]
    """Any of them is enough."""
    open_where: Callable[[Settings], bool] | None = None
    """A setting that lets the operation answer without a token."""
    path_ids: Mapping[str, PathId] | None = None
    query: type[Query] = NoQuery
    body: type[Body] | None = None
    body_required: bool = False
    raw_body_bytes: int = 0
    """Takes a body of at most so many bytes as it is: the handler checks its signature."""
    needs_headers: Mapping[str, str] | None = None
    """Headers of its own without which it refuses, and what each is."""
    needs_key: bool = False
    often: bool = False
    """Whether its path is one of those that are asked most (`api.shortcuts`)."""
    queued: bool = False
    """Whether it waits for its turn where many are at work (`api.admission`)."""
    sheds: bool = True
    """Whether it is refused when too many requests are in flight."""
    answers: Mapping[int, Answered]
    codes: frozenset[str] = frozenset()
    """The error codes of its own, beyond those that follow from the rest of the declaration."""
    refused_headers: Mapping[int, Mapping[str, str]] | None = None
    """By status: headers that may come along with a refusal, beyond those that follow from it."""
    elsewhere_where: Callable[[Settings], bool] | None = None
    """A setting that has it served on another port: it is not described then."""

    def all_codes(self) -> frozenset[str]:
        """Every error code it can answer with."""
        codes = {"invalid_request", "card_number_refused", "internal_error"} | self.codes
        if self.sheds:
            codes |= {"overloaded"}
        if self.scopes:
            codes |= {"unauthenticated", "forbidden", "unavailable"}
        if self.body is not None:
            codes |= {"body_too_large", "request_timeout", "unsupported_media_type"}
        if self.needs_key:
            codes |= {"idempotency_key_missing", "idempotency_key_invalid"}
        codes |= {path_id.code for path_id in (self.path_ids or {}).values()}
        return frozenset(codes)

    def check_path(self, values: Mapping[str, str]) -> None:
        """Raise the problem of the first id in the path that is none."""
        for name, path_id in (self.path_ids or {}).items():
            if not re.fullmatch(path_id.pattern[1:-1], values[name]):
                raise path_id.refuse(name)
