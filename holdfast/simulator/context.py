"""What every operation of the API works with, and the look-ups they share.

All of them run within a transaction that their caller opened.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from holdfast.simulator.cards import CARDS, Card
from holdfast.simulator.errors import ApiError, missing
from holdfast.simulator.events import Events
from holdfast.simulator.parameters import Parameters
from holdfast.simulator.records import Charge, PaymentIntent, show_intent
from holdfast.simulator.store import Store


@dataclass(frozen=True, slots=True)
class Context:
    """What operations work on. `base_url` is how the caller reached us, with a slash at its end."""

    store: Store
    events: Events
    now_ms: int
    authorization_lifetime_ms: int
    base_url: str


def find_intent(context: Context, intent_id: str, param: str = "intent") -> PaymentIntent:
    """Return an intent; raises ApiError where there is none.

    An authorization that ran out is cancelled when it is next looked at, as Stripe does by itself.
    """
    intent = context.store.get(PaymentIntent, intent_id)
    if intent is None:
        raise missing("payment_intent", intent_id, param)
    charge = latest_charge(context, intent)
    expires_ms = charge.capture_before_ms if charge else None
    if intent.status == "requires_capture" and (expires_ms or 0) <= context.now_ms:
        release(context, intent, "automatic")
    return intent


def latest_charge(context: Context, intent: PaymentIntent) -> Charge | None:
    """Return what an intent's last confirmation made, if anything."""
    return context.store.get(Charge, intent.latest_charge) if intent.latest_charge else None


def release(context: Context, intent: PaymentIntent, reason: str | None) -> None:
    """End an intent, and free what its charge holds."""
    charge = latest_charge(context, intent)
    intent.status, intent.next_action = "canceled", None
    intent.canceled_ms, intent.cancellation_reason = context.now_ms, reason
    if charge is not None and charge.status == "succeeded":
        charge.released_ms = context.now_ms
        context.store.put(charge)
    context.store.put(intent)
    context.events.append("payment_intent.canceled", show_intent(intent, charge), intent.id)


def unexpected_state(context: Context, intent: PaymentIntent, verb: str) -> ApiError:
    """What a request is told that an intent is past."""
    return ApiError(
        400,
        f"You cannot {verb} this PaymentIntent because it has a status of {intent.status}.",
        code="payment_intent_unexpected_state",
        payment_intent=show_intent(intent, latest_charge(context, intent)),
    )


def find_card(payment_method: str) -> Card:
    """Return what a test payment method does; raises ApiError for another.

    An unknown one is not repeated in the message: whoever takes the field for a card number must
    not find it in a log.
    """
    card = CARDS.get(payment_method)
    if card is None:
        raise missing("PaymentMethod", "(not a test payment method)", "payment_method")
    return card


def show(context: Context, intent: PaymentIntent, parameters: Parameters) -> dict[str, Any]:
    """Return an intent as the request wants it."""
    return show_intent(intent, latest_charge(context, intent), parameters.expand)
