"""Buyers and operators: what they ask, what they are told, and what must be true ever after."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final

from engine.errors import Fenced, Overloaded, Unavailable
from engine.outcomes import Outcome
from engine.payments.books import PaymentRequest
from engine.payments.types import PaymentStatus, Step
from engine.types import (
    Booking,
    CancelReason,
    ItemDefinition,
    LineRequest,
    SaleDefinition,
    Status,
)
from tests.simulation.auditor import Auditor
from tests.simulation.plan import Kind
from tests.simulation.process import Process

CUSTOMERS: Final = ("ann", "bob", "cid", "dan")
SALES: Final = (
    SaleDefinition(
        "gig",
        "Gig",
        (ItemDefinition("A", "Seat", 3, 500), ItemDefinition("B", "Stand", 2, 0)),
        hold_ms=30_000,
    ),
    SaleDefinition(
        "show",
        "Show",
        (ItemDefinition("A", "Seat", 2, 300),),
        hold_ms=9_000,
        max_units_per_customer=3,
    ),
)
"""One in each of two partitions."""
_RECENT: Final = (0, 0, 0, 0, 1, 1, 2, 3)
"""Which booking is asked about, the newest mostly."""


@dataclass(frozen=True, slots=True)
class Told:
    """A definite answer."""

    outcome: Outcome
    booking: Booking | None


@dataclass(slots=True)
class Request:
    """Something asked, once or more often, with the same words and the same key."""

    kind: Kind
    customer_id: str = ""
    booking: Booking | None = None
    key: str = ""
    sale: SaleDefinition = SALES[0]
    lines: tuple[LineRequest, ...] = ()
    method: str = ""
    under_way: int = 0
    answers: list[Told] = field(default_factory=list)


class Buyers:
    """All who ask, and their history."""

    def __init__(self, auditor: Auditor, note: Callable[[str], None]) -> None:
        self._auditor = auditor
        self._note = note
        self.requests: list[Request] = []
        self.bookings: list[Booking] = []
        """As they were held first."""

    def hold(self, who: int, what: int) -> Request:
        """Somebody wants units."""
        sale = SALES[what % 2]
        items = sale.items
        line = LineRequest(items[what // 2 % len(items)].item_id, 1 + what // 5)
        return self._new(Kind.HOLD, customer_id=CUSTOMERS[who % 4], sale=sale, lines=(line,))

    def about(self, kind: Kind, who: int, method: str = "") -> Request | None:
        """Somebody wants something done to a booking that he was told of."""
        if not self.bookings:
            return None
        booking = self.bookings[-1 - _RECENT[who] % len(self.bookings)]
        return self._new(kind, customer_id=booking.customer_id, booking=booking, method=method)

    def put(self, who: int, what: int) -> Request:
        """An operator changes a capacity."""
        sale = SALES[who % 2]
        first, *rest = sale.items
        items = (replace(first, capacity=1 + what), *rest)
        return self._new(Kind.PUT, sale=replace(sale, items=items))

    def _new(self, kind: Kind, **fields: object) -> Request:
        request = Request(kind, key=f"key-{len(self.requests)}", **fields)  # type: ignore[arg-type]
        self.requests.append(request)
        return request

    async def send(self, request: Request, process: Process) -> None:
        """Ask a process, and keep its answer if one comes."""
        request.under_way += 1
        number = self.requests.index(request)
        try:
            told = await self._ask(request, process)
            await process.host.gate()
        except (Unavailable, Overloaded, Fenced) as error:
            self._note(f"{request.kind} {number}: {type(error).__name__}")
            return
        finally:
            request.under_way -= 1
        self._note(f"{request.kind} {number}: {told.outcome}")
        request.answers.append(told)
        if request.kind is Kind.HOLD and told.booking and len(request.answers) == 1:
            self.bookings.append(told.booking)

    async def _ask(self, request: Request, process: Process) -> Told:
        await process.ready
        engine, booking, key = process.engine, request.booking, request.key
        if request.kind is Kind.HOLD:
            held = await engine.bookings.reserve(
                request.sale.sale_id, request.customer_id, request.lines, key
            )
            return Told(held.outcome, held.booking)
        if request.kind is Kind.PUT:
            return Told(await self._put(request, process), None)
        assert booking is not None
        name, customer_id = booking.booking_id, request.customer_id
        match request.kind:
            case Kind.PAY if booking.amount == 0:
                answer = await engine.bookings.confirm(name, customer_id, key)
            case Kind.PAY:
                paid = await process.cashier.pay(
                    PaymentRequest(name, customer_id, key, request.method)
                )
                return Told(paid.outcome, paid.booking)
            case Kind.EXTEND:
                answer = await engine.bookings.extend(name, customer_id)
            case Kind.CANCEL:
                answer = await engine.bookings.cancel(name, CancelReason.CUSTOMER, customer_id)
            case Kind.COMPLETE:
                answer = await engine.bookings.complete(name)
            case _:
                answer = await engine.payments.refund(name)
        return Told(answer.outcome, answer.booking)

    async def _put(self, request: Request, process: Process) -> Outcome:
        # `Sales.put` goes on to read the sale; what counts here is the script's answer.
        answer = await process.engine.sales.put(request.sale, operation=request.key)
        return answer.outcome

    def unanswered_in(self, partitions: list[int]) -> list[Request]:
        """What was asked without an answer and can have one: those who asked will ask again."""
        return [
            one
            for one in self.requests
            if not one.answers and not one.under_way and _partition_of(one) in partitions
        ]

    def check(
        self, bookings: dict[str, Booking], survivors: dict[tuple[str, int], Booking]
    ) -> None:
        """Compare everything that was told with the journal, and with how it ended."""
        for request in self.requests:
            for told in request.answers:
                if told.booking is not None:
                    self._check_told(request, told, told.booking, bookings, survivors)
            if request.kind is Kind.HOLD and _partition_of(request) not in self._auditor.damaged:
                held = [told.booking for told in request.answers if told.booking]
                if any(booking != held[0] for booking in held):
                    self._auditor.fail(f"{request.key} was answered in two ways: {held}")

    def _check_told(
        self,
        request: Request,
        told: Told,
        booking: Booking,
        bookings: dict[str, Booking],
        survivors: dict[tuple[str, int], Booking],
    ) -> None:
        name = booking.booking_id
        found = survivors.get((name, booking.version))
        if found != booking:
            # Redis may have lost it before PostgreSQL had it; not something else in its place.
            damaged = int(name[:3], 16) in self._auditor.damaged
            if not damaged:
                self._auditor.fail(f"{request.kind} was told {booking}, which never was")
            return
        final = bookings[name]
        over = booking.cancel_reason is CancelReason.CUSTOMER
        if over and final.status is not Status.CANCELLED:
            self._auditor.fail(f"{name} was cancelled for a customer and is {final.status}")
        if told.outcome is Outcome.COMPLETED and final.status is not Status.COMPLETED:
            self._auditor.fail(f"{name} was completed and is {final.status}")
        payment = booking.payment
        if request.kind is Kind.PAY and payment and payment.status is PaymentStatus.CAPTURED:
            last = final.payment
            kept = last and (last.step, last.attempt) == (Step.NONE, payment.attempt)
            if not kept or last is None or last.capture_id != payment.capture_id:
                self._auditor.fail(f"{name} was told paid, and ended as {last}")


def _partition_of(request: Request) -> int:
    """Where what is asked about lives."""
    if request.booking is not None:
        return int(request.booking.booking_id[:3], 16)
    return SALES.index(next(one for one in SALES if one.sale_id == request.sale.sale_id))
