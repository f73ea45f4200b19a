"""Migrations: each once, whoever asks and how often; nothing guessed about a strange database."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

from engine.errors import Unavailable
from persistence.migrate import Migration, MigrationRefused, migrate, read_migrations
from persistence.queries import catalogue

FIRST = Migration("001", "first", "V001__first.sql", "CREATE TABLE a (x int);\nSELECT 1;\n")
SECOND = Migration("002", "second", "V002__second.sql", "CREATE TABLE b (x int);")


async def fetch(url: str, sql: str) -> list[tuple[object, ...]]:
    connection = await asyncpg.connect(url)
    try:
        return [tuple(row) for row in await connection.fetch(sql)]
    finally:
        await connection.close()


async def execute(url: str, sql: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(sql)
    finally:
        await connection.close()


async def test_an_empty_database_gets_every_migration_once(bare_database_url: str) -> None:
    scripts = [migration.script for migration in read_migrations()]
    assert await migrate(bare_database_url) == scripts
    assert await migrate(bare_database_url) == []
    rows = await fetch(
        bare_database_url,
        "SELECT installed_rank, version, description, type, script, checksum, installed_by,"
        " success FROM flyway_schema_history ORDER BY installed_rank",
    )
    assert rows == [
        (
            rank,
            migration.version,
            migration.description,
            "SQL",
            migration.script,
            migration.checksum,
            "holdfast",
            True,
        )
        for rank, migration in enumerate(read_migrations(), 1)
    ]


async def test_hosts_that_migrate_at_once_share_the_work(bare_database_url: str) -> None:
    applied = await asyncio.gather(*(migrate(bare_database_url) for _ in range(5)))
    scripts = [script for each in applied for script in each]
    assert sorted(scripts) == [migration.script for migration in read_migrations()]


async def test_the_history_table_is_flyways(bare_database_url: str) -> None:
    await migrate(bare_database_url, [FIRST])
    columns = await fetch(
        bare_database_url,
        "SELECT column_name, data_type, character_maximum_length, is_nullable, column_default"
        " FROM information_schema.columns WHERE table_name = 'flyway_schema_history'"
        " ORDER BY ordinal_position",
    )
    assert columns == [
        ("installed_rank", "integer", None, "NO", None),
        ("version", "character varying", 50, "YES", None),
        ("description", "character varying", 200, "NO", None),
        ("type", "character varying", 20, "NO", None),
        ("script", "character varying", 1000, "NO", None),
        ("checksum", "integer", None, "YES", None),
        ("installed_by", "character varying", 100, "NO", None),
        ("installed_on", "timestamp without time zone", None, "NO", "now()"),
        ("execution_time", "integer", None, "NO", None),
        ("success", "boolean", None, "NO", None),
    ]
    indexes = await fetch(
        bare_database_url,
        "SELECT indexname FROM pg_indexes WHERE tablename LIKE 'flyway%' ORDER BY 1",
    )
    assert indexes == [("flyway_schema_history_pk",), ("flyway_schema_history_s_idx",)]


async def test_a_later_migration_is_applied_on_top(bare_database_url: str) -> None:
    assert await migrate(bare_database_url, [FIRST]) == ["V001__first.sql"]
    assert await migrate(bare_database_url, [FIRST, SECOND]) == ["V002__second.sql"]


async def test_a_migration_that_was_changed_after_it_was_applied_is_refused(
    bare_database_url: str,
) -> None:
    await migrate(bare_database_url, [FIRST])
    changed = Migration("001", "first", FIRST.script, "CREATE TABLE a (x bigint);")
    with pytest.raises(MigrationRefused, match=r"V001__first.sql was changed"):
        await migrate(bare_database_url, [changed, SECOND])
    assert await fetch(bare_database_url, "SELECT to_regclass('b')") == [(None,)]


async def test_a_database_newer_than_the_code_is_refused(bare_database_url: str) -> None:
    await migrate(bare_database_url, [FIRST, SECOND])
    with pytest.raises(MigrationRefused, match=r"V002__second.sql.*newer than this code"):
        await migrate(bare_database_url, [FIRST])


async def test_a_migration_that_came_in_below_the_newest_is_refused(bare_database_url: str) -> None:
    await migrate(bare_database_url, [SECOND])
    with pytest.raises(MigrationRefused, match=r"V001__first.sql came after version 2"):
        await migrate(bare_database_url, [FIRST, SECOND])


async def test_a_migration_that_flyway_recorded_as_failed_is_refused(
    bare_database_url: str,
) -> None:
    await migrate(bare_database_url, [FIRST])
    await execute(bare_database_url, "UPDATE flyway_schema_history SET success = FALSE")
    with pytest.raises(MigrationRefused, match="recorded as failed"):
        await migrate(bare_database_url, [FIRST])


async def test_rows_of_flyway_that_are_no_versions_are_passed_over(bare_database_url: str) -> None:
    await migrate(bare_database_url, [FIRST])
    await execute(
        bare_database_url,
        "INSERT INTO flyway_schema_history VALUES (0, NULL, 'schema', 'SCHEMA', 'public', NULL,"
        " 'x', now(), 0, TRUE)",
    )
    assert await migrate(bare_database_url, [FIRST, SECOND]) == ["V002__second.sql"]


async def test_a_migration_that_fails_leaves_nothing_of_itself(bare_database_url: str) -> None:
    broken = Migration("002", "x", "V002__x.sql", "CREATE TABLE b (x int); SELECT 1 FROM nowhere;")
    with pytest.raises(MigrationRefused, match=r"V002__x.sql: .*nowhere"):
        await migrate(bare_database_url, [FIRST, broken])
    assert await fetch(bare_database_url, "SELECT to_regclass('b')") == [(None,)]
    rows = await fetch(bare_database_url, "SELECT script FROM flyway_schema_history")
    assert rows == [("V001__first.sql",)]
    assert await migrate(bare_database_url, [FIRST, SECOND]) == ["V002__second.sql"]


async def test_a_database_that_is_away_is_unavailable() -> None:
    with pytest.raises(Unavailable):
        await migrate("postgresql://nobody@127.0.0.1:1/none")


async def test_postgresql_understands_every_query_of_the_catalogue(bare_database_url: str) -> None:
    await migrate(bare_database_url)
    connection = await asyncpg.connect(bare_database_url)
    try:
        for name, sql in catalogue().items():
            try:
                await connection.prepare(sql)
            except asyncpg.PostgresError as error:
                pytest.fail(f"{name}: {error}")
    finally:
        await connection.close()
