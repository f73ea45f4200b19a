"""What a charge and a booking are to each other: the whole table."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from engine.payments.gateway import GatewayStatus, Reference
from engine.payments.gateway import Payment as Charge
from engine.payments.intents import best_of
from engine.payments.matching import DIFFERENCES, Verdict, judge
from engine.payments.types import Payment, PaymentStatus, Step
from engine.types import Booking, Line, Status

ID = "00f01JDC6W2Q9R0S1T2V3W4X5Y6Z7"
NOW_MS = 1_800_000_000_000
SETTLED_MS = 70_000
REST = {
    PaymentStatus.CAPTURED: Step.NONE,
    PaymentStatus.DECLINED: Step.NONE,
    PaymentStatus.VOIDED: Step.NONE,
    PaymentStatus.REFUNDED: Step.NONE,
    PaymentStatus.AUTHORIZING: Step.AUTHORIZE,
    PaymentStatus.REQUIRES_ACTION: Step.AUTHORIZE,
    PaymentStatus.CAPTURING: Step.CAPTURE,
    PaymentStatus.AUTHORIZED: Step.VOID,
    PaymentStatus.REFUNDING: Step.REFUND,
    PaymentStatus.UNKNOWN: Step.CAPTURE,
}


def a_charge(status: str, **changes: Any) -> Charge:
    taken = status in {"CAPTURED", "REFUNDED"}
    charge = Charge(
        authorization_id="pi_1",
        reference=Reference(ID, 1),
        status=GatewayStatus(status),
        amount=500,
        currency="USD",
        amount_captured=500 if taken else 0,
        amount_refunded=500 if status == "REFUNDED" else 0,
        created_ms=NOW_MS - SETTLED_MS,
    )
    return replace(charge, **changes)


def a_booking(status: PaymentStatus | str | None, **changes: Any) -> Booking:
    payment = None
    if status is not None:
        status = PaymentStatus(status)
        payment = Payment(
            status=status,
            step=REST[status],
            attempt=1,
            gateway="simulator",
            method="pm_card_visa",
            return_url=None,
            key="k",
            fingerprint="f",
            begun_ms=NOW_MS - SETTLED_MS,
            authorization_id="pi_1",
            capture_id=None,
            decline_code=None,
            next_action=None,
        )
        payment = replace(payment, **changes)
    return Booking(
        booking_id=ID,
        version=3,
        sale_id="gig",
        customer_id="ann",
        status=Status.CONFIRMED,
        cancel_reason=None,
        lines=(Line("seat", 1, 500),),
        amount=500,
        currency="USD",
        hold_expires_ms=NOW_MS,
        created_ms=NOW_MS,
        updated_ms=NOW_MS,
        extended=False,
        payment=payment,
    )


def verdict(charge: Charge, booking: Booking | None) -> Verdict:
    return judge(charge, booking, NOW_MS, SETTLED_MS)


MONEY = ("AUTHORIZED", "CAPTURED", "REQUIRES_ACTION")
ENDED = ("DECLINED", "VOIDED", "REFUNDED")


@pytest.mark.parametrize("status", MONEY)
@pytest.mark.parametrize(
    "booking",
    [
        None,
        a_booking(None),
        a_booking("DECLINED"),
        a_booking("DECLINED", authorization_id=None),
        a_booking("VOIDED"),
        a_booking("REFUNDED"),
        a_booking("CAPTURED", attempt=2),
        a_booking("CAPTURING", attempt=2),
        a_booking("CAPTURED", authorization_id="pi_2"),
        a_booking("CAPTURING", authorization_id="pi_2"),
    ],
    ids=lambda booking: (
        "absent" if booking is None else str(booking.payment and booking.payment.status)
    ),
)
def test_money_that_nothing_counts_on_is_an_orphan_once_no_request_can_be_under_way(
    status: str, booking: Booking | None
) -> None:
    assert verdict(a_charge(status), booking) is Verdict.ORPHAN
    young = a_charge(status, created_ms=NOW_MS - SETTLED_MS + 1)
    assert verdict(young, booking) is Verdict.IN_FLIGHT


@pytest.mark.parametrize("status", [*MONEY, *ENDED, "AUTHORIZING"])
@pytest.mark.parametrize("ours", [name for name, step in REST.items() if step is not Step.NONE])
def test_what_the_saga_is_at_is_in_flight_however_old(status: str, ours: PaymentStatus) -> None:
    assert verdict(a_charge(status, created_ms=0), a_booking(ours)) is Verdict.IN_FLIGHT


def test_an_attempt_whose_answer_is_not_known_yet_is_in_flight() -> None:
    booking = a_booking("AUTHORIZING", authorization_id=None)
    assert verdict(a_charge("AUTHORIZED", created_ms=0), booking) is Verdict.IN_FLIGHT


@pytest.mark.parametrize("status", ENDED)
@pytest.mark.parametrize("ours", [None, "DECLINED", "VOIDED", "REFUNDED"])
def test_what_holds_no_money_agrees_with_whatever_has_none(status: str, ours: str | None) -> None:
    assert verdict(a_charge(status), a_booking(ours)) is Verdict.AGREES
    assert verdict(a_charge(status), None) is Verdict.AGREES


def test_an_authorization_that_the_gateway_works_at_is_waited_for() -> None:
    assert verdict(a_charge("AUTHORIZING", created_ms=0), None) is Verdict.IN_FLIGHT


@pytest.mark.parametrize("created_ms", [0, NOW_MS])
def test_a_capture_of_the_whole_amount_agrees_however_young(created_ms: int) -> None:
    charge = a_charge("CAPTURED", created_ms=created_ms)
    assert verdict(charge, a_booking("CAPTURED")) is Verdict.AGREES


@pytest.mark.parametrize(
    "changes", [{"amount_captured": 499}, {"amount_refunded": 1}, {"currency": "EUR"}]
)
def test_another_amount_or_currency_differs(changes: dict[str, Any]) -> None:
    assert verdict(a_charge("CAPTURED", **changes), a_booking("CAPTURED")) is Verdict.DIFFERS


def test_money_that_somebody_else_gave_back_differs() -> None:
    assert verdict(a_charge("REFUNDED"), a_booking("CAPTURED")) is Verdict.DIFFERS


@pytest.mark.parametrize("status", ["AUTHORIZED", "DECLINED", "VOIDED", "REQUIRES_ACTION"])
def test_a_paid_booking_whose_charge_was_not_captured_misses_it(status: str) -> None:
    assert verdict(a_charge(status), a_booking("CAPTURED")) is Verdict.MISSING


def test_what_is_no_difference_is_named_so() -> None:
    assert set(Verdict) - DIFFERENCES == {Verdict.AGREES, Verdict.IN_FLIGHT}


def test_of_several_charges_the_one_with_money_counts() -> None:
    charges = [
        a_charge(status) for status in ("VOIDED", "REQUIRES_ACTION", "AUTHORIZED", "DECLINED")
    ]
    assert best_of(charges).status is GatewayStatus.AUTHORIZED
    assert best_of(charges[:1]).status is GatewayStatus.VOIDED
