"""Holds that end soon: their customers are told, once, some time before."""

from __future__ import annotations

from dataclasses import dataclass, field

from engine.calls import Caller
from engine.errors import SALE_FROZEN, Fenced
from engine.limits import MAX_SALES_LOOKED_AT, MAX_WARNED_PER_CALL


@dataclass(slots=True)
class Places:
    """How far each sale's deadlines were looked at, by one process.

    It saves looking again at holds that were told of. Lost, they are looked at again, and the
    holds themselves say that they were.
    """

    by_sale: dict[str, tuple[int, int]] = field(default_factory=dict)

    def forget_all_but(self, sale_ids: set[str]) -> None:
        """Drop the places of sales that have nothing that ends soon."""
        for sale_id in self.by_sale.keys() - sale_ids:
            del self.by_sale[sale_id]


class Expiring:
    """The warnings of an engine."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    async def warn(self, partition: int, warning_ms: int, places: Places) -> int:
        """Warn of all holds of a partition that end within some time; answers of how many.

        A hold that was given no longer than that is not warned of, nor one under payment.
        """
        warned = 0
        sale_ids: set[str] = set()
        while True:
            reply = await self._caller.run(
                "soon", partition, warning_ms, len(sale_ids), MAX_SALES_LOOKED_AT
            )
            page = [name.decode() for name in reply.values[0]]
            for sale_id in page:
                warned += await self._warn_sale(partition, sale_id, warning_ms, places)
            sale_ids.update(page)
            if len(page) < MAX_SALES_LOOKED_AT:
                break
        places.forget_all_but(sale_ids)
        return warned

    async def _warn_sale(
        self, partition: int, sale_id: str, warning_ms: int, places: Places
    ) -> int:
        total = 0
        while True:
            place = places.by_sale.get(sale_id, (0, 0))
            try:
                reply = await self._caller.run(
                    "warn", partition, sale_id, warning_ms, *place, MAX_WARNED_PER_CALL
                )
            except Fenced as fenced:
                if fenced.reason != SALE_FROZEN:
                    raise
                # It alone is being rebuilt; the partition's others go on.
                return total
            warned, from_ms, offset = (int(number) for number in reply.text().split())
            total += warned
            places.by_sale[sale_id] = (from_ms, offset)
            if offset == 0:
                # Nothing more ends within the time.
                return total
