"""Checks that a webhook comes from Stripe, and reads it.

The check is the client library's, over the raw body (https://docs.stripe.com/webhooks#verify-manually):
HMAC-SHA256 of the time-stamp and the body. Several secrets may be valid at once: while one is
rolled, Stripe signs with both, and two endpoints (or accounts) have one each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import orjson
import stripe

from engine.payments.gateway import GatewayEvent, Rejection
from engine.payments.limits import MAX_WEBHOOK_BYTES, WEBHOOK_TOLERANCE_MS
from engine.payments.stripe_objects import event_of

SIGNATURE_HEADER: Final = "stripe-signature"


def parse_webhook(
    body: bytes, headers: Mapping[str, str], secrets: Sequence[str], installation: str
) -> GatewayEvent | Rejection:
    """Return the event, or why it is not believed. Nothing of the body is read before the check."""
    header = headers.get(SIGNATURE_HEADER)
    if not header:
        return Rejection.SIGNATURE_MISSING
    if len(body) > MAX_WEBHOOK_BYTES:
        return Rejection.BODY_INVALID
    signer = next((secret for secret in secrets if _signed(body, header, secret, None)), None)
    if signer is None:
        return Rejection.SIGNATURE_INVALID
    if not _signed(body, header, signer, WEBHOOK_TOLERANCE_MS // 1000):
        return Rejection.SIGNATURE_STALE
    try:
        return event_of(orjson.loads(body), installation)
    except (ValueError, LookupError, TypeError, AttributeError):
        # Signed, and yet not what this version reads: refused, so that Stripe shows it as failing
        # and sends it again, which a newer version may understand.
        return Rejection.BODY_INVALID


def _signed(body: bytes, header: str, secret: str, tolerance_s: int | None) -> bool:
    """Whether one of the header's signatures is this secret's and, if asked, young enough."""
    try:
        return bool(
            stripe.WebhookSignature.verify_header(body, header, secret, tolerance=tolerance_s)
        )
    except (stripe.SignatureVerificationError, UnicodeError):
        return False
