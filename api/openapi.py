"""The OpenAPI 3.1 document, made from the operations and the models that the server works with."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

import orjson
from pydantic import TypeAdapter

from api.call import NOT_MODIFIED
from api.operations import Answered, Operation
from api.problems import KINDS
from api.shapes import ProblemShown
from engine.settings import Settings

Json = dict[str, Any]

_REF: Final = "#/components/schemas/{model}"
_ABOUT: Final = """\
A reservation engine for scarce stock: hold it, pay for it, or let it go.

Times are RFC 3339 in UTC with milliseconds. Money is an integer in the currency's minor unit.
Errors are RFC 9457 `application/problem+json` with a `code` for programs. After a 503
`unavailable` the outcome is not known: send the same request with the same Idempotency-Key again.
"""
_TAGS: Final = (
    {"name": "bookings", "description": "Holding stock, and what becomes of a hold."},
    {"name": "sales", "description": "What is sold, and how much is left of it."},
    {"name": "reports", "description": "What was sold, day by day and step by step."},
    {"name": "operations", "description": "What operators look at."},
    {"name": "service", "description": "The service itself."},
)
_EVERY_ANSWER: Final = {
    "X-Request-ID": {"$ref": "#/components/headers/X-Request-ID"},
    "traceparent": {"$ref": "#/components/headers/traceparent"},
}

_OF_A_REFUSAL: Final = {
    401: {"WWW-Authenticate": "RFC 6750: `Bearer`, with `invalid_token` where a token was sent."},
    415: {"Accept": "`application/json`."},
}
"""Headers of every answer with a status."""

_OF_A_TABLE: Final = {
    "Vary": {"description": "`accept`.", "schema": {"type": "string"}},
    "Content-Disposition": {
        "description": "With `text/csv`: the name of the file.",
        "schema": {"type": "string"},
    },
}


def openapi(operations: Sequence[Operation], settings: Settings, version: str) -> bytes:
    """The document, as JSON."""
    shapes = _Shapes(operations)
    paths: dict[str, Json] = {}
    for operation in operations:
        if operation.elsewhere_where and operation.elsewhere_where(settings):
            continue
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(
            operation, shapes, settings
        )
    document = {
        "openapi": "3.1.0",
        "info": {
            "title": "Holdfast",
            "version": version,
            "description": _ABOUT,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": _TAGS,
        "paths": paths,
        "components": {
            "schemas": shapes.definitions,
            "headers": {
                "X-Request-ID": {
                    "description": "The caller's, if it was a sane one, else a new one.",
                    "schema": {"type": "string"},
                },
                "traceparent": {
                    "description": "W3C Trace Context: the caller's trace, or a new one.",
                    "schema": {"type": "string"},
                },
                "Retry-After": {
                    "description": "Seconds to wait.",
                    "schema": {"type": "integer", "minimum": 1},
                },
            },
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
            },
        },
    }
    return orjson.dumps(document)


class _Shapes:
    """The JSON Schemas of everything that goes in or out, with one set of definitions."""

    def __init__(self, operations: Sequence[Operation]) -> None:
        wanted: dict[int, Any] = {id(ProblemShown): ProblemShown}
        asked: dict[int, Any] = {}
        for operation in operations:
            for answer in operation.answers.values():
                if answer.shape is not None:
                    wanted[id(answer.shape)] = answer.shape
            for model in (operation.query, operation.body):
                if model is not None:
                    asked[id(model)] = model
        adapters = [(key, "serialization", TypeAdapter(shape)) for key, shape in wanted.items()]
        adapters += [(key, "validation", TypeAdapter(shape)) for key, shape in asked.items()]
        schemas, common = TypeAdapter.json_schemas(adapters, ref_template=_REF)  # type: ignore[arg-type]
        self._schemas = {key: _untitled(schema) for (key, _), schema in schemas.items()}
        self.definitions: Json = _untitled(common.get("$defs", {}))

    def of(self, shape: object) -> Json:
        """The schema of a shape: mostly a reference."""
        schema: Json = self._schemas[id(shape)]
        return schema

    def fields(self, model: object) -> Json:
        """The schemas of a model's fields by name."""
        schema = self.of(model)
        if "$ref" in schema:
            schema = self.definitions[schema["$ref"].rpartition("/")[2]]
        fields: Json = schema.get("properties", {})
        return fields


def _untitled(value: Any) -> Any:
    """Without the titles that only repeat the names."""
    if isinstance(value, dict):
        return {
            key: _untitled(inner)
            for key, inner in value.items()
            if not (key == "title" and isinstance(inner, str))
        }
    return [_untitled(inner) for inner in value] if isinstance(value, list) else value


def _operation(operation: Operation, shapes: _Shapes, settings: Settings) -> Json:
    described: Json = {
        "operationId": operation.name,
        "tags": [operation.tag],
        "summary": operation.summary,
        "parameters": list(_parameters(operation, shapes)),
        "responses": _responses(operation, shapes),
        "security": [{"bearer": [scope]} for scope in sorted(operation.scopes)],
    }
    if operation.about:
        described["description"] = operation.about
    if operation.open_where and operation.open_where(settings):
        described["security"].append({})
    if operation.body is not None:
        described["requestBody"] = {
            "required": operation.body_required,
            "content": {"application/json": {"schema": shapes.of(operation.body)}},
        }
    elif operation.raw_body_bytes:
        described["requestBody"] = {
            "description": f"Taken as it is, up to {operation.raw_body_bytes} bytes: it is signed.",
            "required": True,
            "content": {"application/json": {"schema": {"type": "object"}}},
        }
    return described


def _parameters(operation: Operation, shapes: _Shapes) -> list[Json]:
    found: list[Json] = [
        {
            "name": name,
            "in": "path",
            "required": True,
            "description": path_id.about,
            "schema": {"type": "string", "pattern": path_id.pattern},
        }
        for name, path_id in (operation.path_ids or {}).items()
    ]
    found += [
        {
            "name": name,
            "in": "header",
            "required": True,
            "description": about,
            "schema": {"type": "string"},
        }
        for name, about in (operation.needs_headers or {}).items()
    ]
    if operation.needs_key:
        found.append(
            {
                "name": "Idempotency-Key",
                "in": "header",
                "required": True,
                "description": "A fresh UUID version 4 for each request; the same on a retry.",
                "schema": {"type": "string", "format": "uuid"},
            }
        )
    if NOT_MODIFIED in operation.answers:
        found.append(
            {
                "name": "If-None-Match",
                "in": "header",
                "required": False,
                "description": "The `ETag` of the answer that the caller has.",
                "schema": {"type": "string"},
            }
        )
    for name, field in shapes.fields(operation.query).items():
        schema = dict(field)
        parameter: Json = {"name": name, "in": "query", "required": False}
        if about := schema.pop("description", None):
            parameter["description"] = about
        found.append({**parameter, "schema": _without_null(schema)})
    return found


def _without_null(schema: Json) -> Json:
    """A parameter may be left out, but a query cannot say null."""
    schema = {key: value for key, value in schema.items() if (key, value) != ("default", None)}
    kinds = [kind for kind in schema.get("anyOf", []) if kind != {"type": "null"}]
    if len(kinds) != 1:
        return schema
    del schema["anyOf"]
    return {**schema, **kinds[0]}


def _responses(operation: Operation, shapes: _Shapes) -> Json:
    by_status: dict[int, list[str]] = {}
    for code in sorted(operation.all_codes()):
        by_status.setdefault(KINDS[code].status, []).append(code)
    responses = {
        str(status): _answer(answer, shapes) for status, answer in operation.answers.items()
    }
    for status, codes in by_status.items():
        more = (operation.refused_headers or {}).get(status, {})
        responses[str(status)] = _refused(status, codes, more, shapes)
    return dict(sorted(responses.items()))


def _answer(answer: Answered, shapes: _Shapes) -> Json:
    headers: Json = dict(_EVERY_ANSWER)
    headers |= _texts(answer.headers or {})
    described: Json = {"description": answer.about, "headers": headers}
    if answer.shape is not None:
        described["content"] = {answer.content_type: {"schema": shapes.of(answer.shape)}}
    if answer.csv:
        headers |= _OF_A_TABLE
        described["content"]["text/csv"] = {"schema": {"type": "string"}}
    return described


def _refused(status: int, codes: Sequence[str], more: Mapping[str, str], shapes: _Shapes) -> Json:
    headers: Json = _EVERY_ANSWER | _texts(_OF_A_REFUSAL.get(status, {})) | _texts(more)
    if status in {429, 503}:
        headers["Retry-After"] = {"$ref": "#/components/headers/Retry-After"}
    about = "; ".join(f"`{code}`: {_lower(KINDS[code].title)}" for code in codes)
    exact = {
        "properties": {"code": {"enum": list(codes)}, "status": {"const": status}},
    }
    return {
        "description": f"{HTTPStatus(status).phrase}. {about}.",
        "headers": headers,
        "content": {
            "application/problem+json": {"schema": {"allOf": [shapes.of(ProblemShown), exact]}}
        },
    }


def _texts(headers: Mapping[str, str]) -> Json:
    return {
        name: {"description": about, "schema": {"type": "string"}}
        for name, about in headers.items()
    }


def _lower(title: str) -> str:
    return re.sub(r"^[A-Z](?=[a-z ])", lambda found: found[0].lower(), title)
