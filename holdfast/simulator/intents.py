"""PaymentIntents on their way to an authorization: create, confirm, authenticate, charge.

An operation checks everything, then writes: a refusal raised before the first write changes
nothing, and a declined card is raised after what it leaves behind was written.
"""

from __future__ import annotations

from typing import Any, Final

from engine.limits import MAX_INTEGER
from engine.payments.currencies import EXPONENTS
from holdfast.simulator.cards import Card
from holdfast.simulator.context import Context, find_card, find_intent, show, unexpected_state
from holdfast.simulator.errors import ApiError, invalid
from holdfast.simulator.parameters import Parameters
from holdfast.simulator.records import Charge, PaymentIntent, new_id, show_intent

MAX_AMOUNT: Final = 99_999_999
"""Stripe takes eight digits. It also has a least amount per currency, which depends on the
account's own currency and the day's rate, and which the simulator does not have."""

_AUTHENTICATION_FAILED: Final = Card(
    code="payment_intent_authentication_failure",
    message="The provided PaymentMethod has failed authentication.",
)


def create_intent(context: Context, parameters: Parameters) -> dict[str, Any]:
    """POST /v1/payment_intents."""
    amount = parameters.integer("amount", 1, MAX_INTEGER)
    if amount is None:
        raise invalid("Missing required param: amount.", "parameter_missing", "amount")
    if amount > MAX_AMOUNT:
        raise invalid("Amount must be no more than 99999999", "amount_too_large", "amount")
    currency = parameters.required_text("currency").lower()
    if currency.upper() not in EXPONENTS:
        raise invalid(f"Invalid currency: {currency[:8]}", "parameter_invalid", "currency")
    confirm = parameters.flag("confirm")
    return_url = parameters.text("return_url")
    if return_url is not None and not confirm:
        raise invalid(
            "`return_url` can only be used with `confirm` set to true",
            "parameter_invalid",
            "return_url",
        )
    intent = PaymentIntent(
        id=(intent_id := new_id("pi_")),
        created_ms=context.now_ms,
        amount=amount,
        currency=currency,
        status="requires_payment_method",
        capture_method=parameters.text("capture_method", ("automatic", "manual")) or "automatic",
        client_secret=f"{intent_id}_secret_{new_id('')}",
        metadata=parameters.metadata(),
        return_url=return_url,
    )
    payment_method = parameters.text("payment_method")
    if any(kind != "card" for kind in parameters.texts("payment_method_types")):
        raise invalid("Only cards are known here", "parameter_invalid", "payment_method_types")
    parameters.finish()
    if confirm and payment_method is None:
        raise invalid(
            "You cannot confirm this PaymentIntent because it's missing a payment method.",
            "parameter_missing",
            "payment_method",
        )
    if payment_method is not None:
        find_card(payment_method)
        intent.payment_method = payment_method
        intent.status = "requires_confirmation"
    context.store.put(intent)
    if confirm:
        _confirm(context, intent)
    return show(context, intent, parameters)


def confirm_intent(context: Context, parameters: Parameters, intent_id: str) -> dict[str, Any]:
    """POST /v1/payment_intents/{intent}/confirm."""
    payment_method = parameters.text("payment_method")
    return_url = parameters.text("return_url")
    parameters.finish()
    intent = find_intent(context, intent_id)
    if intent.status not in {"requires_payment_method", "requires_confirmation", "requires_action"}:
        raise unexpected_state(context, intent, "confirm")
    if payment_method is not None:
        find_card(payment_method)
        intent.payment_method = payment_method
    if intent.payment_method is None:
        raise ApiError(
            400,
            "You cannot confirm this PaymentIntent because it's missing a payment method.",
            code="payment_intent_unexpected_state",
        )
    intent.return_url = return_url or intent.return_url
    _confirm(context, intent)
    return show(context, intent, parameters)


def _confirm(context: Context, intent: PaymentIntent) -> None:
    """Ask for authentication where the card needs it, or charge at once."""
    card = find_card(intent.payment_method or "")
    intent.last_payment_error = None
    if not card.needs_authentication:
        charge_intent(context, intent, card)
        return
    page = f"{context.base_url}3ds/{intent.id}?client_secret={intent.client_secret}"
    intent.status = "requires_action"
    # As Stripe: a page to go to only where it knows a page to come back to.
    intent.next_action = (
        {
            "type": "redirect_to_url",
            "redirect_to_url": {"url": page, "return_url": intent.return_url},
        }
        if intent.return_url
        else {
            "type": "use_stripe_sdk",
            "use_stripe_sdk": {"type": "three_d_secure_redirect", "stripe_js": page},
        }
    )
    context.store.put(intent)
    context.events.append("payment_intent.requires_action", show_intent(intent, None), intent.id)


def charge_intent(context: Context, intent: PaymentIntent, card: Card) -> None:
    """Authorize (and capture, unless that is manual) or decline; raises ApiError when declined."""
    charge = Charge(
        id=new_id("ch_"),
        created_ms=context.now_ms,
        payment_intent=intent.id,
        amount=intent.amount,
        currency=intent.currency,
        payment_method=intent.payment_method or "",
        metadata=intent.metadata,
    )
    intent.latest_charge, intent.next_action = charge.id, None
    if card.code is not None:
        charge.status = "failed"
        charge.failure_code, charge.failure_message = card.code, card.message
        fail_intent(context, intent, charge, card)
        return
    charge.capture_before_ms = context.now_ms + context.authorization_lifetime_ms
    if intent.capture_method == "manual":
        intent.status = "requires_capture"
        event = "payment_intent.amount_capturable_updated"
    else:
        intent.status = "succeeded"
        charge.captured_ms, charge.amount_captured = context.now_ms, charge.amount
        event = "payment_intent.succeeded"
    context.store.put(charge)
    context.store.put(intent)
    context.events.append(event, show_intent(intent, charge), intent.id)


def fail_intent(
    context: Context, intent: PaymentIntent, charge: Charge | None, reason: Card
) -> None:
    """Leave the intent waiting for another payment method; raises the card's error."""
    intent.status, intent.next_action = "requires_payment_method", None
    details = {
        "code": reason.code,
        "decline_code": reason.decline_code,
        "message": reason.message,
        "payment_method": intent.payment_method,
        "type": "card_error",
    }
    intent.last_payment_error = {key: value for key, value in details.items() if value is not None}
    intent.payment_method = None
    if charge is not None:
        context.store.put(charge)
    context.store.put(intent)
    shown = show_intent(intent, charge)
    context.events.append("payment_intent.payment_failed", shown, intent.id)
    raise ApiError(
        402,
        reason.message or "",
        error_type="card_error",
        code=reason.code,
        decline_code=reason.decline_code,
        payment_intent=shown,
    )


def authenticate_intent(
    context: Context, intent_id: str, client_secret: str, *, succeed: bool
) -> PaymentIntent:
    """Do what the buyer did on the page of 3-D Secure; raises ApiError where that was refused."""
    intent = find_intent(context, intent_id)
    if client_secret != intent.client_secret:
        raise ApiError(401, "The client_secret is not this PaymentIntent's.")
    if intent.status != "requires_action":
        raise unexpected_state(context, intent, "authenticate")
    if not succeed:
        fail_intent(context, intent, None, _AUTHENTICATION_FAILED)
    charge_intent(context, intent, find_card(intent.payment_method or ""))
    return intent
