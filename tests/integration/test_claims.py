"""What a claim of deliveries costs PostgreSQL, by the blocks it looks at and not by the clock."""

from __future__ import annotations

import asyncpg
import orjson
import pytest

from persistence.migrate import migrate
from persistence.queries import query

WAITING = 20_000
PLACES = ["whe_1", "whe_2"]
EVENTS = 5
"""Of each subject."""
ROOM = 48
MAX_BLOCKS = 3_000
"""A claim of 96 needs some ten each; one that goes through all that waits needs as many as wait."""


@pytest.mark.parametrize("mode", ["force_custom_plan", "force_generic_plan"])
async def test_a_claim_looks_at_what_it_takes_and_not_at_all_that_waits(
    database_url: str, mode: str
) -> None:
    await migrate(database_url)
    connection = await asyncpg.connect(database_url)
    try:
        # As a place that went away finds it: no statistics yet of what has gathered.
        await connection.execute("ALTER TABLE deliveries SET (autovacuum_enabled = off)")
        await connection.execute(
            "INSERT INTO deliveries"
            " (destination, event_id, type, subject, subject_sequence, partition, sequence)"
            " SELECT place, 'e' || n, 'booking.held', 's' || n / $3::integer, 1, 0, n"
            " FROM unnest($1::text[]) AS place, generate_series(1, $2::integer) AS n",
            PLACES,
            WAITING,
            EVENTS,
        )
        await connection.execute(f"SET plan_cache_mode = {mode}")
        explained = await connection.fetchval(
            f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {query('claim_deliveries')}",
            PLACES,
            [ROOM] * len(PLACES),
            60.0,
            [],
        )
        (told,) = orjson.loads(explained)
        blocks = told["Plan"]["Shared Hit Blocks"] + told["Plan"]["Shared Read Blocks"]
        assert told["Plan"]["Actual Rows"] == ROOM * len(PLACES)
        assert blocks < MAX_BLOCKS
        firsts = await connection.fetch(
            "SELECT destination, subject, min(delivery_id) = min(delivery_id)"
            " FILTER (WHERE leased_until IS NOT NULL) AS first"
            " FROM deliveries GROUP BY destination, subject"
            " HAVING bool_or(leased_until IS NOT NULL)"
        )
        assert len(firsts) == ROOM * len(PLACES), "no subject twice"
        assert all(row["first"] for row in firsts)
    finally:
        await connection.close()
