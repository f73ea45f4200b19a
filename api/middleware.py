"""The outermost layer, around every request: identity, bounds, the one place that answers errors.

Pure ASGI. What it does before the request is parsed costs a few microseconds, because it is what
stands when everything else is too slow.
"""

from __future__ import annotations

import logging
import re
import time
import traceback
from collections.abc import Callable
from os import urandom
from typing import Final

import structlog
from starlette.types import ASGIApp, Receive, Scope, Send

from api import metrics
from api.admission import Admission
from api.call import ANSWER, Context, Disconnected, Reply, send_reply
from api.card_numbers import holds_card_number, without_card_numbers
from api.endpoint import CONTEXT
from api.problems import CONTENT_TYPE, Fault, Problem, invalid, problem_of
from api.shortcuts import NO_SHORTCUTS, Shortcuts
from api.tracing import continue_trace
from engine.errors import HoldfastError
from engine.limits import (
    MAX_FAULT_PATH_CHARS,
    MAX_HEADER_BYTES,
    MAX_REQUEST_LINES_PER_S,
    SLOW_REQUEST_MS,
)

_SINGLE: Final = frozenset({b"authorization", b"content-type", b"content-length", b"traceparent"})
_ALWAYS_SERVED: Final = frozenset({"/healthz", "/readyz", "/metrics"})
"""Paths that are answered under any load: they say what is the matter."""

_REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9._-]{1,128}")
_METHODS: Final = frozenset({"GET", "HEAD", "PUT", "POST", "PATCH", "DELETE", "OPTIONS"})

_ORDINARY_REFUSALS: Final = frozenset({404, 409, 429, 499})

_OVERLOADED: Final = Problem(
    "overloaded",
    "Too many requests are in flight here; nothing was tried.",
    retry_after_s=1,
)

_NOT_HTTP: Final = Problem("invalid_request", "This is not well-formed HTTP/1.1.")

_switch = logging.getLogger("holdfast.request")
_log = structlog.stdlib.get_logger("holdfast.request")


def request_id_of(headers: dict[bytes, bytes]) -> str:
    """The caller's request id if it is a sane one, else a new one."""
    sent = headers.get(b"x-request-id")
    if sent and _REQUEST_ID.fullmatch(sent):
        request_id = sent.decode()
        # It is logged and echoed, so it must not be a way around the refusal of card numbers.
        if not holds_card_number(request_id):
            return request_id
    return urandom(16).hex()


class Gate:
    """Wraps the application.

    Args:
        shortcuts: what is asked most, by its path: it need not be looked for among the routes.
    """

    def __init__(
        self, app: ASGIApp, max_in_flight: int, shortcuts: Shortcuts = NO_SHORTCUTS
    ) -> None:
        self._app = app
        self._max_in_flight = max_in_flight
        self._shortcuts = shortcuts
        self._admission = Admission()
        self._in_flight = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, whatever happens below."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        context = _context(scope)
        headers = context.headers
        scope[CONTEXT] = context
        self._in_flight += 1
        metrics.enter()
        try:
            if self._in_flight > self._max_in_flight and scope["path"] not in _ALWAYS_SERVED:
                self._admission.begin_to_shed()
                await _answer_problem(context, send, _OVERLOADED)
                return
            _check(scope, headers)
            endpoint = self._shortcuts.find(scope)
            if endpoint is None or scope["method"] not in endpoint.queued:
                await (endpoint or self._app)(scope, receive, send)
                return
            if not await self._admission.enter():
                await _answer_problem(context, send, _OVERLOADED)
                return
            try:
                await endpoint(scope, receive, send)
            finally:
                self._admission.leave()
        except Disconnected:
            context.status = 499
        except Exception as error:
            if context.status:
                # Half an answer is out: only closing the connection can tell that it is broken.
                raise
            await self._answer_error(context, send, error)
        finally:
            self._in_flight -= 1
            _record(scope, context, time.perf_counter() - began)

    async def _answer_error(self, context: Context, send: Send, error: Exception) -> None:
        problem = problem_of(error)
        if problem is None:
            # The text of the traceback, without the local variables that some renderers add: they
            # hold the request.
            text = "".join(traceback.format_exception(error))
            _log.error(
                "internal_error",
                request_id=context.request_id,
                error=type(error).__name__,
                traceback=without_card_numbers(text),
            )
            problem = Problem("internal_error", "The fault is ours and has been noted.")
        elif isinstance(error, HoldfastError):
            context.cause = without_card_numbers(str(error)[:MAX_FAULT_PATH_CHARS])
        await _answer_problem(context, send, problem)


async def refuse(scope: Scope, _: Receive, send: Send) -> None:
    """Answer what is no request of HTTP: an application in place of the one that was asked for.

    Args:
        scope: of what was read until it broke: method and headers may be missing.
    """
    began = time.perf_counter()
    context = _context(scope)
    metrics.enter()
    try:
        await _answer_problem(context, send, _NOT_HTTP)
    finally:
        _record(scope, context, time.perf_counter() - began)


def _context(scope: Scope) -> Context:
    headers = dict(scope["headers"])
    return Context(
        headers,
        request_id_of(headers),
        continue_trace(headers.get(b"traceparent")),
        ANSWER in scope.get("extensions", ()),
    )


def _check(scope: Scope, headers: dict[bytes, bytes]) -> None:
    """Refuse before anything is parsed."""
    pairs: list[tuple[bytes, bytes]] = scope["headers"]
    size = sum(map(len, headers)) + sum(map(len, headers.values()))
    if len(headers) < len(pairs):
        size = sum([len(name) + len(value) for name, value in pairs])
        names = [name for name, _ in pairs]
        if twice := sorted(name for name in _SINGLE if names.count(name) > 1):
            raise invalid(
                "A header comes more than once.",
                [Fault(name.decode().title(), "given more than once") for name in twice],
            )
    if size > MAX_HEADER_BYTES:
        raise invalid(
            "The request's head is too large.",
            [Fault("", f"headers over {MAX_HEADER_BYTES} bytes")],
        )


async def _answer_problem(context: Context, send: Send, problem: Problem) -> None:
    context.code = problem.code
    body = problem.body(context.request_id)
    await send_reply(context, send, Reply(problem.status, body, problem.headers, CONTENT_TYPE))


def _level(status: int, seconds: float) -> int:
    """How loud a request is logged.

    What went as it should, and the refusals that every sale has by the thousand, are for `debug`:
    a line costs as much as the whole rest of this layer, and the metrics count them all.
    """
    if status >= 500:
        return logging.WARNING
    if seconds * 1000 >= SLOW_REQUEST_MS or (status >= 400 and status not in _ORDINARY_REFUSALS):
        return logging.INFO
    return logging.DEBUG


class _Lines:
    """How many lines a second are written about requests.

    In a rush thousands a second are slow, or shed: a line for each would slow down or shed as many
    more. What is left out is in the metrics, and how many lines that were is written.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._second = 0
        self._written = 0

    def may_write(self) -> bool:
        """Whether one more may be written."""
        second = int(self._clock())
        if second != self._second:
            left_out = self._written - MAX_REQUEST_LINES_PER_S
            self._second, self._written = second, 0
            if left_out > 0:
                _log.warning("request_lines_left_out", lines=left_out)
        self._written += 1
        return self._written <= MAX_REQUEST_LINES_PER_S


_lines: Final = _Lines()


def _record(scope: Scope, context: Context, seconds: float) -> None:
    """Count and log a request: its path's template and never the path, which may hold anything."""
    method = scope["method"] if scope["method"] in _METHODS else "other"
    route = context.operation.path if context.operation else "other"
    metrics.leave(method, route, context.status, context.code, seconds)
    level = _level(context.status, seconds)
    if not _switch.isEnabledFor(level) or (level > logging.DEBUG and not _lines.may_write()):
        return
    _log.log(
        level,
        "request",
        method=method,
        route=route,
        status=context.status,
        code=context.code or None,
        cause=context.cause or None,
        ms=round(seconds * 1000, 2),
        customer_id=context.principal.sub or None,
        request_id=context.request_id,
        trace_id=context.trace[3:35],
    )
