"""What must be so after every step, whatever was broken: told of each change, as it happens."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from engine.events import event_ids, events_of
from engine.journal import MARK_TYPES, Entry, parse_entry
from engine.model import Operation, PartitionState, PutSale, fold, is_paying
from engine.payments.gateway import GatewayStatus, Intent, Step
from engine.payments.limits import PAYMENT_GRACE_MS
from engine.types import Booking, Levels, Status
from persistence.rollups import Rollups
from tests.simulation.gateway import Asked, Charge, Gateway
from tests.simulation.redis import Image
from tests.simulation.rows import Tables

MONEY: Final = {GatewayStatus.AUTHORIZED, GatewayStatus.CAPTURED}


class Broken(AssertionError):
    """An invariant that does not hold."""


class Auditor:
    """Keeps books of its own, and compares.

    `damaged` are partitions whose Redis lost what it had acknowledged: of them only is asked that
    they are closed.
    """

    def __init__(self, partitions: int) -> None:
        self.broken: list[str] = []
        self.damaged: set[int] = set()
        self.appended: dict[int, list[Entry]] = {number: [] for number in range(partitions)}
        self.changes = 0
        self.images: dict[int, Image | None] = {}
        """The server's own, to be looked at when the gateway is asked."""
        self.gateway: Gateway
        self._capacities: dict[tuple[str, str], int] = {}
        self._keys: dict[tuple[str, str, str | None], str] = {}
        self._confirmed: set[tuple[str, int]] = set()
        self._refunding: set[str] = set()
        self._folds: dict[bytes, PartitionState] = {bytes(32): PartitionState()}

    def fail(self, what: str) -> None:
        """Note that something is not as it must be."""
        self.broken.append(what)

    def changed(
        self,
        partition: int,
        operation: Operation | None,
        before: Image,
        after: Image,
        entries: tuple[Entry, ...],
    ) -> None:
        """A script has run."""
        self.changes += 1
        if before.fenced is not None:
            self.fail("a closed partition was changed")
        if isinstance(operation, PutSale) and entries:
            definition = operation.definition
            for item in definition.items:
                self._capacities[definition.sale_id, item.item_id] = item.capacity
        for entry in entries:
            self.appended[partition].append(entry)
            if entry.booking is not None:
                self._entry(partition, entry, entry.booking, before.state)
        for sale_id, sale in after.state.sales.items():
            self._levels(partition, sale_id, sale.levels.values())

    def _levels(self, partition: int, sale_id: str, levels: Iterable[Levels]) -> None:
        for at in levels:
            parts = (at.available, at.held, at.sold)
            # A capacity that was changed in what Redis lost is not known any more.
            wanted = self._capacities[sale_id, at.item_id]
            if min(parts) < 0 or (sum(parts) != wanted and partition not in self.damaged):
                self.fail(f"{sale_id}: {at} is not the capacity")

    def _entry(self, partition: int, entry: Entry, booking: Booking, state: PartitionState) -> None:
        name, payment = booking.booking_id, booking.payment
        before = state.bookings.get(name)
        if entry.type == "held" and partition not in self.damaged:
            first = self._keys.setdefault((booking.sale_id, booking.customer_id, entry.key), name)
            if first != name:
                self.fail(f"key {entry.key} holds twice: {first} and {name}")
        paying = before is not None and is_paying(before)
        ends_ms = booking.hold_expires_ms + (PAYMENT_GRACE_MS if paying else 0)
        if entry.type == "expired" and entry.at_ms < ends_ms:
            self.fail(f"{name} ended at {entry.at_ms} ms, before its time")
        if payment is None:
            return
        attempt = (name, payment.attempt)
        if payment.step == "refund":
            self._refunding.add(name)
        if entry.type in {"confirmed", "late_money"} and booking.status is Status.CONFIRMED:
            self._confirmed.add(attempt)
        # What was authorized before Redis lost the attempt is an orphan, which is given back.
        if entry.type == "payment_failed" and partition not in self.damaged:
            for charge in self._charges(*attempt):
                if charge.payment.status in MONEY:
                    self.fail(f"attempt {attempt} is called failed and holds money")
        if entry.type == "captured" and not any(
            charge.captures for charge in self._charges(*attempt)
        ):
            self.fail(f"{attempt} is recorded as captured, and is not")

    def _charges(self, booking_id: str, attempt: int) -> list[Charge]:
        return [
            charge
            for charge in self.gateway.charges.values()
            if charge.payment.reference
            and charge.payment.reference.booking_id == booking_id
            and charge.payment.reference.attempt == attempt
        ]

    def heard(self, partition: int, script: str, raw: list[Any], knew: int) -> None:
        """A script has answered somebody who knew how far the journal was."""
        if raw[0] != b"fenced" and raw[1] < knew:
            self.fail(f"{script} was run on a copy older than what its caller had seen")

    def asked(self, asked: Asked, _: Charge | None) -> None:
        """The gateway has done something for the first time."""
        name, attempt = asked.reference.booking_id, asked.reference.attempt
        partition = int(name[:3], 16)
        if partition in self.damaged:
            return
        image = self.images[partition]
        assert image is not None
        booking = image.state.bookings.get(name)
        payment = booking.payment if booking else None
        if booking is None or payment is None:
            self.fail(f"{asked.step} of {name}, of which nothing is written down")
            return
        match asked.step:
            case Step.AUTHORIZE:
                intent: Intent = asked.parameters
                wanted = (booking.amount, booking.currency, payment.method, payment.attempt)
                got = (intent.amount, intent.currency, intent.payment_method, attempt)
                if wanted != got:
                    self.fail(f"authorize {got}; written down is {wanted}")
                if payment.step == "none":
                    self.fail(f"authorize attempt {attempt} of {name}, which has ended")
                if len(self._charges(name, attempt)) > 1:
                    self.fail(f"attempt {attempt} of {name} has two charges")
            case Step.CAPTURE:
                if (name, attempt) not in self._confirmed:
                    self.fail(f"capture of {name}, which was not confirmed")
                charges = self.gateway.charges.values()
                mine = [one for one in charges if one.payment.reference == asked.reference]
                if sum(charge.captures for charge in mine) > 1:
                    self.fail(f"{name} was captured twice")
            case Step.REFUND:
                if name not in self._refunding:
                    self.fail(f"refund of {name}, which nobody asked for")
            case Step.VOID:
                wanted_still = payment.step == "capture" or payment.status == "CAPTURED"
                if payment.attempt == attempt and wanted_still:
                    self.fail(f"void of {name}, which is sold: {payment}")

    def committed(self, partition: int, before: Tables, after: Tables) -> None:
        """The drain has committed."""
        if list(after.journal) != list(range(1, after.sequence + 1)):
            self.fail(f"PostgreSQL: cursor {after.sequence}, entries {list(after.journal)}")
            return
        if after.others.get("quarantine"):
            self.fail(f"quarantined: {after.others['quarantine'][0]}")
        state = self._folds.get(before.chain)
        if state is None:
            self.fail("PostgreSQL: the chain is broken")
            return
        news = [
            parse_entry(at, after.journal[at]["entry"])
            for at in range(before.sequence + 1, after.sequence + 1)
        ]
        state = self._folds[after.chain] = fold(news, state)
        self._events(partition, before, after, news)
        self._reports(before, after, news)
        if after.size != sum(len(row["entry"]) for row in after.journal.values()):
            self.fail(f"PostgreSQL: {after.size} is not the length of its journal")
        for sale_id, sale in state.sales.items():
            for at in sale.levels.values():
                found = after.levels.get((sale_id, at.item_id))
                if found != (at.available, at.held, at.sold):
                    self.fail(f"PostgreSQL: {sale_id} {at.item_id} is {found}, not {at}")
        for name, booking in state.bookings.items():
            row = after.bookings.get(name)
            if row is None or (row["version"], row["status"]) != (booking.version, booking.status):
                self.fail(f"PostgreSQL: {name} is {row}, not {booking}")
            if payment := booking.payment:
                paid = after.payments.get((name, payment.attempt))
                if paid is None or (paid["status"], paid["step"]) != (payment.status, payment.step):
                    self.fail(f"PostgreSQL: payment of {name} is {paid}, not {payment}")

    def _events(self, partition: int, before: Tables, after: Tables, news: list[Entry]) -> None:
        """The events of an entry come with it, once, and count on for what they are about."""
        known, rows = before.others.get("outbox", []), after.others.get("outbox", [])
        wanted = [
            event_id
            for entry in news
            if entry.type not in MARK_TYPES
            for event_id in event_ids(
                partition, after.generation, entry.sequence, len(events_of(entry))
            )
        ]
        if rows[: len(known)] != known or [row["event_id"] for row in rows[len(known) :]] != wanted:
            self.fail(f"PostgreSQL: the outbox has {rows}, and {wanted} were new")
        counts: dict[str, int] = {}
        for row in rows:
            count = counts[row["subject"]] = counts.get(row["subject"], 0) + 1
            if row["subject_sequence"] != count:
                self.fail(f"PostgreSQL: {row} is event {count} of its subject")

    def _reports(self, before: Tables, after: Tables, news: list[Entry]) -> None:
        """What is added up for the reports is added once for each entry."""
        sums = Rollups()
        for entry in news:
            sums.add(entry)
        for table, wanted in (("sale_days", sums.days()), ("sale_steps", sums.steps())):
            known = len(before.others.get(table, []))
            added = [tuple(row) for row in after.others.get(table, [])[known:]]
            if sorted(added, key=repr) != sorted(map(tuple, wanted), key=repr):
                self.fail(f"PostgreSQL: {added} was added to {table}")

    def forget(self, partition: int, sequence: int) -> None:
        """Redis has lost what came after an entry."""
        entries = self.appended[partition]
        self.appended[partition] = [entry for entry in entries if entry.sequence <= sequence]

    def folded(self, tables: Tables) -> PartitionState | None:
        """What the journal in PostgreSQL tells."""
        return self._folds.get(tables.chain)
