"""An HTTP proxy in front of a server that loses requests and answers, and holds them back.

It can also keep idempotency keys as Stripe does, for a gateway behind it that does not: the first
answer is kept, other parameters are an error, and a second request during the first a conflict.
Where nobody keeps them an answer must not be lost: nothing could make its outcome definite again.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from enum import Enum
from typing import Self

import aiohttp
from aiohttp import web

from tests.helpers.gateways import listening

_PASSED_ON = ("authorization", "content-type", "idempotency-key", "stripe-version")


class Kind(Enum):
    """What happens to a request."""

    DROP_REQUEST = "drop_request"
    """The connection is cut, and the gateway never hears of it."""
    DROP_ANSWER = "drop_answer"
    """The gateway does it, and the connection is cut."""
    HOLD_REQUEST = "hold_request"
    """It waits for `release` before the gateway hears of it."""
    HOLD_ANSWER = "hold_answer"
    """The gateway does it, and the answer waits for `release`."""


@dataclass(slots=True)
class Fault:
    """One fault, for the next request whose path has `path` in it. `fired` proves that it was."""

    kind: Kind
    path: str = ""
    fired: asyncio.Event = field(default_factory=asyncio.Event)
    released: asyncio.Event = field(default_factory=asyncio.Event)

    def release(self) -> None:
        """Let what is held go on."""
        self.released.set()


Passed = tuple[int, bytes, str]
"""Status, body and content type of an answer."""


@dataclass(frozen=True, slots=True)
class Kept:
    """The first answer to a key."""

    request: tuple[str, bytes]
    answer: Passed


class FaultProxy:
    """Passes requests on to `upstream`, one fault after the other.

    Args:
        keeps_keys: whether it keeps idempotency keys itself.
        upstream_keeps_keys: whether the server behind it does.
    """

    def __init__(
        self, upstream: str, *, keeps_keys: bool, upstream_keeps_keys: bool = False
    ) -> None:
        self._upstream = upstream
        self._keeps_keys = keeps_keys
        self._may_lose_answers = keeps_keys or upstream_keeps_keys
        self._plan: list[Fault] = []
        self._kept: dict[str, Kept] = {}
        self._in_flight: set[str] = set()
        self._session: aiohttp.ClientSession | None = None
        self.url = ""
        self.upstream_requests: list[tuple[str, str]] = []
        """Method and path of what the gateway was asked."""

    def plan(self, kind: Kind, path: str = "") -> Fault:
        """Do this to the next request of which it is true."""
        if kind in {Kind.DROP_ANSWER, Kind.HOLD_ANSWER}:
            assert self._may_lose_answers, "a lost answer needs somebody who keeps the keys"
        fault = Fault(kind, path)
        self._plan.append(fault)
        return fault

    @contextlib.asynccontextmanager
    async def serve(self) -> AsyncIterator[Self]:
        """Listen on loopback for as long as the block lasts."""
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", self._pass)
        async with aiohttp.ClientSession() as session, listening(application) as url:
            self._session, self.url = session, url
            yield self
        assert not self._plan, f"faults that never fired: {self._plan}"

    async def _pass(self, request: web.Request) -> web.Response:
        body = await request.read()
        fault = next((fault for fault in self._plan if fault.path in request.path), None)
        if fault is not None:
            self._plan.remove(fault)
            fault.fired.set()
        key = request.headers.get("idempotency-key") if self._keeps_keys else None
        if key is not None and key in self._in_flight:
            return _error(409, "idempotency_error", "idempotency_key_in_use")
        if key is not None:
            self._in_flight.add(key)
        try:
            if fault is not None and fault.kind is Kind.DROP_REQUEST:
                return self._cut(request)
            if fault is not None and fault.kind is Kind.HOLD_REQUEST:
                await fault.released.wait()
            answer = await self._answer(request, body, key)
        finally:
            self._in_flight.discard(key or "")
        if fault is not None and fault.kind is Kind.DROP_ANSWER:
            return self._cut(request)
        if fault is not None and fault.kind is Kind.HOLD_ANSWER:
            await fault.released.wait()
        return answer

    async def _answer(self, request: web.Request, body: bytes, key: str | None) -> web.Response:
        if key is None:
            return _respond(*await self._forward(request, body))
        kept = self._kept.get(key)
        if kept is None:
            kept = Kept((request.path, body), await self._forward(request, body))
            self._kept[key] = kept
        elif kept.request != (request.path, body):
            return _error(400, "idempotency_error", None)
        return _respond(*kept.answer)

    async def _forward(self, request: web.Request, body: bytes) -> Passed:
        assert self._session
        self.upstream_requests.append((request.method, request.path))
        headers = {name: request.headers[name] for name in _PASSED_ON if name in request.headers}
        async with self._session.request(
            request.method, f"{self._upstream}{request.path_qs}", data=body, headers=headers
        ) as answer:
            return answer.status, await answer.read(), answer.content_type

    @staticmethod
    def _cut(request: web.Request) -> web.Response:
        assert request.transport
        request.transport.abort()
        return web.Response()


def _respond(status: int, body: bytes, content_type: str = "application/json") -> web.Response:
    return web.Response(status=status, body=body, content_type=content_type)


def _error(status: int, kind: str, code: str | None) -> web.Response:
    error = {"error": {"type": kind, "code": code, "message": kind}}
    return _respond(status, json.dumps(error).encode())
