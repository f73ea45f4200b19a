"""Brings the database to the newest version: the files of `migrations/`, in Flyway's manner.

The table is Flyway's own `flyway_schema_history`, column by column and with its checksums, so that
its users find what they know and may take over. Each migration runs in a transaction of its own,
under an advisory lock, with the row that records it: any number of hosts may run this at once.
"""

from __future__ import annotations

import re
import time
import zlib
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Final

import asyncpg

from engine.errors import HoldfastError
from engine.limits import DATABASE_CONNECT_TIMEOUT_MS
from persistence.pool import database_errors
from persistence.queries import query

if TYPE_CHECKING:
    from collections.abc import Sequence

    from persistence.pool import Connection

_FILE: Final = re.compile(r"^V(\d+)__(\w+)\.sql$")
_LOCK: Final = 0x686F6C64_66617374
"""Key of the advisory lock: the bytes of `holdfast`."""
_TABLE: Final = """
    CREATE TABLE IF NOT EXISTS flyway_schema_history (
        installed_rank integer NOT NULL,
        version varchar(50),
        description varchar(200) NOT NULL,
        type varchar(20) NOT NULL,
        script varchar(1000) NOT NULL,
        checksum integer,
        installed_by varchar(100) NOT NULL,
        installed_on timestamp NOT NULL DEFAULT now(),
        execution_time integer NOT NULL,
        success boolean NOT NULL,
        CONSTRAINT flyway_schema_history_pk PRIMARY KEY (installed_rank)
    );
    CREATE INDEX IF NOT EXISTS flyway_schema_history_s_idx ON flyway_schema_history (success);
"""


class MigrationRefused(HoldfastError):
    """The database and this code do not fit together; nothing was changed by this migration."""


@dataclass(frozen=True, slots=True)
class Migration:
    """A file `V<version>__<description>.sql`."""

    version: str
    description: str
    script: str
    """The file's name."""
    sql: str

    @property
    def checksum(self) -> int:
        """Flyway's: CRC-32 over the lines without their ends, as a signed 32-bit integer."""
        crc = 0
        for line in re.split(r"\r\n|\r|\n", self.sql.removeprefix("\ufeff")):
            crc = zlib.crc32(line.encode(), crc)
        return crc - (1 << 32) if crc >= 1 << 31 else crc


def read_migrations() -> list[Migration]:
    """The migrations of this code, oldest first.

    Raises:
        MigrationRefused: a file is misnamed or a version comes twice.
    """
    found: dict[int, Migration] = {}
    for file in (resources.files("persistence") / "migrations").iterdir():
        if not file.name.endswith(".sql"):
            continue
        named = _FILE.match(file.name)
        if not named:
            raise MigrationRefused(f"{file.name} is not named V<version>__<description>.sql")
        if int(named[1]) in found:
            raise MigrationRefused(f"version {named[1]} comes twice")
        found[int(named[1])] = Migration(
            version=named[1],
            description=named[2].replace("_", " "),
            script=file.name,
            sql=file.read_text(encoding="utf-8"),
        )
    return [found[version] for version in sorted(found)]


async def migrate(url: str, migrations: Sequence[Migration] | None = None) -> list[str]:
    """Apply what the database lacks; answers the names of the files applied now.

    Args:
        url: `postgresql://…` of somebody who may create tables.
        migrations: oldest first; by default those of this code.

    Raises:
        MigrationRefused: an applied migration has changed since, failed, or is not known here
            (the database is newer than this code); or a migration's own statement was refused.
        Unavailable: PostgreSQL is away. What was applied stays applied; run it again.
    """
    known = read_migrations() if migrations is None else list(migrations)
    applied: list[str] = []
    with database_errors():
        connection = await asyncpg.connect(url, timeout=DATABASE_CONNECT_TIMEOUT_MS / 1000)
        try:
            while script := await _apply_next(connection, known):
                applied.append(script)
        finally:
            await connection.close(timeout=DATABASE_CONNECT_TIMEOUT_MS / 1000)
    return applied


async def _apply_next(connection: Connection, known: list[Migration]) -> str | None:
    """Apply the oldest migration that is pending; None where there is none."""
    async with connection.transaction():
        await connection.execute(query("lock"), _LOCK)
        await connection.execute(_TABLE)
        rows = await connection.fetch(query("migrations"))
        pending = _pending(known, rows)
        if not pending:
            return None
        migration = pending[0]
        begun = time.monotonic()
        try:
            await connection.execute(migration.sql)
        except (asyncpg.SyntaxOrAccessError, asyncpg.IntegrityConstraintViolationError) as error:
            raise MigrationRefused(f"{migration.script}: {error}") from error
        await connection.execute(
            query("insert_migration"),
            max((row["installed_rank"] for row in rows), default=0) + 1,
            migration.version,
            migration.description,
            migration.script,
            migration.checksum,
            round((time.monotonic() - begun) * 1000),
        )
        return migration.script


def _pending(known: list[Migration], rows: Sequence[asyncpg.Record]) -> list[Migration]:
    """Compare what is known with what was applied."""
    by_version = {int(migration.version): migration for migration in known}
    newest = 0
    for row in rows:
        if row["type"] != "SQL" or not row["version"]:
            continue
        version = int(row["version"]) if row["version"].isdecimal() else -1
        migration = by_version.pop(version, None)
        if migration is None:
            raise MigrationRefused(
                f"the database has {row['script']}, which this code does not know:"
                " it is newer than this code, or of something else"
            )
        if not row["success"]:
            raise MigrationRefused(f"{row['script']} is recorded as failed")
        if row["checksum"] != migration.checksum:
            raise MigrationRefused(f"{row['script']} was changed after it was applied")
        newest = max(newest, version)
    for version, migration in by_version.items():
        if version < newest:
            raise MigrationRefused(f"{migration.script} came after version {newest} was applied")
    return list(by_version.values())
