"""Sales whole, as PostgreSQL has them: their definitions with the levels of their items."""

from __future__ import annotations

import asyncpg

from engine.types import Sale
from persistence.pool import Connection
from persistence.queries import query
from persistence.reads import sale_of


async def read_sales(taken: Connection, partition: int) -> list[Sale]:
    """A partition's sales, each with the items of its definition and their levels."""
    rows = await taken.fetch(query("audit_sales"), partition)
    items: dict[str, list[asyncpg.Record]] = {row["sale_id"]: [] for row in rows}
    for item in await taken.fetch(query("audit_items"), list(items)):
        if item["position"] is not None:
            items[item["sale_id"]].append(item)
    return [sale_of(row, items[row["sale_id"]]) for row in rows]
