"""Currencies have the decimals of ISO 4217, and Stripe's exceptions are exact both ways."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.payments.currencies import EXPONENTS, exponent
from engine.payments.stripe_amounts import NotRepresentable, from_stripe, to_stripe


@pytest.mark.parametrize(
    ("currency", "decimals"),
    [("USD", 2), ("EUR", 2), ("JPY", 0), ("KRW", 0), ("KWD", 3), ("CLF", 4), ("ISK", 0)],
)
def test_a_currency_has_the_decimals_of_iso_4217(currency: str, decimals: int) -> None:
    assert exponent(currency) == decimals


def test_every_code_is_three_letters_and_listed_once() -> None:
    assert len(EXPONENTS) == 165
    assert all(re.fullmatch("[A-Z]{3}", code) for code in EXPONENTS)


@pytest.mark.parametrize("code", ["XXX", "XAU", "usd", "", "EURO", "ANG", "HRK"])
def test_what_iso_4217_has_no_minor_unit_for_is_no_currency(code: str) -> None:
    assert exponent(code) is None
    with pytest.raises(NotRepresentable):
        to_stripe(100, code)


@pytest.mark.parametrize(
    ("amount", "currency", "written"),
    [
        (1250, "USD", 1250),
        (500, "JPY", 500),
        (1045, "HUF", 1045),
        (80_000, "TWD", 80_000),
        # "To charge 5 ISK, provide an amount value of 500": https://docs.stripe.com/currencies.
        (5, "ISK", 500),
        (5, "UGX", 500),
        (500, "MGA", 5),
        (5120, "KWD", 5120),
    ],
)
def test_stripe_writes_an_amount_its_own_way(amount: int, currency: str, written: int) -> None:
    assert to_stripe(amount, currency) == written
    assert from_stripe(written, currency) == amount


@pytest.mark.parametrize(("amount", "currency"), [(5124, "KWD"), (550, "MGA"), (1, "BHD")])
def test_a_fraction_that_stripe_would_refuse_is_refused_before(amount: int, currency: str) -> None:
    with pytest.raises(NotRepresentable):
        to_stripe(amount, currency)


@given(st.integers(1, 2**53), st.sampled_from(sorted(EXPONENTS)))
def test_what_can_be_written_is_read_back_to_the_unit(amount: int, currency: str) -> None:
    try:
        written = to_stripe(amount, currency)
    except NotRepresentable:
        return
    assert from_stripe(written, currency) == amount
