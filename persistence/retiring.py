"""Which closed sales have nothing left to be done, by what PostgreSQL has of them."""

from __future__ import annotations

from collections.abc import Sequence

from persistence.pool import Pool, connection
from persistence.queries import query


class Retiring:
    """Over a pool. Raises `Unavailable` where PostgreSQL is away."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def at_rest(self, sale_ids: Sequence[str], finished_ms: int) -> list[str]:
        """Those without a hold, an open payment, an entry in quarantine, or a recent change.

        Args:
            finished_ms: for how long no booking may have changed: the time after which Redis has
                let go of it.
        """
        if not sale_ids:
            return []
        async with connection(self._pool) as taken:
            rows = await taken.fetch(query("sales_at_rest"), sale_ids, finished_ms)
        return [row["sale_id"] for row in rows]
