"""A payment gateway in memory that keeps keys as Stripe keeps them, and the adapter to it.

The first answer to a key is kept, whatever it was; the same key with other parameters is an error,
and during the first request a conflict. A request that has arrived is carried out whether or not
its sender still waits. What must never be asked of it is checked by `watch` when it arrives.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

from engine.payments.gateway import (
    Approved,
    Authorization,
    Captured,
    Declined,
    Failed,
    GatewayStatus,
    Intent,
    NextAction,
    Payment,
    Reference,
    Refunded,
    RequiresAction,
    Step,
    Unknown,
    Voided,
)

METHODS: Final = (
    "pm_card_visa",
    "pm_card_visa",
    "pm_card_visa",
    "pm_card_chargeDeclined",
    "pm_card_authenticationRequired",
    "pm_card_captureRefused",
    "pm_card_visa",
    "pm_card_authenticationRequired",
)
UNDONE: Final = "gateway_error, undone"
"""Answered 500 and not carried out; `gateway_error` is carried out."""
KEY_LIFETIME_MS: Final = 24 * 3600 * 1000
"""Stripe prunes keys that are older (https://docs.stripe.com/api/idempotent_requests)."""
SEARCH_LAG_MS: Final = 40_000
"""A search does not find a payment before."""
_ACTION: Final = NextAction("redirect", "https://bank.example/3ds", None)
_ENDED: Final = {GatewayStatus.VOIDED, GatewayStatus.REFUNDED}


@dataclass(frozen=True, slots=True)
class Charge:
    """A payment as the gateway has it."""

    payment: Payment
    method: str
    captures: int = 0


@dataclass(frozen=True, slots=True)
class Asked:
    """A request: the step, our name for the attempt, and all parameters."""

    step: Step
    reference: Reference
    parameters: Any


Watcher = Callable[[Asked, Charge | None], None]
"""Told of each request that is carried out, with the charge after it."""


class Gateway:
    """The server."""

    def __init__(self, now_ms: Callable[[], int], chance: random.Random, watch: Watcher) -> None:
        self.charges: dict[str, Charge] = {}
        self._now_ms = now_ms
        self._chance = chance
        self._watch = watch
        self._kept: dict[str, tuple[Asked, Any, int]] = {}
        self._running: set[str] = set()
        self.on_the_way = 0
        """Requests that were sent and are not carried out."""
        self._planned: list[tuple[str, int]] = []
        """What happens to the next requests: a word, and how many come before."""
        self.fired: Counter[str] = Counter()

    def plan(self, fault: str, after: int) -> None:
        """Have something happen to a request, some requests from now."""
        self._planned.append((fault, after))

    def heal(self) -> None:
        """Nothing goes wrong from now on."""
        self._planned.clear()

    def latency_s(self) -> float:
        """How long a request or an answer is on its way."""
        return self._chance.choice((0.02, 0.05, 0.2, 1.5))

    def send(self, key: str, asked: Asked, perform: Callable[[], Any]) -> asyncio.Future[Any]:
        """Send a request; the future gets its answer, or never anything."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Any] = loop.create_future()
        fault = ""
        if self._planned:
            fault, more = self._planned.pop(0)
            if more > 0:
                self._planned.insert(0, (fault, more - 1))
                fault = ""
            else:
                self.fired[fault] += 1

        def give(found: Any) -> None:
            if not answer.done():
                answer.set_result(found)

        def arrive() -> None:
            self.on_the_way -= 1
            if key in self._running:
                loop.call_later(self.latency_s(), give, Unknown("idempotency_key_in_use"))
                return
            self._running.add(key)
            self.on_the_way += 1
            loop.call_later(self.latency_s(), finish)

        def finish() -> None:
            self.on_the_way -= 1
            self._running.discard(key)
            known = self._kept.get(key)
            if known is None or self._now_ms() - known[2] > KEY_LIFETIME_MS:
                # Perhaps it is not carried out, and answered so for ever under this key.
                refused = fault == UNDONE
                found = Unknown("http_500") if refused else perform()
                if not refused:
                    self._watch(asked, self._charge_of(asked.reference))
                if fault in {"gateway_error", UNDONE}:
                    found = Unknown("http_500")
                self._kept[key] = (asked, found, self._now_ms())
            else:
                found = known[1] if known[0] == asked else Unknown("idempotency_mismatch")
            if isinstance(found, Failed) and found.status is not None:
                # The adapter looks at what a refusal was about, and answers by that.
                found = self._looked_at(asked, found.code)
            lost = fault == "gateway_lose_answer"
            loop.call_later(self.latency_s(), give, Unknown("connection") if lost else found)

        if fault == "gateway_lose_request":
            loop.call_later(self.latency_s(), give, Unknown("connection"))
        else:
            late_s = self._chance.choice((9, 14, 50)) if fault == "gateway_late" else 0.0
            self.on_the_way += 1
            loop.call_later(self.latency_s() + late_s, arrive)
        return answer

    def authorize(self, intent: Intent) -> Authorization:
        """Make a charge."""
        authorization_id = f"pi_{len(self.charges)}"
        status = {
            "pm_card_chargeDeclined": GatewayStatus.DECLINED,
            "pm_card_authenticationRequired": GatewayStatus.REQUIRES_ACTION,
        }.get(intent.payment_method, GatewayStatus.AUTHORIZED)
        acts = status is GatewayStatus.REQUIRES_ACTION
        payment = Payment(
            authorization_id=authorization_id,
            reference=intent.reference,
            status=status,
            amount=intent.amount,
            currency=intent.currency,
            amount_captured=0,
            amount_refunded=0,
            created_ms=self._now_ms(),
            next_action=_ACTION if acts else None,
            decline_code="card_declined" if status is GatewayStatus.DECLINED else None,
        )
        self.charges[authorization_id] = Charge(payment, intent.payment_method)
        if status is GatewayStatus.DECLINED:
            return Declined("card_declined", authorization_id)
        if acts:
            return RequiresAction(authorization_id, _ACTION)
        return Approved(authorization_id, intent.amount, intent.currency, None)

    def capture(self, authorization_id: str) -> Captured | Failed:
        """Take the money."""
        charge = self.charges.get(authorization_id)
        if charge is None:
            return Failed("resource_missing")
        refused = charge.method == "pm_card_captureRefused"
        if charge.payment.status is GatewayStatus.AUTHORIZED and not refused:
            self._set(
                charge,
                captures=charge.captures + 1,
                status=GatewayStatus.CAPTURED,
                amount_captured=charge.payment.amount,
                capture_id=f"ch_{authorization_id}",
            )
        now = self.charges[authorization_id].payment
        if now.capture_id is None:
            return Failed("capture_refused", now.status)
        return Captured(authorization_id, now.capture_id, now.amount_captured, now.currency)

    def void(self, authorization_id: str) -> Voided | Failed:
        """Let go of the money."""
        charge = self.charges.get(authorization_id)
        if charge is None:
            return Failed("resource_missing")
        if charge.payment.status not in {*_ENDED, GatewayStatus.CAPTURED}:
            self._set(charge, status=GatewayStatus.VOIDED, next_action=None)
        status = self.charges[authorization_id].payment.status
        voided = status is GatewayStatus.VOIDED
        return Voided(authorization_id) if voided else Failed("unexpected_state", status)

    def refund(self, authorization_id: str) -> Refunded | Failed:
        """Give the money back."""
        charge = self.charges.get(authorization_id)
        if charge is None:
            return Failed("resource_missing")
        if charge.payment.status is GatewayStatus.CAPTURED:
            amount = charge.payment.amount_captured
            self._set(charge, status=GatewayStatus.REFUNDED, amount_refunded=amount)
        now = self.charges[authorization_id].payment
        if now.status is not GatewayStatus.REFUNDED:
            return Failed("unexpected_state", now.status)
        return Refunded(authorization_id, f"re_{authorization_id}", now.amount, now.currency)

    def _looked_at(self, asked: Asked, code: str) -> Captured | Voided | Refunded | Failed:
        now = self.charges[asked.parameters].payment
        match asked.step, now.status:
            case Step.CAPTURE, GatewayStatus.CAPTURED | GatewayStatus.REFUNDED:
                return self.capture(asked.parameters)
            case Step.VOID, GatewayStatus.VOIDED:
                return Voided(asked.parameters)
            case Step.REFUND, GatewayStatus.REFUNDED:
                return self.refund(asked.parameters)
        return Failed(code, now.status)

    def act(self, number: int, *, succeeds: bool) -> bool:
        """A buyer does what his bank asks, or fails at it; False where nobody is asked."""
        waiting = [
            charge
            for charge in self.charges.values()
            if charge.payment.status is GatewayStatus.REQUIRES_ACTION
        ]
        if not waiting:
            return False
        status = GatewayStatus.AUTHORIZED if succeeds else GatewayStatus.DECLINED
        self._set(waiting[number % len(waiting)], status=status, next_action=None)
        return True

    def _set(self, charge: Charge, captures: int | None = None, **fields: Any) -> None:
        payment = replace(charge.payment, **fields)
        count = charge.captures if captures is None else captures
        self.charges[payment.authorization_id] = replace(charge, payment=payment, captures=count)

    def _charge_of(self, reference: Reference) -> Charge | None:
        found = [one for one in self.charges.values() if one.payment.reference == reference]
        return found[-1] if found else None

    def found(self, reference: Reference) -> tuple[Payment, ...]:
        """What a search finds by now."""
        before_ms = self._now_ms() - SEARCH_LAG_MS
        return tuple(
            charge.payment
            for charge in self.charges.values()
            if charge.payment.reference == reference and charge.payment.created_ms <= before_ms
        )
