"""Gives money back that nothing of ours counts on, directly at the gateway."""

from __future__ import annotations

import structlog

from engine.payments.gateway import Failed, Gateway, Refunded, Unknown, Voided
from engine.payments.gateway import Payment as Charge
from engine.payments.intents import was_taken

_log = structlog.stdlib.get_logger("holdfast.reconciler")


async def give_back(gateway: Gateway, charge: Charge) -> bool:
    """Void an authorization, refund a capture; answers whether that is certain.

    The keys are those of the charge's reference, so that any number of tries by any number of
    processes is one void or one refund. False is tried again by whoever looks at the charge next.
    """
    assert charge.reference
    answer: Voided | Refunded | Failed | Unknown
    if was_taken(charge):
        answer = await gateway.refund(charge.reference, charge.authorization_id)
    else:
        answer = await gateway.void(charge.reference, charge.authorization_id)
    match answer:
        case Failed(code=reason) | Unknown(reason=reason):
            _log.warning(
                "late_money_not_returned_yet",
                booking_id=charge.reference.booking_id,
                authorization_id=charge.authorization_id,
                reason=reason,
            )
            return False
        case _:
            return True
