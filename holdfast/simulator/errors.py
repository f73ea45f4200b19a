"""Refusals in the shape of Stripe's: https://docs.stripe.com/api/errors."""

from __future__ import annotations

from typing import Any


class ApiError(Exception):
    """An answer that is an error.

    `executed` says whether the endpoint had begun: what is refused before (a parameter that does
    not validate, no key, too many at once) is not kept under the idempotency key.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        error_type: str = "invalid_request_error",
        code: str | None = None,
        param: str | None = None,
        decline_code: str | None = None,
        payment_intent: dict[str, Any] | None = None,
        executed: bool = True,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.executed = executed
        self._fields = {
            "type": error_type,
            "code": code,
            "decline_code": decline_code,
            "message": message,
            "param": param,
            "payment_intent": payment_intent,
        }

    @property
    def body(self) -> dict[str, Any]:
        """The JSON that answers; what does not apply is absent."""
        return {"error": {name: value for name, value in self._fields.items() if value is not None}}


def invalid(message: str, code: str, param: str) -> ApiError:
    """A parameter is missing, unknown or malformed: refused before anything began."""
    return ApiError(400, message, code=code, param=param, executed=False)


def missing(kind: str, object_id: str, param: str) -> ApiError:
    """There is no such object: 404 where the path names it, 400 where a parameter does."""
    return ApiError(
        404 if param in {"intent", "id"} else 400,
        f"No such {kind}: '{object_id}'",
        code="resource_missing",
        param=param,
    )
