"""Closed sales that have left Redis: how they leave, and how one comes back.

Leaving is no change of state, and has no journal entry: PostgreSQL has the sale, and Redis keeps
its id with the sequence at which it left. Whoever would change it is told `sale_retired` by the
script, has it brought back, and asks again. A PostgreSQL that is not as far as that sequence is not
believed.
"""

from __future__ import annotations

from engine import limits
from engine.archive import Archive
from engine.calls import Caller
from engine.errors import Unavailable
from engine.keys import Keys
from engine.outcomes import Outcome
from engine.types import ArchivedSale, definition_json


class RetiredSales:
    """Sales on their way out of Redis and back."""

    def __init__(self, caller: Caller, keys: Keys, archive: Archive | None) -> None:
        self._caller = caller
        self._keys = keys
        self._archive = archive

    async def closed(self, partition: int, after: str, after_ms: int) -> tuple[list[str], str]:
        """Sales that closed `after_ms` ago, of some after a name; and where to go on."""
        reply = await self._caller.run(
            "closed_sales", partition, after, limits.MAX_CLOSED_SALES_SCANNED, after_ms
        )
        return [name.decode() for name in reply.values[0]], reply.text(1)

    async def retire(self, sale_id: str, after_ms: int) -> Outcome:
        """Take a sale out of Redis: `done`, `unchanged`, `unknown_sale`, `invalid_state`.

        Only where PostgreSQL has what is left of it to be done (`persistence.retiring`).
        """
        partition = self._keys.partition_of_sale(sale_id)
        return (await self._caller.run("retire_sale", partition, sale_id, after_ms)).outcome

    async def read(self, sale_id: str, left_at: int) -> ArchivedSale:
        """A sale as it was when it left, from PostgreSQL. Raises `Unavailable`."""
        found = await self._archive.sale(sale_id) if self._archive else None
        if found is None or found.sequence < left_at:
            raise Unavailable(f"sale {sale_id} has left Redis and cannot be read elsewhere")
        return found

    async def bring_back(self, sale_id: str, left_at: int) -> None:
        """Load a sale into Redis, so that it can be changed. Raises `Unavailable`."""
        found = await self.read(sale_id, left_at)
        assert self._archive
        units = list((await self._archive.customers(sale_id)).items())
        partition = self._keys.partition_of_sale(sale_id)
        for start in range(0, len(units), limits.MAX_CUSTOMERS_PER_CALL):
            some = units[start : start + limits.MAX_CUSTOMERS_PER_CALL]
            flat = [part for pair in some for part in pair]
            await self._caller.run("load_customers", partition, sale_id, *flat)
        sale = found.sale
        definition = sale.definition
        stock: list[str | int] = []
        for item, levels in zip(definition.items, sale.levels, strict=True):
            stock += (f"{item.item_id}:available", levels.available)
            stock += (f"{item.item_id}:held", levels.held, f"{item.item_id}:sold", levels.sold)
            stock += (f"{item.item_id}:unit_price", item.unit_price)
            stock += (f"{item.item_id}:max_per_booking", item.max_per_booking)
        reply = await self._caller.run(
            "load_sale",
            partition,
            sale_id,
            found.sequence,
            len(units),
            definition_json(definition),
            definition.opens_ms,
            definition.closes_ms,
            definition.hold_ms,
            definition.max_units_per_customer,
            definition.currency,
            sale.version,
            sale.created_ms,
            sale.updated_ms,
            *stock,
        )
        if reply.outcome is Outcome.STALE:
            raise Unavailable(f"sale {sale_id} could not be brought back; the same again may")
