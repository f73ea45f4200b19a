"""Sales whole, as PostgreSQL has them: their definitions with the levels of their items."""

from __future__ import annotations

import asyncpg

from engine.types import ItemDefinition, Levels, Sale, SaleDefinition
from persistence.pool import Connection
from persistence.queries import query


async def read_sales(taken: Connection, partition: int) -> list[Sale]:
    """A partition's sales, each with the items of its definition and their levels."""
    rows = await taken.fetch(query("audit_sales"), partition)
    items: dict[str, list[asyncpg.Record]] = {row["sale_id"]: [] for row in rows}
    for item in await taken.fetch(query("audit_items"), list(items)):
        if item["position"] is not None:
            items[item["sale_id"]].append(item)
    return [sale_of(row, items[row["sale_id"]]) for row in rows]


def sale_of(row: asyncpg.Record, items: list[asyncpg.Record]) -> Sale:
    """A sale from its row and those of its items, in the order of its definition."""
    levels = tuple(
        Levels(item["item_id"], item["available"], item["held"], item["sold"]) for item in items
    )
    definition = SaleDefinition(
        sale_id=row["sale_id"],
        name=row["name"],
        items=tuple(
            ItemDefinition(
                item["item_id"],
                item["name"],
                level.capacity,
                item["unit_price"],
                item["max_per_booking"],
            )
            for item, level in zip(items, levels, strict=True)
        ),
        opens_ms=row["opens_ms"],
        closes_ms=row["closes_ms"],
        hold_ms=row["hold_ms"],
        max_units_per_customer=row["max_units_per_customer"],
        currency=row["currency"],
    )
    return Sale(definition, row["version"], row["created_ms"], row["updated_ms"], levels)
