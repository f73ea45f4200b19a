"""The test payment methods, and what comes of each.

Names and codes are those of https://docs.stripe.com/testing, in both spellings that are about:
with and without the brand. `pm_card_captureRefused` is our own, because Stripe has none whose
authorization is good and whose capture is not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Card:
    """What a test payment method does. Without `code` the charge is approved."""

    brand: str = "visa"
    code: str | None = None
    decline_code: str | None = None
    message: str | None = None
    needs_authentication: bool = False
    capture_refused: bool = False


def _declined(
    decline_code: str | None, code: str = "card_declined", *, needs_authentication: bool = False
) -> Card:
    message = {
        "card_declined": "Your card was declined.",
        "expired_card": "Your card has expired.",
        "incorrect_cvc": "Your card's security code is incorrect.",
        "processing_error": "An error occurred while processing your card. Try again in a little "
        "bit.",
    }[code]
    return Card(
        code=code,
        decline_code=decline_code,
        message=message,
        needs_authentication=needs_authentication,
    )


_BRANDS: Final = ("visa", "mastercard", "amex", "discover", "diners", "jcb", "unionpay")

_DECLINES: Final = {
    "chargeDeclined": _declined("generic_decline"),
    "chargeDeclinedInsufficientFunds": _declined("insufficient_funds"),
    "chargeDeclinedLostCard": _declined("lost_card"),
    "chargeDeclinedStolenCard": _declined("stolen_card"),
    "chargeDeclinedFraudulent": _declined("fraudulent"),
    "chargeDeclinedVelocityLimitExceeded": _declined("card_velocity_exceeded"),
    "chargeDeclinedExpiredCard": _declined(None, "expired_card"),
    "chargeDeclinedIncorrectCvc": _declined(None, "incorrect_cvc"),
    "chargeDeclinedProcessingError": _declined(None, "processing_error"),
}

CARDS: Final[dict[str, Card]] = {
    **{f"pm_card_{brand}": Card(brand) for brand in _BRANDS},
    "pm_card_visa_debit": Card(),
    "pm_card_mastercard_debit": Card("mastercard"),
    **{f"pm_card_{name}": card for name, card in _DECLINES.items()},
    **{f"pm_card_visa_{name}": card for name, card in _DECLINES.items()},
    "pm_card_authenticationRequired": Card(needs_authentication=True),
    "pm_card_threeDSecureRequired": Card(needs_authentication=True),
    "pm_card_threeDSecure2Required": Card(needs_authentication=True),
    "pm_card_threeDSecureRequiredChargeDeclined": _declined(
        "generic_decline", needs_authentication=True
    ),
    "pm_card_authenticationRequiredChargeDeclinedInsufficientFunds": _declined(
        "insufficient_funds", needs_authentication=True
    ),
    "pm_card_captureRefused": Card(capture_refused=True),
}
