"""A database with the tables of the newest version, emptied for each test instead of made anew.

Making one is files by the hundred, and costs more than most tests do with it. One whose schema a
test has changed is thrown away.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

import asyncpg

from persistence.migrate import migrate
from tests.helpers.servers import Postgres

_T = TypeVar("_T")

_SCHEMA: Final = """
    SELECT md5(string_agg(line, '' ORDER BY line)) FROM (
        SELECT concat('class', oid, relname, relkind, reloptions) AS line FROM pg_class
        WHERE relnamespace = 'public'::regnamespace
        UNION ALL
        SELECT concat('column', attrelid, attname, atttypid, attnotnull, attisdropped)
        FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
        WHERE relnamespace = 'public'::regnamespace
        UNION ALL
        SELECT concat('constraint', oid, conname, convalidated) FROM pg_constraint
        WHERE connamespace = 'public'::regnamespace
        UNION ALL
        SELECT concat('trigger', oid, tgname, tgenabled) FROM pg_trigger
        UNION ALL
        SELECT concat('function', oid, proname, prosrc) FROM pg_proc
        WHERE pronamespace = 'public'::regnamespace
        UNION ALL
        SELECT concat('setting', setconfig) FROM pg_db_role_setting
        UNION ALL
        SELECT concat('migration', version, checksum, success) FROM flyway_schema_history
    )
"""
_END_OTHERS: Final = """
    SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
    AND backend_type = 'client backend'
"""
_EMPTY: Final = """
    SET synchronous_commit = off;
    SET session_replication_role = replica;
    DO $$
    DECLARE
        found record;
        used boolean;
    BEGIN
        FOR found IN
            SELECT oid::regclass AS name, pg_relation_size(oid) AS bytes FROM pg_class
            WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'
            AND relname <> 'flyway_schema_history'
        LOOP
            EXECUTE format('SELECT EXISTS (SELECT FROM ONLY %s)', found.name) INTO used;
            IF found.bytes > 1000000 THEN
                EXECUTE format('TRUNCATE ONLY %s CASCADE', found.name);
            ELSIF used THEN
                EXECUTE format('DELETE FROM ONLY %s', found.name);
            END IF;
        END LOOP;
        PERFORM setval(format('%I.%I', schemaname, sequencename)::regclass, start_value, false)
        FROM pg_sequences WHERE last_value IS NOT NULL;
    END $$;
"""


class FurnishedDatabase:
    """The database of a server that tests take one after the other, each as if it were new."""

    def __init__(self, server: Postgres) -> None:
        self._server = server
        self._url = ""
        self._schema = ""

    def emptied(self) -> str:
        """Its URL: nobody is connected to it, and its tables have no rows."""
        if self._url and not _run(self._empty()):
            self._server.drop_database(self._url)
            self._url = ""
        if not self._url:
            self._url = self._server.fresh_database()
            _run(self._furnish())
        return self._url

    async def _furnish(self) -> None:
        await migrate(self._url)
        connection = await asyncpg.connect(self._url)
        try:
            self._schema = await connection.fetchval(_SCHEMA)
        finally:
            await connection.close()

    async def _empty(self) -> bool:
        """Whether it is again as it was made."""
        connection = await asyncpg.connect(self._url)
        try:
            await connection.execute(_END_OTHERS)
            if await connection.fetchval(_SCHEMA) != self._schema:
                return False
            await connection.execute(_EMPTY)
        finally:
            await connection.close()
        return True


def _run(work: Coroutine[Any, Any, _T]) -> _T:
    """Run something to its end, beside the test's event loop."""
    with ThreadPoolExecutor(1) as elsewhere:
        return elsewhere.submit(asyncio.run, work).result()
