"""What becomes of an authorization: capture, cancel, refund. Checks everything, then writes."""

from __future__ import annotations

from typing import Any, Final

from holdfast.simulator.context import (
    Context,
    find_card,
    find_intent,
    latest_charge,
    release,
    show,
    unexpected_state,
)
from holdfast.simulator.errors import ApiError, invalid, missing
from holdfast.simulator.intents import MAX_AMOUNT
from holdfast.simulator.parameters import Parameters
from holdfast.simulator.records import (
    Charge,
    Refund,
    new_id,
    show_charge,
    show_intent,
    show_refund,
)

_CANCELLATION_REASONS: Final = ("duplicate", "fraudulent", "requested_by_customer", "abandoned")
_CANCELLABLE: Final = {
    "requires_payment_method",
    "requires_confirmation",
    "requires_action",
    "requires_capture",
}


def capture_intent(context: Context, parameters: Parameters, intent_id: str) -> dict[str, Any]:
    """POST /v1/payment_intents/{intent}/capture."""
    amount = parameters.integer("amount_to_capture", 1, MAX_AMOUNT)
    parameters.finish()
    intent = find_intent(context, intent_id)
    charge = latest_charge(context, intent)
    if intent.status != "requires_capture" or charge is None:
        raise unexpected_state(context, intent, "capture")
    if (amount or 0) > charge.amount:
        raise ApiError(
            400,
            "The amount to capture is more than what was authorized.",
            code="amount_too_large",
            param="amount_to_capture",
        )
    if find_card(charge.payment_method).capture_refused:
        raise ApiError(
            400,
            "The charge cannot be captured as the authorization has expired.",
            code="charge_expired_for_capture",
            payment_intent=show_intent(intent, charge),
        )
    intent.status = "succeeded"
    # What is not captured is released with it.
    charge.captured_ms, charge.amount_captured = context.now_ms, amount or charge.amount
    context.store.put(charge)
    context.store.put(intent)
    context.events.append("payment_intent.succeeded", show_intent(intent, charge), intent.id)
    return show(context, intent, parameters)


def cancel_intent(context: Context, parameters: Parameters, intent_id: str) -> dict[str, Any]:
    """POST /v1/payment_intents/{intent}/cancel."""
    reason = parameters.text("cancellation_reason", _CANCELLATION_REASONS)
    parameters.finish()
    intent = find_intent(context, intent_id)
    if intent.status not in _CANCELLABLE:
        raise unexpected_state(context, intent, "cancel")
    release(context, intent, reason)
    return show(context, intent, parameters)


def create_refund(context: Context, parameters: Parameters) -> dict[str, Any]:
    """POST /v1/refunds."""
    intent_id = parameters.text("payment_intent")
    charge_id = parameters.text("charge")
    amount = parameters.integer("amount", 1, MAX_AMOUNT)
    reason = parameters.text("reason", ("duplicate", "fraudulent", "requested_by_customer"))
    metadata = parameters.metadata()
    parameters.finish()
    if (intent_id is None) == (charge_id is None):
        raise invalid(
            "One of the following params should be provided: payment_intent or charge.",
            "parameter_missing",
            "payment_intent",
        )
    store = context.store
    if charge_id is None:
        charge = latest_charge(context, find_intent(context, intent_id or "", "payment_intent"))
    else:
        charge = store.get(Charge, charge_id)
        if charge is None:
            raise missing("charge", charge_id, "charge")
    if charge is None or charge.captured_ms is None:
        raise ApiError(
            400,
            "This payment does not have a captured charge to refund.",
            code="charge_not_captured",
        )
    left = charge.amount_captured - charge.amount_refunded
    if left <= 0:
        raise ApiError(
            400, f"Charge {charge.id} has already been refunded.", code="charge_already_refunded"
        )
    if (amount or left) > left:
        raise ApiError(
            400,
            f"Refund amount ({amount}) is greater than unrefunded amount on charge ({left})",
            code="amount_too_large",
            param="amount",
        )
    refund = Refund(
        id=new_id("re_"),
        created_ms=context.now_ms,
        payment_intent=charge.payment_intent,
        charge=charge.id,
        amount=amount or left,
        currency=charge.currency,
        metadata=metadata,
        reason=reason,
    )
    charge.amount_refunded += refund.amount
    store.put(charge)
    store.put(refund)
    context.events.append("charge.refunded", show_charge(charge), charge.payment_intent)
    return show_refund(refund)
