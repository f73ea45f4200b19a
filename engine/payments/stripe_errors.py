"""What Stripe's errors mean for money, as one table.

Only two kinds of error are definite: a card's refusal (402), and a request that is refused for what
it says (400, 404), which is refused again whenever it is sent again. Everything else leaves the
outcome open. In particular:

- 5xx: "treat the result as indeterminate" (https://docs.stripe.com/error-low-level#server-errors);
  an answer of 500 is kept under its key, so that the payment itself has to be looked at.
- 401, 403, 429: this request did not run, since they come before the idempotency layer, but an
  earlier one under the same key may have.
- 409: another request with this key is running now.
- `idempotency_error`: an earlier request with this key and other parameters ran.
- `lock_timeout`: another request holds the object.
"""

from __future__ import annotations

from typing import Any, Final

import stripe

from engine.payments.gateway import Declined, Failed, Unknown

_TRANSIENT_CODES: Final = {"idempotency_key_in_use", "lock_timeout", "rate_limit"}
"""Codes that leave the outcome open whatever the status that carries them."""

_UNKNOWN: Final[tuple[tuple[type[stripe.StripeError], str], ...]] = (
    (stripe.APIConnectionError, "connection"),
    (stripe.IdempotencyError, "idempotency_mismatch"),
    (stripe.AuthenticationError, "unauthenticated"),
    (stripe.PermissionError, "forbidden"),
    (stripe.RateLimitError, "rate_limited"),
)


def outcome_of(error: stripe.StripeError) -> Declined | Failed | Unknown:
    """Return what an error of the client library says about the request it answered."""
    body = _error_of(error)
    status = error.http_status or 0
    code = _word(body.get("code")) or _word(error.code)
    if code in _TRANSIENT_CODES:
        return Unknown(code)
    for kind, reason in _UNKNOWN:
        if isinstance(error, kind):
            return Unknown("timeout" if isinstance(error.__cause__, TimeoutError) else reason)
    if isinstance(error, stripe.CardError):
        intent = body.get("payment_intent")
        return Declined(
            _word(body.get("decline_code")) or code or "card_declined",
            _word(intent.get("id")) if isinstance(intent, dict) else None,
        )
    if isinstance(error, stripe.InvalidRequestError) and status in {400, 404}:
        return Failed(code or "invalid_request")
    return Unknown(f"http_{status}" if status else "unreadable")


def _error_of(error: stripe.StripeError) -> dict[str, Any]:
    """Return the `error` object of the answer's body, or nothing where there is none."""
    body = error.json_body
    found = body.get("error") if isinstance(body, dict) else None
    return found if isinstance(found, dict) else {}


def _word(told: Any) -> str | None:
    """Return what is a word, and nothing for anything else."""
    return told if isinstance(told, str) and told else None
