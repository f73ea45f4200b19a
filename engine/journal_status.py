"""Where a partition's journal stands, read past the fence: for operators, readiness and metrics."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final

import orjson
from redis.asyncio import Redis

from engine.keys import Keys
from engine.nodes import Nodes

_FIELDS: Final = (
    "generation",
    "sequence",
    "drained",
    "fenced",
    "frozen",
    "last_ms",
    "bytes",
    "drained_bytes",
    "shed_until_ms",
    "shed_reason",
    "server",
)


def written_ms(fields: Mapping[bytes, bytes]) -> int | None:
    """When an entry was written, by the fields of its stream; None where it cannot be read.

    What looks at a journal from outside must not fail on the entry that stops it.
    """
    try:
        at_ms = orjson.loads(fields[b"entry"])["at_ms"]
    except (ValueError, KeyError, TypeError):
        return None
    return at_ms if type(at_ms) is int else None


@dataclass(frozen=True, slots=True)
class JournalStatus:
    """A partition as Redis has it, read past the fence: for operators and readiness.

    `generation` None means that there is no meta; `drained` is the cursor PostgreSQL last told.
    `bytes` is the memory of the whole journal, `lacking_bytes` the length of the entries that
    PostgreSQL lacks. `now_ms` is Redis's clock.
    """

    partition: int
    generation: int | None
    sequence: int
    drained: int
    fenced: str | None
    entries: int
    bytes: int
    oldest_ms: int | None
    """When the oldest entry was written that PostgreSQL lacks."""
    lacking_bytes: int = 0
    frozen: str | None = None
    """The sale that is being rebuilt alone."""
    shed: str | None = None
    """Why a worker has new holds shed now."""
    now_ms: int = 0
    server: str | None = None
    """The run id of the server that somebody last compared with PostgreSQL."""

    @property
    def lacking_entries(self) -> int:
        """How many entries PostgreSQL lacks."""
        return max(0, self.sequence - self.drained)

    @property
    def oldest_age_ms(self) -> int:
        """Age of the oldest entry that PostgreSQL lacks; 0 where it lacks none."""
        return 0 if self.oldest_ms is None else max(0, self.now_ms - self.oldest_ms)


async def read_statuses(
    nodes: Nodes, keys: Keys, chosen: Iterable[int], *, lenient: bool = False
) -> list[JournalStatus]:
    """Read partitions, in two round trips to each node.

    Args:
        lenient: leave out the partitions of nodes that do not answer, as long as one does.

    Raises:
        Unavailable: a node does not answer.
    """
    found = await nodes.ask_each(
        chosen, lambda redis, group: _read(redis, keys, group), lenient=lenient
    )
    return sorted(chain.from_iterable(found), key=lambda status: status.partition)


async def _read(redis: Redis, keys: Keys, chosen: Sequence[int]) -> list[JournalStatus]:
    pipe = redis.pipeline(transaction=False)
    for partition in chosen:
        journal = keys.key("journal", partition)
        pipe.hmget(keys.meta(partition).decode(), list(_FIELDS))
        pipe.xlen(journal)
        pipe.memory_usage(journal)
        pipe.time()
    found = await pipe.execute()
    parts = list(zip(chosen, found[::4], found[1::4], found[2::4], found[3::4], strict=True))
    oldest = redis.pipeline(transaction=False)
    for partition, meta, *_ in parts:
        after = int(meta[2] or 0) + 1
        oldest.xrange(keys.key("journal", partition), min=f"{after}-0", max="+", count=1)
    first = await oldest.execute()
    return [_status(*part, lacking) for part, lacking in zip(parts, first, strict=True)]


def _status(
    partition: int,
    meta: Sequence[bytes | None],
    entries: int,
    memory_bytes: int | None,
    time: tuple[int, int],
    lacking: Sequence[Any],
) -> JournalStatus:
    told = dict(zip(_FIELDS, meta, strict=True))

    def number(name: str) -> int:
        return int(told[name] or 0)

    now_ms = max(time[0] * 1000 + time[1] // 1000, number("last_ms"))
    fenced, reason, frozen = told["fenced"], told["shed_reason"], told["frozen"]
    return JournalStatus(
        partition=partition,
        generation=number("generation") if told["generation"] else None,
        sequence=number("sequence"),
        drained=number("drained"),
        fenced=fenced.decode() if fenced else None,
        entries=entries,
        bytes=memory_bytes or 0,
        oldest_ms=written_ms(lacking[0][1]) if lacking else None,
        lacking_bytes=max(0, number("bytes") - number("drained_bytes")),
        frozen=frozen.decode() if frozen else None,
        shed=reason.decode() if reason and number("shed_until_ms") > now_ms else None,
        now_ms=now_ms,
        server=told["server"].decode() if told["server"] else None,
    )
