"""Sales: put, read, list, and how many units are left."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from engine import limits
from engine.archive import Archive
from engine.calls import Caller, Reply
from engine.checks import require_definition, require_trace
from engine.errors import Unavailable
from engine.keys import Keys
from engine.outcomes import Outcome
from engine.retired import RetiredSales
from engine.types import (
    Availability,
    Levels,
    Sale,
    SaleDefinition,
    definition_json,
    definition_of,
    unpack_lines,
)


@dataclass(frozen=True, slots=True)
class SaleAnswer:
    """What came of a `put`. `item_id` names the item that a refusal is about."""

    outcome: Outcome
    sale: Sale | None = None
    item_id: str | None = None


class Sales:
    """The sale operations of an engine."""

    def __init__(self, caller: Caller, keys: Keys, archive: Archive | None = None) -> None:
        self._caller = caller
        self._keys = keys
        self.retired = RetiredSales(caller, keys, archive)

    async def put(
        self, definition: SaleDefinition, *, operation: str | None = None, trace: str = ""
    ) -> SaleAnswer:
        """Create a sale or bring it to this definition, capacities included.

        Args:
            operation: names this very request, so that a repetition is recognised.

        Outcomes: `created`, `updated`, `unchanged`, `sale_in_past`, `capacity_in_use`,
        `currency_in_use`.
        """
        require_definition(definition)
        require_trace(trace)
        partition = self._keys.partition_of_sale(definition.sale_id)
        arguments: list[bytes | str | int] = [
            definition.sale_id,
            operation or str(uuid.uuid4()),
            definition_json(definition),
            definition.opens_ms,
            definition.closes_ms,
            definition.hold_ms,
            definition.max_units_per_customer,
            definition.currency,
            trace,
        ]
        for item in definition.items:
            arguments += (item.item_id, item.capacity, item.unit_price, item.max_per_booking)
        reply = await self._caller.run("put_sale", partition, *arguments)
        if reply.outcome is Outcome.SALE_RETIRED:
            await self.retired.bring_back(reply.text(), int(reply.text(1)))
            reply = await self._caller.run("put_sale", partition, *arguments)
        if reply.outcome is Outcome.SALE_RETIRED:
            raise Unavailable("the sale left Redis again; the same again may find it there")
        if reply.outcome in (Outcome.CREATED, Outcome.UPDATED, Outcome.UNCHANGED):
            return SaleAnswer(reply.outcome, await self.get(definition.sale_id))
        return SaleAnswer(reply.outcome, item_id=reply.text() or None)

    async def get(self, sale_id: str) -> Sale | None:
        """Read a sale with its levels as the books have them; None where there is none.

        One that has left Redis is read from PostgreSQL, and stays there. Raises `Unavailable`.
        """
        reply = await self._read(sale_id, max_due=0)
        if reply.outcome is Outcome.SALE_RETIRED:
            return (await self.retired.read(sale_id, int(reply.text(1)))).sale
        return _sale_of(reply)

    async def availability(self, sale_id: str) -> Availability | None:
        """Levels as a buyer meets them: units of due holds count as available.

        At most `MAX_DUE_SCANNED` due holds are counted; beyond, the sweeper is that far behind
        and `available` is a lower bound.
        """
        reply = await self._read(sale_id, max_due=limits.MAX_DUE_SCANNED)
        if reply.outcome is Outcome.SALE_RETIRED:
            # Closed, without a hold and without whoever could change it: it is as it was.
            sale = (await self.retired.read(sale_id, int(reply.text(1)))).sale
            return Availability(sale_id, time.time_ns() // 1_000_000, sale.levels)
        if reply.outcome is not Outcome.FOUND:
            return None
        levels = _levels(orjson.loads(reply.values[0]), reply.values[5])
        due = _units(line.decode() for line in reply.values[6] if line)
        return Availability(
            sale_id=sale_id,
            as_of_ms=int(reply.text(4)),
            items=tuple(
                level._replace(
                    available=level.available + due.get(level.item_id, 0),
                    held=level.held - due.get(level.item_id, 0),
                )
                for level in levels
            ),
        )

    async def snapshot(self, sale_id: str) -> Outcome:
        """Write the levels of the whole sale into the journal, unless its last snapshot has them.

        Outcomes: `done`, `unchanged`, `unknown_sale`.
        """
        partition = self._keys.partition_of_sale(sale_id)
        reply = await self._caller.run("snapshot", partition, sale_id)
        return reply.outcome

    async def list(self, after: str = "", limit: int = limits.DEFAULT_PAGE_ROWS) -> list[Sale]:
        """Sales whose id comes after `after`, in order of id, at most `limit`.

        Those that have left Redis are missing while PostgreSQL is away: what is on sale is listed
        all the same.
        """
        found: list[Sale] = []
        while True:
            names = await self._names(after, limit)
            sales = await asyncio.gather(*(self._listed(name) for name in names))
            found += [sale for sale in sales if sale]
            if len(found) >= limit or len(names) < limit:
                return found[:limit]
            after = names[-1]

    async def _names(self, after: str, limit: int) -> Sequence[str]:
        replies = await asyncio.gather(
            *(
                self._caller.run("list_sales", partition, after, limit)
                for partition in range(self._keys.partitions)
            )
        )
        return sorted(name.decode() for reply in replies for name in reply.values[0])[:limit]

    async def _listed(self, sale_id: str) -> Sale | None:
        reply = await self._read(sale_id, max_due=0)
        if reply.outcome is not Outcome.SALE_RETIRED:
            return _sale_of(reply)
        try:
            return (await self.retired.read(sale_id, int(reply.text(1)))).sale
        except Unavailable:
            return None

    async def _read(self, sale_id: str, max_due: int) -> Reply:
        partition = self._keys.partition_of_sale(sale_id)
        return await self._caller.run("get_sale", partition, sale_id, max_due)


def _sale_of(reply: Reply) -> Sale | None:
    """The sale that `get_sale` answers with; None where there is none."""
    if reply.outcome is not Outcome.FOUND:
        return None
    fields = orjson.loads(reply.values[0])
    levels = _levels(fields, reply.values[5])
    capacities = {level.item_id: level.capacity for level in levels}
    return Sale(
        definition=definition_of(fields, capacities),
        version=int(reply.text(1)),
        created_ms=int(reply.text(2)),
        updated_ms=int(reply.text(3)),
        levels=levels,
    )


def _units(packed: Iterable[str]) -> dict[str, int]:
    units: dict[str, int] = {}
    for text in packed:
        for line in unpack_lines(text):
            units[line.item_id] = units.get(line.item_id, 0) + line.quantity
    return units


def _levels(definition: dict[str, Any], flat: list[bytes]) -> tuple[Levels, ...]:
    """Levels in the order of the definition's items."""
    stock = dict(zip(flat[::2], flat[1::2], strict=True))

    def level(item_id: str, side: str) -> int:
        return int(stock[f"{item_id}:{side}".encode()])

    return tuple(
        Levels(
            item_id=item["item_id"],
            available=level(item["item_id"], "available"),
            held=level(item["item_id"], "held"),
            sold=level(item["item_id"], "sold"),
        )
        for item in definition["items"]
    )
