"""A payment is spelled into a booking's hash and read from it again."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.archive import payment_fields, read_payment
from engine.payments.types import Payment, PaymentStatus, Step

# Not of all characters that there are: to know all of Unicode takes seconds.
_WORDS = st.text("aZ09_-.:,;=/ \"'\\{}[]\x00\n\x7fé漢😀", min_size=1)
_TOLD = st.none() | _WORDS
PAYMENTS = st.builds(
    Payment,
    status=st.sampled_from(PaymentStatus),
    step=st.sampled_from(Step),
    attempt=st.integers(1, 99),
    gateway=_WORDS,
    method=_WORDS,
    return_url=_TOLD,
    key=_WORDS,
    fingerprint=_WORDS,
    begun_ms=st.integers(0, 2**53),
    authorization_id=_TOLD,
    capture_id=_TOLD,
    decline_code=_TOLD,
    next_action=st.none() | st.dictionaries(_WORDS, _WORDS, min_size=1),
)


def hash_of(payment: Payment) -> dict[str, Any]:
    """What Redis answers: everything is text."""
    return {name: str(value) for name, value in payment_fields(payment).items()}


@given(PAYMENTS)
def test_a_payment_comes_back_from_the_hash_as_it_was(payment: Payment) -> None:
    assert read_payment(hash_of(payment)) == payment


@given(PAYMENTS)
def test_what_is_gone_is_empty_or_not_there(payment: Payment) -> None:
    fields = hash_of(payment)
    names = ("return_url", "authorization_id", "capture_id", "decline_code", "next_action")
    empty = {f"payment_{name}": "" for name in names}
    assert read_payment(empty | fields) == payment


def test_a_booking_that_nobody_paid_for_has_no_payment() -> None:
    assert read_payment({"status": "PENDING", "payment_method": "x"}) is None


@pytest.mark.parametrize(
    "damage",
    [{"payment_status": "LOST"}, {"payment_step": ""}, {"payment_attempt": "x"}],
)
def test_a_hash_that_makes_no_payment_is_told(damage: dict[str, str]) -> None:
    fields = {
        "payment_status": "CAPTURED",
        "payment_step": "none",
        "payment_attempt": "1",
        "payment_gateway": "g",
        "payment_method": "m",
        "payment_key": "k",
        "payment_fingerprint": "f",
        "payment_begun_ms": "1",
    }
    assert read_payment(fields)
    with pytest.raises(ValueError, match=r"LOST|''|'x'"):
        read_payment(fields | damage)
    with pytest.raises(KeyError):
        read_payment({"payment_status": "CAPTURED"})
