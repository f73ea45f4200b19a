"""Migration files and their checksums."""

from __future__ import annotations

import re
import zlib

import pytest

from persistence.migrate import Migration, read_migrations


def checksum(sql: str) -> int:
    return Migration("001", "x", "V001__x.sql", sql).checksum


def test_migrations_are_named_as_flyway_names_them_and_follow_each_other() -> None:
    migrations = read_migrations()
    assert [int(migration.version) for migration in migrations] == [
        number for number, _ in enumerate(migrations, 1)
    ]
    for migration in migrations:
        assert re.fullmatch(r"V\d{3}__[a-z0-9_]+\.sql", migration.script)
        assert migration.script == (
            f"V{migration.version}__{migration.description.replace(' ', '_')}.sql"
        )


@pytest.mark.parametrize(
    "text", ["a\nb\n", "a\nb", "a\r\nb\r\n", "a\rb", "\ufeffa\nb\n", "a\n\nb\n\n\n"]
)
def test_a_checksum_does_not_depend_on_how_lines_end(text: str) -> None:
    assert checksum(text) == zlib.crc32(b"ab") - 2**32


def test_a_checksum_is_a_signed_32_bit_integer() -> None:
    assert checksum("") == 0
    assert checksum("b") == zlib.crc32(b"b") == 1908338681
    assert checksum("a") == zlib.crc32(b"a") - 2**32 == -390611389


def test_a_checksum_is_of_utf_8_bytes() -> None:
    assert checksum("é\n") == zlib.crc32("é".encode())
