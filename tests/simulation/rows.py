"""A partition's tables, as the drain's statements know them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import asyncpg

COLUMNS: Final = re.compile(r"INSERT INTO \w+(?: AS \w+)? \(([^)]*)\)")
"""The columns of an INSERT."""
INSERT: Final = re.compile(r"INSERT INTO (\w+)(?: AS \w+)? \(([^)]*)\)")
"""The table and the columns of an INSERT."""
NEW: Final = re.compile(r"AS new \(([^)]*)\)")
"""The columns of what an UPDATE joins."""

_KEYS: Final = {"bookings": ("booking_id",), "payments": ("booking_id", "attempt")}


_NO_CHAIN: Final = bytes(32)


class Row(dict[str, Any]):
    """A record: by name like a mapping, unpacked like a sequence, as asyncpg's are."""

    def __iter__(self) -> Iterator[Any]:
        return iter(self.values())


@dataclass
class Tables:
    """What a partition has in PostgreSQL; rows are replaced, never changed."""

    generation: int = 1
    sequence: int = 0
    chain: bytes = _NO_CHAIN
    size: int = 0
    """The column `bytes`."""
    journal: dict[int, Row] = field(default_factory=dict)
    bookings: dict[str, Row] = field(default_factory=dict)
    payments: dict[tuple[str, int], Row] = field(default_factory=dict)
    sales: dict[str, Row] = field(default_factory=dict)
    levels: dict[tuple[str, str], tuple[int, int, int]] = field(default_factory=dict)
    others: dict[str, list[Row]] = field(default_factory=dict)
    """Tables that are only ever added to, by name."""

    def copy(self) -> Tables:
        """An independent copy."""
        return Tables(
            self.generation,
            self.sequence,
            self.chain,
            self.size,
            dict(self.journal),
            dict(self.bookings),
            dict(self.payments),
            dict(self.sales),
            dict(self.levels),
            {name: list(rows) for name, rows in self.others.items()},
        )

    def insert(self, table: str, rows: Iterable[Row]) -> None:
        """Add rows; the same key twice is refused."""
        for row in rows:
            if table == "journal":
                self._once(self.journal, row["sequence"], row)
            elif table == "bookings":
                self._once(self.bookings, row["booking_id"], row)
            else:
                self.others.setdefault(table, []).append(row)

    def insert_into(self, into: re.Match[str] | None, columns: Sequence[Any]) -> None:
        """Add rows to a table that an INSERT names."""
        assert into, "the columns of an INSERT are not found"
        names = [name.strip() for name in into[2].split(",")]
        rows = zip(*columns, strict=True)
        self.insert(into[1], [Row(zip(names, values, strict=True)) for values in rows])

    @staticmethod
    def _once(table: dict[Any, Row], key: Any, row: Row) -> None:
        if key in table:
            raise asyncpg.UniqueViolationError(f"{key} is there")
        table[key] = row

    def change(self, table: str, names: re.Match[str] | None, columns: Sequence[Any]) -> None:
        """Bring rows that are there to a newer version."""
        for key, row in _keyed(table, names, columns):
            found = self.bookings.get(key[0])
            if found is not None and row["version"] > found["version"]:
                self.bookings[key[0]] = Row({**dict(found.items()), **dict(row.items())})

    def upsert(self, table: str, names: re.Match[str] | None, columns: Sequence[Any]) -> None:
        """Add rows, or bring those that are there to a newer version."""
        rows: dict[Any, Row] = getattr(self, table)
        for key, row in _keyed(table, names, columns):
            name = key if len(key) > 1 else key[0]
            found = rows.get(name)
            if found is None or row["version"] > found["version"]:
                rows[name] = row

    def add(self, deltas: Iterable[tuple[Any, ...]]) -> list[Row]:
        """Add to the levels of items; answers what they are now."""
        found = []
        for sale_id, item_id, *more in deltas:
            before = self.levels.get((sale_id, item_id), (0, 0, 0))
            available, held, sold = (at + by for at, by in zip(before, more, strict=True))
            self.levels[sale_id, item_id] = (available, held, sold)
            found.append(
                Row(sale_id=sale_id, item_id=item_id, available=available, held=held, sold=sold)
            )
        return found


def _keyed(
    table: str, names: re.Match[str] | None, columns: Sequence[Any]
) -> Iterator[tuple[tuple[Any, ...], Row]]:
    assert names, f"the columns of {table} are not found"
    fields = [name.strip() for name in names[1].split(",")]
    for values in zip(*columns, strict=True):
        row = Row(zip(fields, values, strict=True))
        yield tuple(row[name] for name in _KEYS.get(table, ("sale_id",))), row
