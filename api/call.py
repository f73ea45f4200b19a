"""What a handler is given and what it gives back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import orjson
from starlette.types import Send

if TYPE_CHECKING:
    from api.operations import Operation
    from api.parts import Parts

ANSWER: Final = "holdfast.answer"
"""An ASGI extension (`api.protocol`), an answer in one piece: `status`, `head` (its header lines,
each with its end), `body`.

Who sends one vouches for the head: nothing in it comes from a request that was not checked.
"""

JSON: Final = b"application/json"
NO_CONTENT: Final = 204
BOOKINGS: Final = "bookings"
BOOKINGS_ANY: Final = "bookings:any"
ADMIN: Final = "admin"

NO_STORE: Final = b"no-store"
REVALIDATE: Final = b"no-cache"
"""May be kept, and must be asked for again each time, with its ETag."""
NOT_MODIFIED: Final = 304

_WITHOUT_BODY: Final = frozenset({NO_CONTENT, NOT_MODIFIED})
"""Answers that can have none, and of which not even the length is told (RFC 9110, 8.6)."""

_ALWAYS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
)


class Principal(NamedTuple):
    """Who calls: the token's subject, which is the customer, and its scopes."""

    sub: str
    scopes: frozenset[str]


class Disconnected(Exception):
    """The caller went away before request or answer were whole: there is nobody to answer."""


NOBODY: Final = Principal("", frozenset())


@dataclass(slots=True)
class Context:
    """One request as the outermost layer knows it, for its answer, its log line, its metrics."""

    headers: dict[bytes, bytes]
    request_id: str
    trace: str
    """A W3C traceparent: the caller's trace or a new one, with a span id of ours."""
    in_one_piece: bool = False
    """Whether the server takes an answer as one message (`api.protocol`)."""
    operation: Operation | None = None
    principal: Principal = NOBODY
    status: int = 0
    code: str = ""
    """The problem's code, or empty."""
    cause: str = ""
    """What an exception of the engine said: for the log, not for the caller."""


class Call(NamedTuple):
    """One request to an operation, everything in it checked."""

    parts: Parts
    principal: Principal
    path: Mapping[str, str]
    query: Any
    """The operation's query model."""
    body: Any
    """The operation's body model, or the raw bytes where it takes them."""
    key: str
    """The Idempotency-Key in lower case, where the operation takes one."""
    trace: str
    headers: Mapping[bytes, bytes]

    @property
    def any_customer(self) -> bool:
        """Whether the caller is a trusted front end."""
        return BOOKINGS_ANY in self.principal.scopes


class Reply(NamedTuple):
    """An answer, ready to be sent."""

    status: int
    body: bytes
    headers: Sequence[tuple[bytes, bytes]] = ()
    content_type: bytes = JSON
    cache_control: bytes = NO_STORE


def json_reply(status: int, shown: object, headers: Sequence[tuple[bytes, bytes]] = ()) -> Reply:
    """An answer of JSON."""
    return Reply(status, orjson.dumps(shown), headers)


async def send_reply(context: Context, send: Send, reply: Reply) -> None:
    """Send an answer with the headers that every answer carries."""
    context.status = reply.status
    headers = headers_of(context, reply.cache_control, reply.headers)
    if reply.status not in _WITHOUT_BODY:
        headers.append((b"content-type", reply.content_type))
        headers.append((b"content-length", b"%d" % len(reply.body)))
    if context.in_one_piece:
        head = b"".join([b"%b: %b\r\n" % header for header in headers])
        await send({"type": ANSWER, "status": reply.status, "head": head, "body": reply.body})
        return
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.body})


def headers_of(
    context: Context, cache_control: bytes, headers: Sequence[tuple[bytes, bytes]]
) -> list[tuple[bytes, bytes]]:
    """Headers of an answer's own, after those that every answer carries."""
    return [
        (b"x-request-id", context.request_id.encode()),
        (b"traceparent", context.trace.encode()),
        (b"cache-control", cache_control),
        *_ALWAYS,
        *headers,
    ]
