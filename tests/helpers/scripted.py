"""One partition, driven by its scripts alone: what the engine does to Redis, without the engine.

The clock is the test's: scripts go by `max(TIME, meta.last_ms)`, so that a `last_ms` far in the
future is the time, to the millisecond, and stands still until the test moves it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import orjson
import redis

from engine.archive import read_payment
from engine.journal import Entry, parse_entry
from engine.keys import HASH_FUNCTION, Keys
from engine.model import (
    Expire,
    Operation,
    PartitionState,
    Record,
    SaleState,
    Warn,
    fold,
    is_paying,
)
from engine.outcomes import Outcome
from engine.scripts import load_script
from engine.types import Booking, Levels, Status, definition_of, unpack_lines
from tests.helpers.script_calls import script_call

START_MS: Final = 4_000_000_000_000
"""Where the tests' clock starts: in the year 2096."""

_ITEM_OUTCOMES: Final = frozenset(
    {Outcome.UNKNOWN_ITEM, Outcome.BOOKING_LIMIT, Outcome.SOLD_OUT, Outcome.CAPACITY_IN_USE}
)


@dataclass(frozen=True, slots=True)
class Result:
    """What a script answered."""

    outcome: Outcome
    sequence: int
    booking: Booking | None = None
    item_id: str | None = None
    expired: int = 0
    warned: int = 0


class ScriptedPartition:
    """A partition, its scripts, and what lies in its keys."""

    def __init__(self, client: redis.Redis, partition: int = 0, partitions: int = 1) -> None:
        # redis-py's stubs give every command the types of its asynchronous twin as well.
        self.client: Any = client
        self.keys = Keys(partitions)
        self.partition = partition
        self.generation = 1
        self.seen = 0
        self.raw("init_partition", partitions, HASH_FUNCTION)
        self.move_clock(START_MS)

    @property
    def meta(self) -> bytes:
        """KEYS[1]."""
        return self.keys.meta(self.partition)

    def key(self, family: str, *parts: str) -> str:
        """The name of one of the partition's keys."""
        return self.keys.key(family, self.partition, *parts)

    def move_clock(self, now_ms: int) -> None:
        """Set the time that scripts go by."""
        self.client.hset(self.meta, "last_ms", now_ms)

    def evaluate(self, name: str, arguments: tuple[bytes | str | int, ...]) -> Any:
        """Run a script; a test on a fake server does it in its own way."""
        script = load_script(name)
        try:
            return self.client.evalsha(script.sha1.decode(), 1, self.meta, *arguments)
        except redis.exceptions.NoScriptError:
            return self.client.eval(script.text.decode(), 1, self.meta, *arguments)

    def raw(self, name: str, *arguments: bytes | str | int) -> list[Any]:
        """Run a script and return its reply; its header must name the outcome."""
        reply: list[Any] = self.evaluate(name, (self.generation, self.seen, *arguments))
        assert reply[0].decode() in load_script(name).outcomes
        return reply

    def perform(self, operation: Operation) -> Result:
        """Run the script of an operation."""
        name, arguments = script_call(operation)
        reply = self.raw(name, *arguments)
        outcome, sequence = Outcome(reply[0].decode()), int(reply[1])
        if outcome is Outcome.FENCED:
            return Result(outcome, sequence)
        text = reply[2].decode()
        if text.startswith("{"):
            return Result(outcome, sequence, Booking.from_json(text))
        if isinstance(operation, Expire):
            return Result(outcome, sequence, expired=int(text))
        if isinstance(operation, Warn):
            return Result(outcome, sequence, warned=int(text.split()[0]))
        if outcome in _ITEM_OUTCOMES:
            return Result(outcome, sequence, item_id=text)
        return Result(outcome, sequence)

    def names(self) -> list[str]:
        """All keys of the partition, sorted."""
        prefix = self.meta.decode().removesuffix("meta").replace("[", r"\[")
        return sorted(name.decode() for name in self.client.scan_iter(f"{prefix}*", count=1000))

    def dump(self) -> dict[str, bytes | None]:
        """Everything that the partition holds, byte for byte."""
        names = self.names()
        pipe = self.client.pipeline(transaction=False)
        for name in names:
            pipe.dump(name)
        return dict(zip(names, pipe.execute(), strict=True))

    def books(self) -> dict[str, bytes | None]:
        """What the partition holds, but for who speaks to gateways and when to look again."""
        unjournaled = (self.key("payments"), self.key("lease", ""))
        return {
            name: found for name, found in self.dump().items() if not name.startswith(unjournaled)
        }

    def end_lease(self, booking_id: str) -> None:
        """What time does to a lease."""
        self.client.delete(self.key("lease", booking_id))

    def entries(self) -> list[Entry]:
        """The journal from its start."""
        found = self.client.xrange(self.key("journal"))
        return [parse_entry(int(at.partition(b"-")[0]), fields[b"entry"]) for at, fields in found]

    def levels(self, sale_id: str) -> dict[str, Levels]:
        """An item's levels by id, as the stock key has them."""
        stock = {k.decode(): v for k, v in self.client.hgetall(self.key("stock", sale_id)).items()}
        items = [name.removesuffix(":held") for name in stock if name.endswith(":held")]
        return {
            item: Levels(
                item, *(int(stock[f"{item}:{side}"]) for side in ("available", "held", "sold"))
            )
            for item in items
        }

    def state(self) -> PartitionState:
        """What the keys say, read without the model's help."""
        meta = {k.decode(): v for k, v in self.client.hgetall(self.meta).items()}
        state = PartitionState(sequence=int(meta["sequence"]), last_ms=int(meta["last_ms"]))
        for sale_id in self.client.zrange(self.key("sales"), 0, -1):
            state.sales[sale_id.decode()] = self._sale(sale_id.decode())
        for name in self.names():
            family, _, rest = name.rpartition("}:")[2].partition(":")
            if family == "booking":
                fields = {k.decode(): v.decode() for k, v in self.client.hgetall(name).items()}
                state.bookings[rest] = booking_of(rest, fields)
            elif family == "idempotency":
                operation, scope_id, key, customer_id = rest.split(":")
                fingerprint, _, answer = self.client.get(name).partition(b" ")
                booking = (
                    held_of(scope_id, customer_id, answer.decode())
                    if operation == "hold"
                    else Booking.from_json(answer)
                )
                record = Record(fingerprint.decode(), booking, booking.updated_ms)
                state.records[operation, scope_id, key, customer_id] = record
        return state

    def _sale(self, sale_id: str) -> SaleState:
        sale = {k.decode(): v for k, v in self.client.hgetall(self.key("sale", sale_id)).items()}
        fields, levels = orjson.loads(sale["definition"]), self.levels(sale_id)
        customers = self.client.hgetall(self.key("customers", sale_id))
        return SaleState(
            definition=definition_of(fields, {name: at.capacity for name, at in levels.items()}),
            fields=fields,
            version=int(sale["version"]),
            created_ms=int(sale["created_ms"]),
            updated_ms=int(sale["updated_ms"]),
            levels=levels,
            customers={name.decode(): int(units) for name, units in customers.items()},
        )

    def check(self) -> PartitionState:
        """Compare the keys with the journal's fold and with each other; return the state."""
        state, entries = self.state(), self.entries()
        folded = fold(entries)
        folded.last_ms = state.last_ms  # the test moves it
        assert state == folded
        for sale in state.sales.values():
            for item in sale.definition.items:
                assert sale.levels[item.item_id].capacity == item.capacity
        self._check_deadlines(state)
        self._check_payments(state)
        return state

    def _check_payments(self, state: PartitionState) -> None:
        """What is open is looked at by a worker some time, and nothing else is."""
        paying = {b.booking_id for b in state.bookings.values() if is_paying(b)}
        assert {name.decode() for name in self.client.zrange(self.key("payments"), 0, -1)} == paying
        leases = [n for n in self.names() if n.startswith(self.key("lease", ""))]
        assert {name.rpartition(":")[2] for name in leases} <= paying

    def _deadline_ms(self, booking: Booking) -> int:
        """When the hash says that a hold ends: later than its own deadline only under payment."""
        found = int(self.client.hget(self.key("booking", booking.booking_id), "deadline_ms"))
        if is_paying(booking):
            assert found >= booking.hold_expires_ms
        else:
            assert found == booking.hold_expires_ms
        return found

    def _check_deadlines(self, state: PartitionState) -> None:
        finished = {
            name.decode(): score
            for name, score in self.client.zrange(self.key("finished"), 0, -1, withscores=True)
        }
        due = dict(self.client.zrange(self.key("due"), 0, -1, withscores=True))
        for sale_id in state.sales:
            here = [b for b in state.bookings.values() if b.sale_id == sale_id]
            holds = {b.booking_id: self._deadline_ms(b) for b in here if b.status is Status.PENDING}
            found = self.client.zrange(self.key("deadlines", sale_id), 0, -1, withscores=True)
            assert {name.decode(): int(score) for name, score in found} == holds
            assert {b.booking_id for b in here} - holds.keys() <= finished.keys()
            assert not holds.keys() & finished.keys()
            if holds:
                assert due[sale_id.encode()] <= min(holds.values()), "due is late"


def booking_of(booking_id: str, fields: dict[str, str]) -> Booking:
    """Read a booking's hash."""
    numbers = ("version", "amount", "hold_expires_ms", "created_ms", "updated_ms", "extended")
    given: dict[str, Any] = {"cancel_reason": None, **fields, "booking_id": booking_id}
    given["warned"] = int(fields.get("warned", 0))
    booking = Booking.from_fields(given | {name: int(fields[name]) for name in numbers})
    return booking._replace(payment=read_payment(fields))


def held_of(sale_id: str, customer_id: str, kept: str) -> Booking:
    """The first answer that a hold's idempotency record keeps."""
    booking_id, lines, amount, currency, hold_expires_ms, created_ms = kept.split(" ")
    return Booking(
        booking_id=booking_id,
        version=1,
        sale_id=sale_id,
        customer_id=customer_id,
        status=Status.PENDING,
        cancel_reason=None,
        lines=unpack_lines(lines),
        amount=int(amount),
        currency=currency,
        hold_expires_ms=int(hold_expires_ms),
        created_ms=int(created_ms),
        updated_ms=int(created_ms),
        extended=False,
    )
