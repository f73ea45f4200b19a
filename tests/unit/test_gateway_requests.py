"""What is asked of the gateway depends on what never changes alone, and so does the key."""

from __future__ import annotations

import itertools

import pytest

from engine.payments.gateway import Gateway, Reference, Step, idempotency_key
from engine.payments.stripe import StripeGateway
from engine.payments.stripe_objects import creation_of, metadata_of, reference_of
from tests.helpers.gateways import BOOKING, an_intent

STRIPE_KEY_CHARS = 255


def test_the_adapter_is_a_gateway() -> None:
    adapter: type[Gateway] = StripeGateway
    assert adapter


def test_a_key_never_changes() -> None:
    # Spelled out: another spelling after an upgrade would be another key for a request under way.
    assert (
        idempotency_key(Reference(BOOKING, 2), Step.CAPTURE)
        == "holdfast-00f01JDC6W2Q9R0S1T2V3W4X5Y6Z7-2-capture"
    )


def test_every_booking_attempt_and_step_has_a_key_of_its_own() -> None:
    other = BOOKING[:-1] + "8"
    keys = [
        idempotency_key(Reference(booking_id, attempt), step)
        for booking_id, attempt, step in itertools.product((BOOKING, other), (1, 2, 11), Step)
    ]
    assert len(set(keys)) == len(keys)
    assert max(map(len, keys)) <= STRIPE_KEY_CHARS


def test_an_authorization_is_created_and_confirmed_in_one_request() -> None:
    assert creation_of(an_intent(amount=5, currency="ISK"), "ours") == {
        "amount": 500,
        "currency": "isk",
        "payment_method": "pm_card_visa",
        "payment_method_types": ["card"],
        "capture_method": "manual",
        "confirm": True,
        "metadata": {"installation": "ours", "booking_id": BOOKING, "attempt": "1"},
        "expand": ["latest_charge"],
    }


def test_a_return_address_is_sent_where_there_is_one() -> None:
    intent = an_intent(return_url="https://shop.example/back")
    assert creation_of(intent, "ours")["return_url"] == "https://shop.example/back"


def test_our_reference_comes_back_from_the_metadata() -> None:
    reference = Reference(BOOKING, 3)
    assert reference_of(metadata_of(reference, "ours"), "ours") == reference


@pytest.mark.parametrize("installation", ["theirs", "OURS", "", None])
def test_a_payment_of_another_installation_is_none_of_ours(installation: str | None) -> None:
    told = {**metadata_of(Reference(BOOKING, 3), "ours"), "installation": installation}
    assert reference_of(told, "ours") is None
    del told["installation"]
    assert reference_of(told, "ours") is None


@pytest.mark.parametrize(
    "metadata",
    [
        None,
        {},
        {"booking_id": BOOKING},
        {"attempt": "1"},
        {"booking_id": "12345", "attempt": "1"},
        {"booking_id": f"{BOOKING}\n", "attempt": "1"},
        {"booking_id": BOOKING, "attempt": "0"},
        {"booking_id": BOOKING, "attempt": "1 "},
        {"booking_id": BOOKING, "attempt": 1},
        {"booking_id": 7, "attempt": "1"},
    ],
)
def test_a_payment_of_somebody_else_is_none_of_ours(metadata: dict[str, object] | None) -> None:
    assert reference_of(metadata and {"installation": "ours", **metadata}, "ours") is None
