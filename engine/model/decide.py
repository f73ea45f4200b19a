"""The executable specification of the scripts that change state.

`decide` says what a script must answer and which entries it must write, in the same order of
checks as its Lua: replay, backlog, sale, window, items, caps, stock. Rates are left out: they
decide about callers, not about stock. So are bookings that Redis has evicted, and what sheds new
holds by the bytes or the age of a backlog, which no state has, or by a worker's word.

The new state is what `advance` makes of the entries: what is decided here obeys the fold's audit.
"""

from __future__ import annotations

from typing import Any

import orjson

from engine.model.apply import units_of
from engine.model.decide_payments import decide_payment
from engine.model.operations import (
    Cancel,
    Complete,
    ConfirmFree,
    Expire,
    Extend,
    Operation,
    PutSale,
    Reserve,
    Snapshot,
    Warn,
)
from engine.model.state import PartitionState, SaleState, awaits_late_money, is_paying
from engine.model.take_back import choose_due, due_holds
from engine.model.work import Decision, Work, over
from engine.outcomes import Outcome
from engine.payments.types import PaymentStatus, Step
from engine.types import Booking, CancelReason, Levels, Line, Status, definition_json


def decide(state: PartitionState, operation: Operation, now_ms: int) -> Decision:
    """What a script must do at `now_ms` by the server's clock; `state` stays as it was."""
    work = Work(state.copy(), max(now_ms, state.last_ms))
    match operation:
        case PutSale():
            return _put_sale(work, operation)
        case Reserve():
            return _reserve(work, operation)
        case Extend():
            return _extend(work, operation)
        case Cancel():
            return _cancel(work, operation)
        case ConfirmFree():
            return _confirm_free(work, operation)
        case Complete():
            return _complete(work, operation)
        case Expire():
            return _expire(work, operation)
        case Snapshot():
            return _snapshot(work, operation)
        case Warn():
            return _warn(work, operation)
        case _:
            return decide_payment(work, operation)


def _put_sale(work: Work, wanted: PutSale) -> Decision:
    definition = wanted.definition
    sale = work.state.sales.get(definition.sale_id)
    if sale and sale.operation == wanted.operation:
        assert sale.outcome
        return work.answer(Outcome(sale.outcome))
    moved = not sale or sale.definition.closes_ms != definition.closes_ms
    if 0 < definition.closes_ms <= work.now_ms and moved:
        return work.answer(Outcome.SALE_IN_PAST)

    levels = sale.levels if sale else {}
    named = {item.item_id: item.capacity for item in definition.items}
    deltas, after, in_use = [], [], False
    for item_id, capacity in (named | {gone: 0 for gone in levels if gone not in named}).items():
        was = levels.get(item_id)
        held, sold = (was.held, was.sold) if was else (0, 0)
        available = capacity - held - sold
        if available < 0:
            return work.answer(Outcome.CAPACITY_IN_USE, item_id=item_id)
        in_use = in_use or held + sold > 0
        if was is None or was.available != available:
            deltas.append(Levels(item_id, available - (was.available if was else 0), 0, 0))
            after.append(Levels(item_id, available, held, sold))
    if sale and sale.definition.currency != definition.currency and in_use:
        return work.answer(Outcome.CURRENCY_IN_USE)

    fields = orjson.loads(definition_json(definition))
    redefined = sale is None or sale.fields != fields
    if not redefined and not deltas:
        return work.answer(Outcome.UNCHANGED)
    work.write(
        "sale_put" if redefined else "stock_adjusted",
        sale_id=definition.sale_id,
        version=sale.version + 1 if sale else 1,
        definition=fields,
        deltas=tuple(deltas),
        levels=tuple(after),
    )
    outcome = Outcome.UPDATED if sale else Outcome.CREATED
    put = work.state.sales[definition.sale_id]
    put.operation, put.outcome = wanted.operation, outcome
    return work.answer(outcome)


def _reserve(work: Work, wanted: Reserve) -> Decision:
    state, now_ms, bounds = work.state, work.now_ms, wanted.bounds
    name = ("hold", wanted.sale_id, wanted.key, wanted.customer_id)
    if replay := work.replay(name, wanted.fingerprint):
        return replay
    if state.sequence - state.drained >= bounds.max_backlog_entries:
        return work.answer(Outcome.BACKLOG_FULL)
    sale = state.sales.get(wanted.sale_id)
    if sale is None:
        return work.answer(Outcome.UNKNOWN_SALE)
    definition = sale.definition
    if now_ms < definition.opens_ms:
        return work.answer(Outcome.SALE_NOT_OPEN)
    if 0 < definition.closes_ms <= now_ms:
        return work.answer(Outcome.SALE_CLOSED)

    items = {item.item_id: item for item in definition.items}
    lines = []
    for line in wanted.lines:
        item = items.get(line.item_id)
        if item is None:
            return work.answer(Outcome.UNKNOWN_ITEM, item_id=line.item_id)
        lines.append(Line(line.item_id, line.quantity, item.unit_price))
    booking = Booking(
        booking_id=wanted.booking_id,
        version=1,
        sale_id=wanted.sale_id,
        customer_id=wanted.customer_id,
        status=Status.PENDING,
        cancel_reason=None,
        lines=tuple(lines),
        amount=sum(line.amount for line in lines),
        currency=definition.currency,
        hold_expires_ms=now_ms + definition.hold_ms,
        created_ms=now_ms,
        updated_ms=now_ms,
        extended=False,
    )
    units = units_of(booking)
    for item_id, quantity in units.items():
        if 0 < items[item_id].max_per_booking < quantity:
            return work.answer(Outcome.BOOKING_LIMIT, item_id=item_id)
    if booking.amount > bounds.max_amount:
        return work.answer(Outcome.AMOUNT_TOO_LARGE)
    if refusal := _make_room(work, sale, booking, units, wanted):
        return refusal
    more = {"key": wanted.key, "fingerprint": wanted.fingerprint, "contact": wanted.contact}
    work.append("held", booking, ("available", "held"), **more)
    return work.answer(Outcome.HELD, booking)


def _make_room(
    work: Work, sale: SaleState, booking: Booking, units: dict[str, int], wanted: Reserve
) -> Decision | None:
    """Take due holds back where stock or the customer's cap is short; the refusal, or None."""
    cap, total = sale.definition.max_units_per_customer, sum(units.values())
    if 0 < cap < total:
        return work.answer(Outcome.CUSTOMER_LIMIT)
    excess = sale.customers.get(booking.customer_id, 0) + total - cap if cap else 0
    short = {
        item_id: quantity - sale.levels[item_id].available
        for item_id, quantity in units.items()
        if quantity > sale.levels[item_id].available
    }
    if excess <= 0 and not short:
        return None
    due = due_holds(work.state, booking.sale_id, work.now_ms)
    first_short = next(iter(short), None)
    choice = choose_due(due, short, booking.customer_id, max(excess, 0), wanted.bounds)
    if choice.refusal is not None:
        sold_out = choice.refusal is Outcome.SOLD_OUT
        return work.answer(choice.refusal, item_id=first_short if sold_out else None)
    for hold in choice.chosen:
        work.end(hold, CancelReason.EXPIRED)
    return None


def _extend(work: Work, wanted: Extend) -> Decision:
    booking = work.find(wanted.booking_id, wanted.customer_id)
    if booking is None:
        return work.answer(Outcome.ABSENT)
    live = work.is_live(booking)
    if not live and over(booking) is Outcome.HOLD_EXPIRED:
        return work.answer(Outcome.HOLD_EXPIRED, booking)
    if booking.extended:
        return work.answer(Outcome.UNCHANGED, booking)
    if not live or is_paying(booking):
        return work.answer(Outcome.INVALID_STATE, booking)
    definition = work.state.sales[booking.sale_id].definition
    if 0 < definition.closes_ms <= work.now_ms:
        return work.answer(Outcome.SALE_CLOSED, booking)
    expires_ms = max(booking.hold_expires_ms, work.now_ms + definition.hold_ms)
    extended = work.changed(booking, extended=True, hold_expires_ms=expires_ms)
    work.append("extended", extended, None)
    return work.answer(Outcome.EXTENDED, extended)


def _cancel(work: Work, wanted: Cancel) -> Decision:
    booking = work.find(wanted.booking_id, wanted.customer_id)
    if booking is None:
        return work.answer(Outcome.ABSENT)
    if awaits_late_money(booking):
        cancelled = work.changed(booking, cancel_reason=wanted.reason)
        work.append("cancelled", cancelled, None)
        return work.answer(Outcome.CANCELLED, cancelled)
    if booking.status is Status.CANCELLED:
        return work.answer(Outcome.UNCHANGED, booking)
    if booking.status is Status.COMPLETED:
        return work.answer(Outcome.INVALID_STATE, booking)
    held = booking.status is Status.PENDING and not is_paying(booking)
    due = held and work.state.deadline_ms(booking) <= work.now_ms
    payment: dict[str, Any] = {}
    if booking.payment and booking.payment.status is PaymentStatus.CAPTURED:
        payment = {"status": PaymentStatus.REFUNDING, "step": Step.REFUND}
    elif booking.payment and booking.payment.step is Step.CAPTURE:
        payment = {"status": PaymentStatus.AUTHORIZED, "step": Step.VOID}
    reason = CancelReason.EXPIRED if due else wanted.reason
    return work.answer(Outcome.CANCELLED, work.end(booking, reason, **payment))


def _confirm_free(work: Work, wanted: ConfirmFree) -> Decision:
    name = ("pay", wanted.booking_id, wanted.key, wanted.customer_id)
    if replay := work.replay(name, wanted.fingerprint):
        return replay
    booking = work.find(wanted.booking_id, wanted.customer_id)
    if booking is None:
        return work.answer(Outcome.ABSENT)
    if not work.is_live(booking):
        return work.answer(over(booking), booking)
    if booking.amount > 0:
        return work.answer(Outcome.PAYMENT_REQUIRED, booking)
    confirmed = work.changed(booking, status=Status.CONFIRMED)
    more = {"key": wanted.key, "fingerprint": wanted.fingerprint}
    work.append("confirmed", confirmed, ("held", "sold"), **more)
    return work.answer(Outcome.CONFIRMED, confirmed)


def _complete(work: Work, wanted: Complete) -> Decision:
    booking = work.find(wanted.booking_id, "")
    if booking is None:
        return work.answer(Outcome.ABSENT)
    if booking.status is Status.COMPLETED:
        return work.answer(Outcome.UNCHANGED, booking)
    paid = booking.payment and booking.payment.status is PaymentStatus.CAPTURED
    if booking.status is not Status.CONFIRMED or (booking.amount > 0 and not paid):
        return work.answer(Outcome.INVALID_STATE, booking)
    completed = work.changed(booking, status=Status.COMPLETED)
    work.append("completed", completed, None)
    return work.answer(Outcome.COMPLETED, completed)


def _expire(work: Work, wanted: Expire) -> Decision:
    due = due_holds(work.state, wanted.sale_id, work.now_ms)[: wanted.limit]
    for booking in due:
        work.end(booking, CancelReason.EXPIRED)
    return work.answer(Outcome.DONE, expired=len(due))


def _snapshot(work: Work, wanted: Snapshot) -> Decision:
    sale = work.state.sales.get(wanted.sale_id)
    if sale is None:
        return work.answer(Outcome.UNKNOWN_SALE)
    levels = tuple(sale.levels[item_id] for item_id in sorted(sale.levels))
    if levels == sale.snapshot:
        return work.answer(Outcome.UNCHANGED)
    work.write("snapshot", sale_id=wanted.sale_id, version=0, deltas=(), levels=levels)
    return work.answer(Outcome.DONE)


def _warn(work: Work, wanted: Warn) -> Decision:
    state, now_ms = work.state, work.now_ms
    near = [
        booking
        for booking in state.bookings.values()
        if booking.sale_id == wanted.sale_id
        and booking.status is Status.PENDING
        and now_ms < state.deadline_ms(booking) <= now_ms + wanted.warning_ms
    ]
    near.sort(key=lambda booking: (state.deadline_ms(booking), booking.booking_id))
    warned = 0
    for booking in near[: wanted.limit]:
        given_ms = booking.hold_expires_ms - booking.created_ms
        if not booking.warned and not is_paying(booking) and given_ms > wanted.warning_ms:
            work.append("warned", work.changed(booking, warned=True), None)
            warned += 1
    return work.answer(Outcome.DONE, warned=warned)
