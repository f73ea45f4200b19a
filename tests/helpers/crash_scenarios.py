"""Payments that between them come by every await of the saga and of the cashier.

Each scenario prepares a payment, lets it be carried on over a gateway that may answer oddly, and
says in which states it may end once others have carried it on over a gateway that does not.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from engine.outcomes import Outcome
from engine.payments import saga as saga_module
from engine.payments.cashier import Cashier
from engine.payments.gateway import Failed, GatewayStatus, Missing, Payment, Unknown
from engine.payments.intents import intent_of
from engine.payments.saga import Saga
from tests.helpers.crash_hand import (
    ASKS_BUYER,
    VISA,
    Hand,
    Setup,
    abandoned,
    acted,
    asking,
    authorized,
    authorized_and_lost,
    begun,
    cancelled,
    captured_and_cancelled,
    ended_elsewhere,
    held,
    paid_and_cancelled,
)
from tests.helpers.odd_gateway import OddGateway, Oddity, instead, lost, seen_as
from workers import recovery as recovery_module
from workers.recovery import Recovery
from workers.undecided import Undecided

PAID: Final = "CONFIRMED CAPTURED"
DECLINED: Final = "PENDING DECLINED"
VOIDED: Final = "CANCELLED VOIDED"
REFUNDED: Final = "CANCELLED REFUNDED"
GIVEN_UP: Final = "CANCELLED DECLINED"

Act = Callable[[Hand, OddGateway, str], Awaitable[object]]


def driving(**terms: Any) -> Act:
    """Carry the payment on, if it is open and nobody else's."""

    async def act(hand: Hand, gateway: OddGateway, owner: str) -> None:
        claim = await hand.engine.payments.claim(hand.booking_id, owner)
        if claim.outcome is Outcome.DONE and claim.booking:
            await Saga(hand.engine.payments, gateway, **terms).drive(claim.booking, owner)

    return act


async def renewing(hand: Hand, gateway: OddGateway, owner: str) -> None:
    """Carry it on, with a lease that is used up before each step."""
    vars(saga_module)["PAYMENT_LEASE_MS"] = 0
    await driving()(hand, gateway, owner)


def deciding(*, charged: bool) -> Act:
    """End an authorization as the reconciler does."""

    async def act(hand: Hand, gateway: OddGateway, owner: str) -> None:
        claim = await hand.engine.payments.claim(hand.booking_id, owner)
        if claim.outcome is not Outcome.DONE or claim.booking is None:
            return
        charge: Any = None
        if charged:
            answer: Any = await hand.gateway.authorize(intent_of(claim.booking))
            charge = await hand.gateway.retrieve(answer.authorization_id)
            assert isinstance(charge, Payment)
        await Saga(hand.engine.payments, gateway).decide(claim.booking, owner, charge)

    return act


def paying(deadline_ms: int, patience_s: float) -> Act:
    """Take the buyer's request, and stop."""

    async def act(hand: Hand, gateway: OddGateway, _: str) -> None:
        engine = hand.engine
        saga = Saga(engine.payments, gateway)
        cashier = Cashier(engine.payments, engine.bookings, saga, engine.vault, deadline_ms)
        await cashier.pay(hand.request(VISA))
        await cashier.close(patience_s)

    return act


class _One:
    """An engine whose workers know of one due payment alone: the others are other processes'."""

    def __init__(self, hand: Hand) -> None:
        self.partitions = hand.engine.partitions
        self.payments = self
        self.claim = hand.engine.payments.claim
        self._books, self._booking_id = hand.engine.payments, hand.booking_id

    async def due(self, partition: int, _: int) -> list[str]:
        due = await self._books.due(partition, 10_000)
        return [booking_id for booking_id in due if booking_id == self._booking_id]


def working(hands: int = 16, patience_s: float = 15.0, pieces: int = 1) -> Act:
    """Do a worker's work on what is due, and stop."""

    async def act(hand: Hand, gateway: OddGateway, _: str) -> None:
        vars(recovery_module).update(MAX_PAYMENTS_AT_ONCE=hands, SAGA_PATIENCE_S=patience_s)
        saga = Saga(hand.engine.payments, gateway)
        recovery = Recovery(_One(hand), saga)  # type: ignore[arg-type]
        for _piece in range(pieces):
            await recovery.run_once()
        await recovery.finish()

    return act


async def reconciling(hand: Hand, gateway: OddGateway, _: str) -> None:
    """Decide an authorization whose key has run out, by what the gateway lists."""
    saga = Saga(hand.engine.payments, gateway, key_lifetime_ms=-1)
    undecided = Undecided(hand.engine, gateway, saga, settled_ms=0)
    for _piece in range(3):
        await undecided.run_once([hand.booking_id])


@dataclass(frozen=True, slots=True)
class Scenario:
    """How a payment comes to be carried on, and how it may end in the end."""

    setup: Setup
    ends: tuple[str, ...] = (PAID,)
    act: Act = field(default_factory=driving)
    odd: Mapping[str, Oddity] = field(default_factory=dict)

    @property
    def resent(self) -> bool:
        """Whether the buyer, who got no answer, sends the request again."""
        return self.setup is held


_AUTHORIZED: Final = GatewayStatus.AUTHORIZED
_ODDLY: Final = Failed("odd", None)

SCENARIOS: Final[Mapping[str, Scenario]] = {
    "a good card": Scenario(begun()),
    "a bad card": Scenario(begun("pm_card_chargeDeclined"), (DECLINED,)),
    "no answer to the authorization": Scenario(begun(), odd={"authorize": lost()}),
    "an error for an authorization": Scenario(begun(), odd={"authorize": lost("http_500")}),
    "an error, and nothing found": Scenario(
        begun(), odd={"authorize": instead(Unknown("http_500"))}
    ),
    "another amount is authorized": Scenario(begun(), odd={"authorize": seen_as(amount=1)}),
    "a key that has run out": Scenario(begun(), act=driving(key_lifetime_ms=-1)),
    "a lease that is used up": Scenario(begun(), act=renewing),
    "decided: never answered": Scenario(begun(), (DECLINED, PAID), act=deciding(charged=False)),
    "decided: charged": Scenario(begun(), act=deciding(charged=True)),
    "the buyer has to act": Scenario(begun(ASKS_BUYER), (GIVEN_UP,)),
    "the buyer has not acted": Scenario(asking, (GIVEN_UP,)),
    "the buyer has acted": Scenario(acted("complete")),
    "the buyer has failed": Scenario(acted("fail"), (DECLINED,)),
    "ended by somebody else": Scenario(ended_elsewhere, (DECLINED,)),
    "a look finds nothing": Scenario(acted("complete"), odd={"retrieve": instead(Missing())}),
    "a look is not answered": Scenario(acted("complete"), odd={"retrieve": lost()}),
    "a look finds another amount": Scenario(acted("complete"), odd={"retrieve": seen_as(amount=1)}),
    "a look finds nothing decided": Scenario(
        acted("complete"), odd={"retrieve": seen_as(status=GatewayStatus.AUTHORIZING)}
    ),
    "the buyer acts while we give up": Scenario(
        acted("complete"),
        odd={
            "retrieve": seen_as(status=GatewayStatus.DECLINED),
            "void": instead(Failed("odd", _AUTHORIZED)),
        },
    ),
    "no answer to giving up": Scenario(acted("fail"), (DECLINED,), odd={"void": lost()}),
    "a capture that is refused": Scenario(begun("pm_card_captureRefused"), (VOIDED,)),
    "no answer to the capture": Scenario(authorized, odd={"capture": lost()}),
    "an error for a capture": Scenario(authorized, odd={"capture": lost("http_500")}),
    "a capture of what is not known": Scenario(authorized, odd={"capture": instead(_ODDLY)}),
    "cancelled": Scenario(cancelled, (VOIDED,)),
    "no answer to the void": Scenario(cancelled, (VOIDED,), odd={"void": lost()}),
    "an error for a void": Scenario(cancelled, (VOIDED,), odd={"void": lost("http_500")}),
    "a void of what is not known": Scenario(cancelled, (VOIDED,), odd={"void": instead(_ODDLY)}),
    "captured and cancelled": Scenario(captured_and_cancelled, (REFUNDED,)),
    "paid and cancelled": Scenario(paid_and_cancelled, (REFUNDED,)),
    "no answer to the refund": Scenario(paid_and_cancelled, (REFUNDED,), odd={"refund": lost()}),
    "an error for a refund": Scenario(
        paid_and_cancelled, (REFUNDED,), odd={"refund": lost("http_500")}
    ),
    "a refund that is refused": Scenario(
        paid_and_cancelled, (REFUNDED,), odd={"refund": instead(_ODDLY)}
    ),
    "a request": Scenario(held, act=paying(10_000, 10)),
    "a request past its deadline": Scenario(held, act=paying(0, 10)),
    "a request that is cut off": Scenario(held, act=paying(0, 0)),
    "a request that joins a lost attempt": Scenario(abandoned, act=paying(10_000, 10)),
    "a request that joins another's attempt": Scenario(begun(), act=paying(100, 0)),
    "a worker": Scenario(abandoned, act=working()),
    "a worker whose hands are full": Scenario(abandoned, act=working(hands=1, pieces=2)),
    "a worker that is cut off": Scenario(abandoned, act=working(patience_s=0)),
    "the reconciler finds nothing": Scenario(abandoned, (DECLINED, PAID), act=reconciling),
    "the reconciler finds a charge": Scenario(authorized_and_lost, act=reconciling),
}
