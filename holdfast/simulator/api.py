"""The routes under /v1, with what Stripe does around each, and faults where they are asked for.

Idempotency, after https://docs.stripe.com/api/idempotent_requests: the first answer to a key is
kept, whatever it was, once the endpoint had begun; the same key with other parameters is an error;
two requests at once with one key are a conflict; after a day the key is forgotten.
"""

from __future__ import annotations

import asyncio
import base64
import hmac
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qsl

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from holdfast.simulator import intents, lookups, settlement
from holdfast.simulator.context import Context
from holdfast.simulator.deliverer import Deliverer
from holdfast.simulator.errors import ApiError, invalid
from holdfast.simulator.events import Chance, Events, now_ms
from holdfast.simulator.parameters import MAX_PARAMETERS, Parameters, decode
from holdfast.simulator.records import new_id
from holdfast.simulator.settings import SimulatorSettings
from holdfast.simulator.store import KeptAnswer, Store

MAX_BODY_BYTES: Final = 64 * 1024
MAX_KEY_CHARS: Final = 255

Operation = Callable[[Context, Parameters, Request], dict[str, Any]]


class AnswerLost(Exception):
    """The request was executed; its connection is to be cut."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What is sent back. `original` is the request that was first answered so, where one was."""

    status: int
    body: bytes
    original: str | None = None


def _object(
    operation: Callable[[Context, Parameters, str], dict[str, Any]],
) -> Operation:
    """An operation on the object that the path names."""
    return lambda context, parameters, request: operation(
        context, parameters, request.path_params["id"]
    )


def _plain(operation: Callable[[Context, Parameters], dict[str, Any]]) -> Operation:
    return lambda context, parameters, _: operation(context, parameters)


def _search(context: Context, parameters: Parameters, _: Request) -> dict[str, Any]:
    lag_ms = context.events.faults.search_lag_ms
    return lookups.search_intents(context, parameters, lag_ms)


_OPERATIONS: Final[tuple[tuple[str, str, Operation], ...]] = (
    ("POST", "/v1/payment_intents", _plain(intents.create_intent)),
    ("GET", "/v1/payment_intents", _plain(lookups.list_intents)),
    ("GET", "/v1/payment_intents/search", _search),
    ("GET", "/v1/payment_intents/{id}", _object(lookups.retrieve_intent)),
    ("POST", "/v1/payment_intents/{id}/confirm", _object(intents.confirm_intent)),
    ("POST", "/v1/payment_intents/{id}/capture", _object(settlement.capture_intent)),
    ("POST", "/v1/payment_intents/{id}/cancel", _object(settlement.cancel_intent)),
    ("POST", "/v1/refunds", _plain(settlement.create_refund)),
    ("GET", "/v1/refunds", _plain(lookups.list_refunds)),
    ("GET", "/v1/refunds/{id}", _object(lookups.retrieve_refund)),
    ("POST", "/v1/webhook_endpoints", _plain(lookups.create_endpoint)),
    ("GET", "/v1/webhook_endpoints", _plain(lookups.list_endpoints)),
    ("DELETE", "/v1/webhook_endpoints/{id}", _object(lookups.delete_endpoint)),
)


class Api:
    """Answers requests under /v1."""

    def __init__(
        self, store: Store, events: Events, deliverer: Deliverer, settings: SimulatorSettings
    ) -> None:
        self._store = store
        self._events = events
        self._deliverer = deliverer
        self._settings = settings
        self._chance = Chance()
        self._in_flight: set[str] = set()

    def routes(self) -> list[BaseRoute]:
        """What Starlette is to route here."""
        return [
            Route(path, self._endpoint(operation), methods=[method])
            for method, path, operation in _OPERATIONS
        ]

    def context(self, request: Request) -> Context:
        """What an operation works on."""
        return Context(
            self._store,
            self._events,
            now_ms(),
            self._settings.authorization_lifetime_ms,
            str(request.base_url),
        )

    def _endpoint(self, operation: Operation) -> Callable[[Request], Any]:
        async def endpoint(request: Request) -> Response:
            request_id = new_id("req_")
            try:
                answer = await self._answer(request, operation, request_id)
            except ApiError as refused:
                answer = Answer(refused.status, orjson.dumps(refused.body))
            headers = {"Request-Id": request_id}
            if key := request.headers.get("idempotency-key"):
                headers["Idempotency-Key"] = key
            if answer.original is not None:
                headers |= {"Original-Request": answer.original, "Idempotent-Replayed": "true"}
            return Response(answer.body, answer.status, headers, "application/json")

        return endpoint

    async def _answer(self, request: Request, operation: Operation, request_id: str) -> Answer:
        """Execute a request once, and go wrong as often as is asked for."""
        self._authenticate(request)
        values = await _parameters(request)
        key = request.headers.get("idempotency-key") if request.method == "POST" else None
        if key is not None and not 0 < len(key) <= MAX_KEY_CHARS:
            raise invalid("Invalid idempotency key", "parameter_invalid", "Idempotency-Key")
        if key in self._in_flight:
            raise ApiError(
                409,
                "There is currently another in-progress request using this Idempotent Key (that "
                f"probably means you submitted twice): {key}. Please try again later.",
                error_type="idempotency_error",
                code="idempotency_key_in_use",
                executed=False,
            )
        faults = self._events.faults
        if key is not None:
            self._in_flight.add(key)
        try:
            await asyncio.sleep(faults.latency_ms / 2000)
            if self._chance.strikes(faults.error_rate):
                raise ApiError(
                    500, "An unknown error occurred", error_type="api_error", executed=False
                )
            answer = self._execute(request, operation, values, key, request_id)
        finally:
            if key is not None:
                self._in_flight.discard(key)
        await asyncio.sleep(faults.latency_ms / 2000)
        if self._chance.strikes(faults.lost_answer_rate):
            raise AnswerLost
        return answer

    def _execute(
        self,
        request: Request,
        operation: Operation,
        values: dict[str, Any],
        key: str | None,
        request_id: str,
    ) -> Answer:
        """Answer as before, or execute and keep the answer: one transaction, without a pause."""
        endpoint = f"{request.method} {request.url.path}"
        parameters = orjson.dumps(values, option=orjson.OPT_SORT_KEYS)
        since_ms = now_ms() - self._settings.key_lifetime_ms
        if key is not None and (kept := self._store.kept_answer(key, since_ms)):
            _compare(key, kept, endpoint, parameters)
            return Answer(kept.status, kept.body, kept.request_id)
        with self._store.transaction():
            status = 200
            try:
                body = operation(self.context(request), Parameters(values), request)
            except ApiError as refused:
                if not refused.executed:
                    raise
                status, body = refused.status, refused.body
            if request.method == "POST" and self._chance.strikes(
                self._events.faults.kept_error_rate
            ):
                failure = ApiError(500, "An unknown error occurred", error_type="api_error")
                status, body = failure.status, failure.body
            answer = Answer(status, orjson.dumps(body))
            if key is not None:
                kept = KeptAnswer(endpoint, parameters, request_id, status, answer.body)
                self._store.keep_answer(key, kept, now_ms(), since_ms)
        self._deliverer.wake()
        return answer

    def _authenticate(self, request: Request) -> None:
        """Check the API key, sent as a bearer token or as the name of basic authentication."""
        scheme, _, text = request.headers.get("authorization", "").partition(" ")
        given = text.strip()
        if scheme.lower() == "basic":
            try:
                given = base64.b64decode(text).decode().partition(":")[0]
            except ValueError:
                given = ""
        wanted = self._settings.api_key.get_secret_value()
        if not hmac.compare_digest(given.encode(), wanted.encode()):
            raise ApiError(401, "Invalid API Key provided", executed=False)


async def _parameters(request: Request) -> dict[str, Any]:
    """Read the query of a GET or DELETE, the form of a POST."""
    if request.method != "POST":
        return decode(request.query_params.multi_items())
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > MAX_BODY_BYTES:
            raise ApiError(413, "Request body is too large", executed=False)
    try:
        pairs = parse_qsl(
            body.decode(),
            keep_blank_values=True,
            max_num_fields=MAX_PARAMETERS,
            strict_parsing=bool(body),
        )
    except ValueError:
        raise invalid("The body is not a form", "parameter_invalid", "body") from None
    return decode(pairs)


def _compare(key: str, kept: KeptAnswer, endpoint: str, parameters: bytes) -> None:
    """Refuse a key that was first used for something else."""
    if kept.endpoint != endpoint:
        reason = f"for the same endpoint they were first used for ('{kept.endpoint}')"
    elif kept.parameters != parameters:
        reason = "with the same parameters they were first used with"
    else:
        return
    raise ApiError(
        400,
        f"Keys for idempotent requests can only be used {reason}. Try using a key other than "
        f"'{key}' if you meant to execute a different request.",
        error_type="idempotency_error",
        executed=False,
    )
