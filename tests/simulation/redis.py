"""Redis in memory: the fence, the clock and the journal as the scripts have them, and the model.

What a script decides is `engine.model`'s; `tests/integration/test_model_agrees.py` shows that the
scripts do the same. What the model leaves out is here in a few lines: who is refused (rule 5), when
leases end, and when a worker shall look at a payment.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

import orjson

from engine.journal import Entry, RawEntry
from engine.journal_status import JournalStatus
from engine.model import Operation, PartitionState, decide, is_paying
from engine.outcomes import Outcome
from engine.payments.types import Step
from engine.scripts import Script
from engine.types import Status
from tests.simulation.scripts import (
    OPERATIONS,
    Arguments,
    entry_text,
    reply_of,
)

RUN_ID: Final = "in-memory"
"""It is one and the same server all the time, and has been compared with PostgreSQL."""


@dataclass(frozen=True, slots=True)
class Image:
    """A partition as the server has it; every change is a new one, so that any can come back."""

    generation: int = 1
    state: PartitionState = field(default_factory=PartitionState)
    entries: tuple[RawEntry, ...] = ()
    drained: int = 0
    fenced: str | None = None
    payments: Mapping[str, int] = field(default_factory=dict)
    """When a worker shall look, by booking."""
    lease_ends: Mapping[str, int] = field(default_factory=dict)
    events: frozenset[str] = frozenset()


Watcher = Callable[[int, Operation | None, Image, Image, tuple[Entry, ...]], None]
"""Told of each change: partition, operation, before, after, entries."""


class Redis:
    """The server."""

    def __init__(self, partitions: int, clock_ms: Callable[[], int], watch: Watcher) -> None:
        self.images: dict[int, Image | None] = {number: Image() for number in range(partitions)}
        self._true_ms = clock_ms
        self._watch = watch
        self.offset_ms = 0
        self.history: list[tuple[int, Image | None]] = []
        """What partitions were before each change, in the order of the changes."""

    def now_ms(self) -> int:
        """The server's clock."""
        return self._true_ms() + self.offset_ms

    def put(self, partition: int, image: Image | None) -> None:
        """Keep a change, and what was before it."""
        self.history.append((partition, self.images[partition]))
        self.images[partition] = image

    def run(self, partition: int, script: Script, args: tuple[Any, ...]) -> list[Any]:
        """Run a script: all of it, or nothing."""
        arguments = Arguments.of(script, args)
        image = self.images[partition]
        if script.name == "fence":
            return self._fence(partition, image, arguments)
        reason = _refusal(image, arguments)
        if reason is not None or image is None:
            return [b"fenced", -1, (reason or "").encode()]
        now_ms = max(self.now_ms(), image.state.last_ms)
        if script.name in OPERATIONS:
            return self._change(partition, image, script.name, arguments, now_ms)
        reader: Callable[..., list[Any]] = getattr(self, f"_{script.name}")
        return reader(partition, image, arguments, now_ms)

    def status(self, partition: int) -> JournalStatus:
        """What operators are told of a partition."""
        image = self.images[partition]
        if image is None:
            return JournalStatus(partition, None, 0, 0, None, 0, 0, None)
        left = [raw.text for raw in image.entries if raw.sequence > image.drained]
        return JournalStatus(
            partition,
            image.generation,
            image.state.sequence,
            image.drained,
            image.fenced,
            len(image.entries),
            sum(len(raw.text) for raw in image.entries),
            orjson.loads(left[0])["at_ms"] if left else None,
            sum(map(len, left)),
            now_ms=max(self.now_ms(), image.state.last_ms),
            server=RUN_ID,
        )

    def _fence(self, partition: int, image: Image | None, a: Arguments) -> list[Any]:
        if image is None:
            return [b"fenced", -1, b"meta_missing"]
        if image.generation > a.number("generation"):
            return [b"fenced", -1, b"generation"]
        if image.fenced is None:
            self.put(partition, replace(image, fenced=a.text("reason")))
        return [b"fenced", -1, (image.fenced or a.text("reason")).encode()]

    def _change(
        self, partition: int, image: Image, name: str, a: Arguments, now_ms: int
    ) -> list[Any]:
        raw_ms = self.now_ms()
        ends = image.lease_ends
        live = {b: who for b, who in image.state.leases.items() if ends.get(b, 0) > raw_ms}
        before = image.state.copy()
        before.leases, before.drained = live, image.drained
        operation = OPERATIONS[name](a)
        decision = decide(before, operation, now_ms)
        texts = tuple(RawEntry(one.sequence, entry_text(one)) for one in decision.entries)
        after = replace(
            image,
            state=decision.state,
            entries=image.entries + texts,
            payments=_scheduled(image, name, a, decision.outcome, decision.state, now_ms, raw_ms),
            lease_ends=_lease_ends(image, name, a, decision.outcome, decision.state, raw_ms),
        )
        if after != image or decision.state.leases != image.state.leases:
            self.put(partition, after)
            self._watch(partition, operation, image, after, decision.entries)
        return reply_of(operation, decision)

    def _get_booking(self, _: int, image: Image, a: Arguments, now_ms: int) -> list[Any]:
        booking = image.state.bookings.get(a.text("booking_id"))
        if booking is None:
            return [b"absent", image.state.sequence, b""]
        if a.text("customer_id") not in {"", booking.customer_id}:
            return [b"absent", image.state.sequence, b"other_customer"]
        due = booking.status is Status.PENDING and image.state.deadline_ms(booking) <= now_ms
        text = booking.to_json()
        return [b"found", image.state.sequence, text, int(due)]

    def _get_sale(self, _: int, image: Image, a: Arguments, now_ms: int) -> list[Any]:
        sale = image.state.sales.get(a.text("sale_id"))
        if sale is None:
            return [b"unknown_sale", image.state.sequence, b""]
        stock = [
            word.encode()
            for at in sale.levels.values()
            for side in ("available", "held", "sold")
            for word in (f"{at.item_id}:{side}", str(getattr(at, side)))
        ]
        times = (sale.version, sale.created_ms, sale.updated_ms, now_ms)
        definition = orjson.dumps(sale.fields)
        told = (str(number).encode() for number in times)
        return [b"found", image.state.sequence, definition, *told, stock, []]

    def _soon(self, _: int, image: Image, a: Arguments, now_ms: int) -> list[Any]:
        names = self._sales_due(image, now_ms + a.number("ahead_ms"))[a.number("offset") :]
        return [b"done", image.state.sequence, names[: a.number("limit")]]

    def _due(self, _: int, image: Image, a: Arguments, now_ms: int) -> list[Any]:
        names = self._sales_due(image, now_ms)
        return [b"done", image.state.sequence, names[: a.number("limit")]]

    @staticmethod
    def _sales_due(image: Image, now_ms: int) -> list[bytes]:
        state = image.state
        sales = {
            booking.sale_id: None
            for booking in state.bookings.values()
            if booking.status is Status.PENDING and state.deadline_ms(booking) <= now_ms
        }
        return [name.encode() for name in sales]

    def _due_payments(self, _: int, image: Image, a: Arguments, now_ms: int) -> list[Any]:
        due = sorted((at_ms, name) for name, at_ms in image.payments.items() if at_ms <= now_ms)
        names = [name.encode() for _, name in due]
        return [b"done", image.state.sequence, names[: a.number("limit")]]

    def _read_journal(self, _: int, image: Image, a: Arguments, now_ms: int) -> list[Any]:
        first = a.number("from")
        found = [
            [f"{raw.sequence}-0".encode(), [b"entry", raw.text]]
            for raw in image.entries
            if raw.sequence >= first
        ]
        # The entries of a run are never too many bytes.
        return [b"done", image.state.sequence, found[: a.number("limit")], 0]

    def _trim(self, partition: int, image: Image, a: Arguments, now_ms: int) -> list[Any]:
        cursor = a.number("cursor")
        keep_from = min(a.number("keep_from"), cursor)
        kept = tuple(raw for raw in image.entries if raw.sequence >= keep_from)
        after = replace(image, entries=kept, drained=max(image.drained, cursor))
        self.put(partition, after)
        removed = len(image.entries) - len(kept)
        return [b"done", image.state.sequence, str(removed).encode()]

    def _nudge(self, partition: int, image: Image, a: Arguments, now_ms: int) -> list[Any]:
        sequence, booking_id = image.state.sequence, a.text("booking_id")
        booking = image.state.bookings.get(booking_id)
        if booking is None:
            return [b"absent", sequence, b""]
        asked, attempt = (a.number("amount"), a.text("currency")), a.number("attempt")
        last = booking.payment.attempt if booking.payment else 0
        if attempt > last or asked != (booking.amount, booking.currency):
            return [b"moved_on", sequence, b""]
        if a.text("event_id") in image.events:
            return [b"unchanged", sequence, b""]
        payments = dict(image.payments)
        if attempt == last and is_paying(booking):
            payments[booking_id] = now_ms
        events = image.events | {a.text("event_id")}
        self.put(partition, replace(image, payments=payments, events=events))
        return [b"done", sequence, b""]


def _refusal(image: Image | None, a: Arguments) -> str | None:
    """Why a call is refused: `lua/lib/partition.lua`."""
    if image is None:
        return "meta_missing"
    if image.fenced is not None:
        return image.fenced
    if image.generation != a.number("generation"):
        return "generation"
    return "sequence" if image.state.sequence < a.number("seen") else None


def _lease_ends(
    image: Image, name: str, a: Arguments, outcome: Outcome, state: PartitionState, raw_ms: int
) -> dict[str, int]:
    """When leases end, by booking."""
    ends = {b: at_ms for b, at_ms in image.lease_ends.items() if b in state.leases}
    if outcome is Outcome.BEGUN or (name == "claim_payment" and outcome is Outcome.DONE):
        ends[a.text("booking_id")] = raw_ms + a.number("lease_ms")
    return ends


def _scheduled(
    image: Image,
    name: str,
    a: Arguments,
    outcome: Outcome,
    state: PartitionState,
    now_ms: int,
    raw_ms: int,
) -> dict[str, int]:
    """When a worker shall look at which payment: the scripts' `schedule_payment`."""
    payments = dict(image.payments)
    booking_id = str(a.named.get("booking_id", ""))
    booking = state.bookings.get(booking_id)
    match name, outcome:
        case ("begin_payment", Outcome.BEGUN) | ("claim_payment", Outcome.DONE):
            payments[booking_id] = now_ms + a.number("lease_ms")
        case "claim_payment", Outcome.LEASE_LOST:
            payments[booking_id] = now_ms + max(0, image.lease_ends[booking_id] - raw_ms)
        case "claim_payment", _:
            payments.pop(booking_id, None)
        case "payment_unknown", Outcome.PAYMENT_UNKNOWN | Outcome.UNCHANGED:
            payments[booking_id] = now_ms + a.number("retry_ms")
        case "requires_action", Outcome.REQUIRES_ACTION | Outcome.UNCHANGED:
            payments[booking_id] = now_ms + a.number("poll_ms")
        case ("cancel", Outcome.CANCELLED) | ("refund", Outcome.REFUND_BEGUN):
            if booking is not None and is_paying(booking):
                payments[booking_id] = now_ms
        case _, Outcome.PAYMENT_FAILED | Outcome.CAPTURED | Outcome.VOIDED | Outcome.REFUNDED:
            assert booking is not None
            assert booking.payment
            assert booking.payment.step is Step.NONE
            payments.pop(booking_id, None)
    return payments
