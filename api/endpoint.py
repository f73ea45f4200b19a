"""One path as an ASGI application: picks the operation, checks the request in a fixed order.

The order is: method, token (401), scope (403), Idempotency-Key, query, content type, body, and
last the ids in the path, where one that cannot be is as absent as one that is not there. Nothing
of a request is looked at before whoever sent it is known to be allowed to ask.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from typing import Any, Final

from starlette.types import Message, Receive, Scope, Send

from api.call import JSON, NOBODY, Call, Context, Disconnected, Principal, send_reply
from api.card_numbers import holds_card_number
from api.operations import Operation
from api.parts import Parts
from api.problems import Fault, Problem, card_number_refused, invalid
from api.schemas import parse_body, parse_query
from api.streaming import Stream, send_stream
from api.strict_json import read_json
from engine.limits import BODY_TIMEOUT_MS, MAX_BODY_BYTES

CONTEXT: Final = "holdfast.context"
"""Where in the ASGI scope the request's `Context` is."""

_UUID4: Final = re.compile(
    rb"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", re.IGNORECASE
)
_CONTENT_TYPE: Final = re.compile(
    rb'application/json[ \t]*(?:;[ \t]*charset="?utf-?8"?[ \t]*)?', re.IGNORECASE
)


class Endpoint:
    """All operations of one path."""

    def __init__(self, parts: Parts, operations: Sequence[Operation]) -> None:
        self._parts = parts
        self._by_method = {operation.method: operation for operation in operations}
        if "GET" in self._by_method:
            self._by_method["HEAD"] = self._by_method["GET"]
        self.queued = frozenset(one.method for one in operations if one.queued)
        """Methods that wait for their turn (`api.admission`)."""
        self._allow = ", ".join(sorted(self._by_method)).encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or raise the `Problem` that the outermost layer answers with."""
        context: Context = scope[CONTEXT]
        operation = self._by_method.get(scope["method"])
        if operation is None:
            raise Problem(
                "method_not_allowed",
                f"This path takes {self._allow.decode()}.",
                headers=[(b"allow", self._allow)],
            )
        context.operation = operation
        context.principal = principal = await self._admit(operation, context.headers)
        key = _idempotency_key(scope, context.headers) if operation.needs_key else ""
        query = parse_query(operation.query, scope["query_string"])
        body = None
        if operation.body is not None:
            body = await _body(operation, context.headers, receive)
        elif operation.raw_body_bytes:
            body = await _read(receive, operation.raw_body_bytes)
        path: dict[str, str] = scope["path_params"]
        operation.check_path(path)
        call = Call(self._parts, principal, path, query, body, key, context.trace, context.headers)
        reply = await operation.handler(call)
        if isinstance(reply, Stream):
            await send_stream(context, scope, receive, send, reply)
        else:
            await send_reply(context, send, reply)

    async def _admit(self, operation: Operation, headers: dict[bytes, bytes]) -> Principal:
        if not operation.scopes:
            return NOBODY
        if operation.open_where and operation.open_where(self._parts.settings):
            return NOBODY
        principal = await self._parts.verifier.principal(headers.get(b"authorization"))
        if principal.scopes.isdisjoint(operation.scopes):
            wanted = " or ".join(f"`{scope}`" for scope in sorted(operation.scopes))
            raise Problem("forbidden", f"The token needs the scope {wanted}.")
        return principal


def _idempotency_key(scope: Scope, headers: dict[bytes, bytes]) -> str:
    value = headers.get(b"idempotency-key")
    if value is None:
        raise Problem(
            "idempotency_key_missing",
            "Send an Idempotency-Key with a fresh UUID version 4, and the same again on a retry.",
            faults=[Fault("Idempotency-Key", "required")],
        )
    # Where no header comes twice, there are as many names as pairs.
    twice = len(headers) < len(scope["headers"]) and (
        sum(name == b"idempotency-key" for name, _ in scope["headers"]) > 1
    )
    if twice or not _UUID4.fullmatch(value):
        if holds_card_number(value.decode("latin-1")):
            raise card_number_refused("Idempotency-Key")
        raise Problem(
            "idempotency_key_invalid",
            "The Idempotency-Key must be one UUID version 4.",
            faults=[Fault("Idempotency-Key", "should be one UUID version 4")],
        )
    return value.decode().lower()


async def _body(operation: Operation, headers: dict[bytes, bytes], receive: Receive) -> Any:
    """Read and validate the body. One that may be missing reads as `{}`."""
    assert operation.body is not None
    length = headers.get(b"content-length", b"0")
    if not length.isdigit():
        raise invalid("Content-Length is not a number.", [Fault("Content-Length", "not a number")])
    if int(length) > MAX_BODY_BYTES:
        raise _too_large()
    if operation.body_required:
        _check_content_type(headers)
        text = await _read(receive)
        return parse_body(operation.body, read_json(text), text)
    text = await _read(receive)
    if not text:
        return parse_body(operation.body, {}, text)
    _check_content_type(headers)
    return parse_body(operation.body, read_json(text), text)


def _check_content_type(headers: dict[bytes, bytes]) -> None:
    if headers.get(b"content-encoding", b"identity").lower() != b"identity":
        raise _unsupported("A compressed body is not taken.")
    if headers.get(b"content-type") == JSON:
        return
    if not _CONTENT_TYPE.fullmatch(headers.get(b"content-type", b"").strip()):
        raise _unsupported("Send the body as `Content-Type: application/json`, in UTF-8.")


async def _read(receive: Receive, limit: int = MAX_BODY_BYTES) -> bytes:
    message = await receive()
    if message["type"] == "http.request" and not message.get("more_body", False):
        body: bytes = message.get("body", b"")
        if len(body) > limit:
            raise _too_large(limit)
        return body
    try:
        async with asyncio.timeout(BODY_TIMEOUT_MS / 1000):
            return await _read_pieces(message, receive, limit)
    except TimeoutError:
        raise Problem(
            "request_timeout", f"The body did not arrive within {BODY_TIMEOUT_MS} ms."
        ) from None


async def _read_pieces(message: Message, receive: Receive, limit: int) -> bytes:
    body = bytearray()
    while True:
        if message["type"] == "http.disconnect":
            raise Disconnected
        body += message.get("body", b"")
        if len(body) > limit:
            raise _too_large(limit)
        if not message.get("more_body", False):
            return bytes(body)
        message = await receive()


def _too_large(limit: int = MAX_BODY_BYTES) -> Problem:
    return Problem("body_too_large", f"A body may have {limit} bytes.")


def _unsupported(detail: str) -> Problem:
    return Problem("unsupported_media_type", detail, headers=[(b"accept", b"application/json")])
