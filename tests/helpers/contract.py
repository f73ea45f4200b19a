"""Holds answers against an OpenAPI document: status, content type, headers, body, error code."""

from __future__ import annotations

import re
from typing import Any

import httpx
from jsonschema import Draft202012Validator, FormatChecker

MEANINGFUL = frozenset(
    {
        "accept",
        "content-disposition",
        "etag",
        "idempotency-replayed",
        "location",
        "retry-after",
        "www-authenticate",
    }
)
"""Headers by which a client may act: an answer has them only where the document says so."""


class Contract:
    """An OpenAPI document, and which of its answers were seen."""

    def __init__(self, document: Any) -> None:
        self.document = document
        self.seen: set[tuple[str, str]] = set()
        """(operation, status) of every answer that was checked."""
        self._paths = [
            (re.compile(re.sub(r"\{[^}]*\}", "[^/]+", path) + r"\Z"), methods)
            for path, methods in document["paths"].items()
        ]

    def operation(self, method: str, path: str) -> Any:
        """The operation that a request goes to, or None where there is none."""
        bare = path.partition("?")[0]
        for pattern, methods in self._paths:
            if pattern.match(bare):
                return methods.get(method.lower())
        return None

    def check(self, method: str, path: str, answer: httpx.Response) -> None:
        """Fail where the answer is not as described."""
        operation = self.operation(method, path)
        if operation is None:
            assert answer.status_code in {404, 405}, f"{method} {path}: {answer.status_code}"
            return
        what = f"{operation['operationId']}: {answer.status_code} {answer.text}"
        described = operation["responses"].get(str(answer.status_code))
        assert described, f"not a documented status: {what}"
        kind = answer.headers.get("content-type", "").partition(";")[0]
        if "content" in described:
            assert kind in described["content"], f"not a documented content type: {kind}, {what}"
        else:
            assert (kind, answer.content) == ("", b""), f"a body that is not documented: {what}"
        for name in described["headers"]:
            optional = name in {"Idempotency-Replayed", "Retry-After", "Content-Disposition"}
            assert optional or name in answer.headers, f"lacks {name}: {what}"
        for name in answer.headers.keys() & MEANINGFUL:
            known = {each.lower() for each in described["headers"]}
            assert name in known, f"a header that is not documented: {name}, {what}"
        if answer.status_code in {429, 503} and kind == "application/problem+json":
            assert int(answer.headers["retry-after"]) >= 1, what
        if kind.endswith("json"):
            schema = described["content"][kind]["schema"]
            self.validate(schema, answer.json(), what)
        self.seen.add((operation["operationId"], str(answer.status_code)))

    def validate(self, schema: Any, value: Any, what: str) -> None:
        """Fail where a value does not fit a schema of the document."""
        whole = {**schema, "components": self.document["components"]}
        validator = Draft202012Validator(whole, format_checker=FormatChecker())
        faults = [f"{fault.json_path}: {fault.message}" for fault in validator.iter_errors(value)]
        assert not faults, f"{faults}: {what}"
