"""The one place that spells Redis key names.

`FAMILIES` says what each key holds, its type, who writes it and how long it lives. The Lua
functions that scripts use (`key_booking(booking_id)` and so on) are generated from it by
`lua_source`, so that Lua and Python cannot disagree, and `lua/README.md` carries the same table.

All keys of a partition start with `hf:{tag}:`, so that they share a Cluster slot. Tags are
chosen so that the slots of P partitions spread evenly over the 16,384.
"""

from __future__ import annotations

import os
import re
import time
import zlib
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from redis.crc import key_slot

from engine.limits import BOOKING_ID_PATTERN, MAX_PARTITIONS

SLOTS: Final = 16_384
HASH_FUNCTION: Final = "crc32"
"""Recorded at first start with the number of partitions; another value is refused."""

_BOOKING_ID: Final = re.compile(BOOKING_ID_PATTERN.removesuffix("$") + r"\Z")
_CROCKFORD: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_LETTERS: Final = _CROCKFORD.encode() * 8
"""Two digits for each ten bits: half the steps."""


@dataclass(frozen=True, slots=True)
class Family:
    """One kind of key of a partition."""

    name: str
    """Also the literal that follows the tag."""
    parts: tuple[str, ...]
    """What the name is completed with, separated by colons; the last may hold any byte."""
    type: str
    holds: str
    written_by: str
    lives: str


FAMILIES: Final = (
    Family(
        "meta",
        (),
        "hash",
        "generation, sequence, last_ms, partitions, hash_function, drained, fenced; bytes of all "
        "entries so far and drained_bytes of those PostgreSQL has, oldest_ms of the first that it "
        "lacks (0: none); shed_until_ms, shed_reason; rebuild, the last one's token; "
        "frozen, the sale that is rebuilt alone; server, the run id of "
        "the one last compared with PostgreSQL",
        "init_partition creates it, and a rebuild (begin_rebuild, reset_partition) anew, nobody "
        "else; every entry moves sequence, last_ms and bytes, "
        "trim what is drained",
        "for ever; its absence is a fence",
    ),
    Family(
        "journal",
        (),
        "stream",
        "entries `<sequence>-0`, one field `entry`: a JSON object",
        "every script that changes state",
        "trimmed some minutes behind PostgreSQL's cursor",
    ),
    Family(
        "sales",
        (),
        "zset",
        "sale ids, all scored 0, so that they can be paged by name",
        "put_sale",
        "for ever, also of sales that have left",
    ),
    Family(
        "retired",
        (),
        "hash",
        "ids of closed sales that have left, with the partition's sequence when they did",
        "retire_sale; load_sale removes",
        "as long as the sale is not touched",
    ),
    Family(
        "due",
        (),
        "zset",
        "sale ids by a time not later than their earliest deadline, in ms",
        "reserve adds; whatever ends or extends a hold repairs",
        "while the sale has holds",
    ),
    Family(
        "finished",
        (),
        "zset",
        "ids of bookings without a deadline, by the time they last changed, in ms",
        "confirm, cancel, complete, expire, load",
        "until evicted",
    ),
    Family(
        "sale",
        ("sale_id",),
        "hash",
        "definition (JSON), opens_ms, closes_ms, hold_ms, max_units_per_customer, currency, "
        "version, created_ms, updated_ms, operation, outcome, snapshot (the levels at its last)",
        "put_sale, snapshot",
        "as long as the sale",
    ),
    Family(
        "stock",
        ("sale_id",),
        "hash",
        "per item `<item>:available`, `:held`, `:sold`, `:unit_price`, `:max_per_booking`",
        "put_sale, and every script that moves units",
        "as long as the sale",
    ),
    Family(
        "customers",
        ("sale_id",),
        "hash",
        "units held and sold per customer id",
        "every script that moves units",
        "as long as the sale",
    ),
    Family(
        "deadlines",
        ("sale_id",),
        "zset",
        "ids of bookings in PENDING by their deadline, in ms",
        "reserve, extend; removed by confirm, cancel, expire, and a reserve that takes back",
        "while the sale has holds",
    ),
    Family(
        "booking",
        ("booking_id",),
        "hash",
        "the booking's fields, and the sequence of the last entry that changed it",
        "every script that changes a booking; load",
        "until evicted",
    ),
    Family(
        "contact",
        ("booking_id",),
        "string",
        "encrypted contact data, after the hash its e-mail is found by",
        "reserve; load",
        "until evicted or forgotten",
    ),
    Family(
        "tombstone",
        ("booking_id",),
        "string",
        "the version that an evicted booking had",
        "evict",
        "an hour",
    ),
    Family(
        "idempotency",
        ("operation", "scope_id", "key", "customer_id"),
        "string",
        "fingerprint, a space, the booking as first answered: JSON, of a hold what others lack",
        "reserve, confirm",
        "24 hours",
    ),
    Family(
        "payments",
        (),
        "zset",
        "ids of bookings whose payment is open, by the time a worker shall look, in ms",
        "every script of the saga",
        "while the payment is open",
    ),
    Family(
        "lease",
        ("booking_id",),
        "string",
        "who may speak to the gateway about this booking",
        "begin_payment, claim_payment",
        "the lease's time",
    ),
    Family(
        "event",
        ("gateway", "event_id"),
        "string",
        "the booking that a gateway's webhook event was about",
        "nudge",
        "a week",
    ),
    Family(
        "rate",
        ("customer_id",),
        "string",
        "theoretical arrival time of the customer's next conforming call, in us",
        "reserve, refuse, rate_limit",
        "until the bucket is full again",
    ),
    Family(
        "beat",
        (),
        "string",
        "a counter written before each WAIT, so that the connection has something to wait for",
        "beat, in durability `replica`",
        "for ever",
    ),
    Family(
        "absent",
        (),
        "string",
        "nothing: asked for by every script in a cluster, to be refused while the slot is moved",
        "nobody",
        "never there",
    ),
)

FAMILY: Final = {family.name: family for family in FAMILIES}


def partition_tag(partition: int, partitions: int) -> str:
    """The hash tag of a partition: the first candidate in its even share of the slots.

    It names the number of partitions too, so that a process started with another number finds
    no meta key and is fenced, instead of looking for a sale where it was never put.
    """
    low = partition * SLOTS // partitions
    high = (partition + 1) * SLOTS // partitions
    candidate = 0
    while True:
        tag = f"{partitions:x}.{partition:x}.{candidate:x}"
        if low <= key_slot(tag.encode()) < high:
            return tag
        candidate += 1


def lua_source(names: list[str]) -> str:
    """Lua functions `key_<family>(…)` for the named families, derived from KEYS[1]."""
    lines = ["local key_prefix = string.sub(KEYS[1], 1, -5)"]
    for name in names:
        parts = FAMILY[name].parts
        body = " .. ':' .. ".join(parts)
        expression = f"key_prefix .. '{name}:' .. {body}" if parts else f"key_prefix .. '{name}'"
        lines.append(f"local function key_{name}({', '.join(parts)}) return {expression} end")
    return "\n".join(lines)


class Keys:
    """Names of keys and partitions for one number of partitions."""

    def __init__(self, partitions: int) -> None:
        if not 1 <= partitions <= MAX_PARTITIONS:
            raise ValueError(f"partitions must be 1 to {MAX_PARTITIONS}, not {partitions}")
        self.partitions = partitions
        self._prefixes = tuple(
            f"hf:{{{partition_tag(partition, partitions)}}}:" for partition in range(partitions)
        )
        self._metas = tuple(f"{prefix}meta".encode() for prefix in self._prefixes)

    def meta(self, partition: int) -> bytes:
        """KEYS[1] of every script."""
        return self._metas[partition]

    def key(self, family: str, partition: int, *parts: str) -> str:
        """The full name of a key, for tests, tools and reads outside scripts."""
        if len(parts) != len(FAMILY[family].parts):
            raise ValueError(f"{family} takes {FAMILY[family].parts}, not {parts}")
        return self._prefixes[partition] + ":".join((family, *parts))

    def partition_of_sale(self, sale_id: str) -> int:
        """The partition that a sale lives in: CRC-32 of its id, modulo P."""
        return zlib.crc32(sale_id.encode()) % self.partitions

    def partition_of_booking(self, booking_id: str) -> int | None:
        """The partition that a booking's id names; None for what no booking can be called."""
        if not _BOOKING_ID.match(booking_id):
            return None
        partition = int(booking_id[:3], 16)
        return partition if partition < self.partitions else None


def new_booking_id(partition: int) -> str:
    """A fresh id: the partition in three hex digits, then a ULID (time-ordered, 80 random bits)."""
    # Of 256 bytes, eight each stand for one of 32 letters: five random bits a letter.
    letters = os.urandom(16).translate(_LETTERS).decode()
    return f"{partition:03x}{_time_letters(time.time_ns() // 1_000_000)}{letters}"


@lru_cache(maxsize=16)
def _time_letters(ms: int) -> str:
    """A ULID's first ten letters."""
    return "".join([_CROCKFORD[(ms >> shift) & 31] for shift in range(45, -1, -5)])
