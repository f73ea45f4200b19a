"""Amounts as Stripe writes them, which for some currencies is not in ISO 4217's minor unit.

Source: https://docs.stripe.com/currencies ("Special cases" and "Three-decimal currencies").
ISK and UGX have no decimals in ISO 4217, but go over the wire with two that are always 00. MGA has
two in ISO 4217 (a fifth of an ariary) and none on the wire. Amounts of three decimals must end
in 0. HUF and TWD differ in payouts only, which Holdfast never makes.
"""

from __future__ import annotations

from typing import Final

from engine.payments.currencies import exponent

_EXPONENTS: Final = {"ISK": 2, "UGX": 2, "MGA": 0}
"""Decimals on the wire, where they are not ISO 4217's."""


class NotRepresentable(ValueError):
    """Stripe has no way to write this amount, or does not know the currency."""


def to_stripe(amount: int, currency: str) -> int:
    """Return an amount in ISO 4217's minor unit as Stripe writes it.

    Raises NotRepresentable for an unknown currency, and for a fraction that Stripe would refuse.
    """
    decimals = exponent(currency)
    if decimals is None:
        raise NotRepresentable(f"{currency} is not a currency of ISO 4217")
    shift = _EXPONENTS.get(currency, decimals) - decimals
    if shift >= 0:
        written = amount * _power(shift)
    else:
        written, rest = divmod(amount, _power(-shift))
        if rest:
            raise NotRepresentable(f"{currency} is only charged in whole units")
    if decimals == 3 and written % 10:
        raise NotRepresentable(f"an amount in {currency} must end in 0")
    return written


def from_stripe(amount: int, currency: str) -> int:
    """Return an amount that Stripe wrote in ISO 4217's minor unit; `currency` in upper case.

    Exact for whatever `to_stripe` wrote. A fraction of an ISK or UGX, which Stripe refuses to
    charge, would be rounded down; in a currency that ISO 4217 does not have, nothing is changed.
    """
    decimals = exponent(currency)
    if decimals is None or currency not in _EXPONENTS:
        return amount
    shift = _EXPONENTS[currency] - decimals
    return amount // _power(shift) if shift >= 0 else amount * _power(-shift)


def _power(decimals: int) -> int:
    return int(10**decimals)
